#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/batching_parameters.h"
#include "cli/tfs_flags.h"

namespace portico {
namespace {

class TfsModelFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Models, as TensorFlow Serving names it";
    command.add_option("--model_name", model_name_, "Name of the model at --model_base_path; default: 'default'")
        ->type_name("NAME")
        ->group(kGroup);
    command.add_option("--model_base_path", model_base_path_, "Folder of the model's versions")
        ->type_name("BASE")
        ->group(kGroup);
    command
        .add_option("--model_config_file", config_file_.path,
                    "Models, version policies and labels, a text protobuf of type ModelServerConfig")
        ->type_name("FILE")
        ->group(kGroup);
    command
        .add_option("--model_config_file_poll_wait_seconds", config_poll_seconds_,
                    "How often that file is read again; 0: never")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    command
        .add_option("--file_system_poll_wait_seconds", poll_seconds_,
                    "How often folders are listed for new versions; 0: once")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    command.add_option("--max_num_load_retries", retries_, "How often a load that failed is tried again; default 5")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    command
        .add_option("--load_retry_interval_micros", retry_interval_micros_,
                    "How long after; negative: at once; default 60 s")
        ->group(kGroup);
    command.add_option("--num_load_threads", load_threads_, "Threads that load models; 0 and 1: one")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    labels_flag_ = command
                       .add_flag("--allow_version_labels_for_unavailable_models", labels_may_wait_,
                                 "A label may name a version that is not available, and waits for it; default: true")
                       ->group(kGroup);
    batching_flag_ = command
                         .add_flag("--enable_batching", batching_,
                                   "Join rows of requests; true unless said, =false: every request runs by itself")
                         ->group(kGroup);
    command
        .add_option("--batching_parameters_file", batching_file_,
                    "How rows are joined, a text protobuf of type BatchingParameters; wants --enable_batching")
        ->type_name("FILE")
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    RETURN_IF_ERROR(ApplyModels(options));
    RETURN_IF_ERROR(ApplyBatching(options));
    Servables::Options& servables = options->servables;
    if (poll_seconds_) servables.poll_period = absl::Seconds(*poll_seconds_);
    if (retries_) servables.load_retries = *retries_;
    if (retry_interval_micros_) {
      servables.load_retry_delay = absl::Microseconds(std::max<int64_t>(*retry_interval_micros_, 0));
    }
    if (load_threads_) servables.load_threads = std::max(*load_threads_, 1);
    if (labels_flag_->count() > 0) servables.labels_may_wait = labels_may_wait_;
    return absl::OkStatus();
  }

  std::vector<std::string> GivenMeshFlags() const override {
    std::vector<std::string> given;
    if (!model_name_.empty()) given.push_back("--model_name");
    if (!model_base_path_.empty()) given.push_back("--model_base_path");
    if (!config_file_.path.empty()) given.push_back("--model_config_file");
    return given;
  }

 private:
  absl::Status ApplyModels(Node::Options* options) const {
    if (config_file_.path.empty()) {
      if (config_poll_seconds_)
        LogWarning("--model_config_file_poll_wait_seconds: no effect without --model_config_file");
      if (model_base_path_.empty()) {
        if (model_name_.empty()) return absl::OkStatus();
        return absl::InvalidArgumentError("--model_name: got it alone, want --model_base_path, too");
      }
      options->models.push_back({model_name_.empty() ? "default" : model_name_, model_base_path_});
      return absl::OkStatus();
    }
    if (!options->models.empty()) {
      return absl::InvalidArgumentError("--model_config_file, --model: got both, want one; put the models in the file");
    }
    if (!model_name_.empty() || !model_base_path_.empty()) {
      LogWarning("--model_name, --model_base_path: no effect beside --model_config_file");
    }
    options->model_config_file = config_file_;
    options->model_config_file.period = absl::Seconds(config_poll_seconds_.value_or(0));
    return absl::OkStatus();
  }

  absl::Status ApplyBatching(Node::Options* options) const {
    if (!batching_file_.empty() && !batching_) {
      return absl::InvalidArgumentError(
          "--batching_parameters_file: got it without --enable_batching, want both or neither");
    }
    if (!batching_file_.empty()) {
      ASSIGN_OR_RETURN(options->servables.batching, ReadBatchingParameters(batching_file_));
    } else if (batching_flag_->count() > 0 && !batching_) {
      options->servables.batching.emplace().max_batch_size = 1;
    }
    return absl::OkStatus();
  }

  std::string model_name_;
  std::string model_base_path_;
  ModelConfigPoller::Options config_file_;
  std::optional<double> config_poll_seconds_;
  std::optional<double> poll_seconds_;
  std::optional<int> retries_;
  std::optional<int64_t> retry_interval_micros_;
  std::optional<int> load_threads_;
  bool labels_may_wait_ = false;
  bool batching_ = false;
  /// Whether they were given; owned by the command.
  const CLI::Option* labels_flag_ = nullptr;
  const CLI::Option* batching_flag_ = nullptr;
  std::string batching_file_;
};

}  // namespace

std::unique_ptr<ServeFlags> NewTfsModelFlags() { return std::make_unique<TfsModelFlags>(); }

}  // namespace portico
