#include "node/frontend/v2_info.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "codec/v2_dtype.h"
#include "inference/grpc_service.pb.h"

namespace portico {
namespace {

constexpr char kPlatform[] = "onnxruntime_onnx";
constexpr const char* kExtensions[] = {"binary_tensor_data", "model_configuration", "model_repository", "parameters",
                                       "statistics"};

void FillTensor(const TensorSpec& spec, inference::ModelMetadataResponse::TensorMetadata* tensor) {
  tensor->set_name(spec.name);
  tensor->set_datatype(std::string(V2TypeName(spec.dtype)));
  for (const Dim& dim : spec.dims) tensor->add_shape(dim.extent);
}

/// Triton's number of a datatype.
int ConfigType(DType dtype) {
  constexpr DType kInOrder[] = {DType::kBool,  DType::kUint8,  DType::kUint16, DType::kUint32,  DType::kUint64,
                                DType::kInt8,  DType::kInt16,  DType::kInt32,  DType::kInt64,   DType::kFloat16,
                                DType::kFloat, DType::kDouble, DType::kString, DType::kBfloat16};
  const auto* const found = std::find(std::begin(kInOrder), std::end(kInOrder), dtype);
  return found == std::end(kInOrder) ? 0 : static_cast<int>(found - std::begin(kInOrder)) + 1;
}

absl::string_view IndexState(VersionState state) {
  switch (state) {
    case VersionState::kAvailable:
      return "READY";
    case VersionState::kStart:
    case VersionState::kLoading:
      return "LOADING";
    case VersionState::kUnloading:
      return "UNLOADING";
    default:
      return "UNAVAILABLE";
  }
}

}  // namespace

void FillV2ServerMetadata(inference::ServerMetadataResponse* response) {
  response->set_name("portico");
  response->set_version(PORTICO_PROJECT_VERSION);
  for (const char* extension : kExtensions) response->add_extensions(extension);
}

void FillV2ModelMetadata(const Servables& servables, const Servable& servable, const Signature& signature,
                         inference::ModelMetadataResponse* response) {
  response->set_name(servable.name());
  response->set_platform(kPlatform);
  ServableRef all;
  all.name = servable.name();
  if (const auto versions = servables.Status(all); versions.ok()) {
    for (const VersionStatus& version : *versions) {
      if (version.state == VersionState::kAvailable) response->add_versions(absl::StrCat(version.version));
    }
  }
  for (const TensorSpec& spec : signature.inputs) FillTensor(spec, response->add_inputs());
  for (const TensorSpec& spec : signature.outputs) FillTensor(spec, response->add_outputs());
}

void FillV2ModelConfig(const Servable& servable, inference::ModelConfig* config) {
  config->set_name(servable.name());
  config->set_platform(kPlatform);
  config->set_backend("onnxruntime");
  const Signature* const signature = servable.FindSignature("");
  if (signature == nullptr) return;
  for (const TensorSpec& spec : signature->inputs) {
    inference::ModelInput* const input = config->add_input();
    input->set_name(spec.name);
    input->set_data_type(ConfigType(spec.dtype));
    for (const Dim& dim : spec.dims) input->add_dims(dim.extent);
  }
  for (const TensorSpec& spec : signature->outputs) {
    inference::ModelOutput* const output = config->add_output();
    output->set_name(spec.name);
    output->set_data_type(ConfigType(spec.dtype));
    for (const Dim& dim : spec.dims) output->add_dims(dim.extent);
  }
}

void FillV2Index(const std::vector<ModelIndex>& models, bool ready_only, inference::RepositoryIndexResponse* response) {
  for (const ModelIndex& model : models) {
    for (const VersionStatus& version : model.versions) {
      if (ready_only && version.state != VersionState::kAvailable) continue;
      inference::RepositoryIndexResponse::ModelIndex& out = *response->add_models();
      out.set_name(model.name);
      out.set_version(absl::StrCat(version.version));
      out.set_state(std::string(IndexState(version.state)));
      out.set_reason(version.status.ok() && model.unloaded ? "unloaded" : std::string(version.status.message()));
    }
    if (!model.versions.empty() || ready_only) continue;
    inference::RepositoryIndexResponse::ModelIndex& out = *response->add_models();
    out.set_name(model.name);
    out.set_state("UNAVAILABLE");
    out.set_reason(model.listing.ok() ? (model.unloaded ? "unloaded" : "") : std::string(model.listing.message()));
  }
}

bool V2ModelReady(const Servables& servables, const ServableRef& ref) {
  if (servables.Resolve(ref).ok()) return true;
  for (const ModelIndex& model : servables.Index()) {
    if (model.name == ref.name) return model.on_demand && !model.unloaded && model.listing.ok();
  }
  return false;
}

absl::Status FillV2Statistics(const Servables& servables, const std::string& name, const std::string& version,
                              inference::ModelStatisticsResponse* response) {
  const auto set = [](const ServableStats::Total& total, inference::StatisticDuration* out) {
    out->set_count(total.count);
    out->set_ns(static_cast<uint64_t>(absl::ToInt64Nanoseconds(total.time)));
  };
  for (const std::shared_ptr<const Servable>& servable : servables.Available()) {
    const std::string number = absl::StrCat(servable->version());
    if ((!name.empty() && servable->name() != name) || (!version.empty() && number != version)) continue;
    const ServableStats::Snapshot stats = servable->stats().Read();
    inference::ModelStatistics& out = *response->add_model_stats();
    out.set_name(servable->name());
    out.set_version(number);
    out.set_last_inference(static_cast<uint64_t>(absl::ToUnixMillis(stats.last_request)));
    out.set_inference_count(stats.rows);
    out.set_execution_count(stats.runs);
    set(stats.succeeded, out.mutable_inference_stats()->mutable_success());
    set(stats.failed, out.mutable_inference_stats()->mutable_fail());
    set(stats.queued, out.mutable_inference_stats()->mutable_queue());
    set(stats.computed, out.mutable_inference_stats()->mutable_compute_infer());
    set(stats.cache_hits, out.mutable_inference_stats()->mutable_cache_hit());
    set(stats.cache_misses, out.mutable_inference_stats()->mutable_cache_miss());
    for (const ServableStats::BatchSize& size : stats.batch_sizes) {
      inference::InferBatchStatistics& batch = *out.add_batch_stats();
      batch.set_batch_size(static_cast<uint64_t>(size.rows));
      set(size.runs, batch.mutable_compute_infer());
    }
  }
  if (response->model_stats_size() > 0 || name.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model '", name, "'",
                                          version.empty() ? "" : absl::StrCat(" version ", version),
                                          ": does not serve, so that there are no statistics of it"));
}

}  // namespace portico
