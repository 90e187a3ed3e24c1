#include <iterator>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "cli/tfs_flags.h"

namespace portico {
namespace {

struct Foreign {
  const char* name;
  const char* why;
  /// Values that ask for what is done here anyway: no warning.
  const char* agrees = "";
  /// Serving on regardless would be something else than what was asked for.
  bool refused = false;
};

constexpr char kThreads[] =
    "workers are one per core, or --workers; a model's own threads are intra_op_threads in servable.yaml";
constexpr char kGpu[] = "there is no TensorFlow here to divide a GPU";
constexpr char kTensorFlow[] = "a setting of TensorFlow; models run in ONNX Runtime here";
constexpr char kTfLite[] = "TensorFlow Lite models are not served here; convert the model to ONNX";

constexpr Foreign kForeign[] = {
    {"--rest_api_num_threads", "workers compute; the threads that read and write are --http-threads"},
    {"--grpc_max_threads", "gRPC's callbacks size their own pool"},
    {"--num_unload_threads", "versions are destroyed on a thread of their own"},
    {"--flush_filesystem_caches", "weights are mapped from their files, and the pages are shared", "true"},
    {"--tensorflow_session_parallelism", kThreads, "0"},
    {"--tensorflow_intra_op_parallelism", kThreads, "0"},
    {"--tensorflow_inter_op_parallelism", kThreads, "0"},
    {"--tensorflow_session_config_file", kTensorFlow},
    {"--thread_pool_factory_config_file", kThreads},
    {"--per_process_gpu_memory_fraction", kGpu, "0"},
    {"--saved_model_tags", "an ONNX file has one graph", "serve"},
    {"--remove_unused_fields_from_bundle_metagraph", kTensorFlow, "true"},
    {"--xla_cpu_compilation_enabled", kTensorFlow, "false"},
    {"--enable_signature_method_name_check", "an ONNX signature has no method name; its outputs decide", "false"},
    {"--enable_grpc_healthcheck_service", "grpc.health.v1 is always served", "true"},
    {"--enable_profiler", "there is no profiler service; see /debug/traces", "false"},
    {"--enable_model_warmup", "recorded requests beside a model are always replayed before it serves", "true"},
    {"--num_request_iterations_for_warmup", "recorded requests are replayed once"},
    {"--enable_per_model_batching_parameters",
     "batching_params.pbtxt is not read; each model's servable.yaml has a batching: section", "false"},
    {"--num_tflite_pools", kTfLite, "0"},
    {"--num_tflite_interpreters_per_pool", kTfLite, "0"},
    {"--prefer_tflite_model", kTfLite, "false", true},
    {"--use_tflite_model", kTfLite, "false", true},
    {"--use_alts_credentials", "ALTS works between Google's machines only; use --ssl_config_file", "false", true},
    {"--platform_config_file", "it configures platforms other than ONNX Runtime; leave it out", "", true},
};
constexpr size_t kNumForeign = std::size(kForeign);

class TfsForeignFlags final : public ServeFlags {
 public:
  TfsForeignFlags() : values_(kNumForeign) {}

  void AddTo(CLI::App& command) override {
    for (size_t i = 0; i < kNumForeign; ++i) {
      const Foreign& flag = kForeign[i];
      // A bare --flag says true.
      command
          .add_option_function<std::string>(
              flag.name, [this, i](const std::string& value) { values_[i] = value.empty() ? "true" : value; },
              absl::StrCat(flag.refused ? "Refused: " : "No effect: ", flag.why))
          ->expected(0, 1)
          ->group("");
    }
  }

  absl::Status Apply(Node::Options*) const override {
    for (size_t i = 0; i < kNumForeign; ++i) {
      const Foreign& flag = kForeign[i];
      if (values_[i].empty() || values_[i] == flag.agrees) continue;
      if (flag.refused) {
        return absl::InvalidArgumentError(absl::StrCat(flag.name, ": got '", values_[i], "', want none: ", flag.why));
      }
      LogWarning(absl::StrCat(flag.name, ": has no effect: ", flag.why));
    }
    return absl::OkStatus();
  }

 private:
  /// Of each flag; empty: not given.
  std::vector<std::string> values_;
};

}  // namespace

std::unique_ptr<ServeFlags> NewTfsForeignFlags() { return std::make_unique<TfsForeignFlags>(); }

}  // namespace portico
