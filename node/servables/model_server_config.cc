#include "node/servables/model_server_config.h"

#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/servables/proto_text_file.h"
#include "tensorflow_serving/model_server_config.pb.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;
using Policy = tfs::FileSystemStoragePathSourceConfig::ServableVersionPolicy;

/// Configurations that were written for TensorFlow say so; what is served is ONNX either way.
constexpr absl::string_view kPlatforms[] = {"", "tensorflow", "onnx", "onnxruntime", "onnxruntime_onnx"};

absl::StatusOr<VersionPolicy> PolicyOf(const Policy& policy) {
  VersionPolicy versions;
  switch (policy.policy_choice_case()) {
    case Policy::kAll:
      versions.kind = VersionPolicy::Kind::kAll;
      break;
    case Policy::kSpecific:
      versions.kind = VersionPolicy::Kind::kSpecific;
      versions.versions.assign(policy.specific().versions().begin(), policy.specific().versions().end());
      if (versions.versions.empty()) {
        return absl::InvalidArgumentError("model_version_policy: specific: got no versions, want at least one");
      }
      break;
    case Policy::kLatest:
      if (policy.latest().num_versions() > uint32_t{std::numeric_limits<int>::max()}) {
        return absl::InvalidArgumentError(absl::StrCat("model_version_policy: latest: num_versions: got ",
                                                       policy.latest().num_versions(), ", want fewer; or all {}"));
      }
      // 0 is what an unset field reads as.
      if (policy.latest().num_versions() > 0) versions.num_versions = static_cast<int>(policy.latest().num_versions());
      break;
    case Policy::POLICY_CHOICE_NOT_SET:
      break;
  }
  return versions;
}

absl::StatusOr<ModelConfig> ModelOf(const tfs::ModelConfig& config) {
  if (!absl::c_linear_search(kPlatforms, config.model_platform())) {
    return absl::InvalidArgumentError(absl::StrCat("model_platform: got '", config.model_platform(),
                                                   "', want 'onnx' (or 'tensorflow', or nothing): this serves ONNX "
                                                   "models"));
  }
  if (config.model_type() == tfs::OTHER) {
    return absl::InvalidArgumentError("model_type: got OTHER, want model_platform instead");
  }
  ModelConfig model;
  model.name = config.name();
  model.base_path = config.base_path();
  ASSIGN_OR_RETURN(model.versions, PolicyOf(config.model_version_policy()));
  model.labels.insert(config.version_labels().begin(), config.version_labels().end());
  if (config.has_logging_config()) {
    const tfs::LoggingConfig& logging = config.logging_config();
    const double share = logging.sampling_config().sampling_rate();
    if (!(share >= 0 && share <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat("logging_config: sampling_rate: got ", share, ", want 0 to 1"));
    }
    model.request_log_sample = share;
    if (logging.has_log_collector_config()) {
      LogWarning(
          absl::StrCat("model '", config.name(),
                       "': logging_config's log_collector_config has no effect: the folder of the request log is "
                       "the node's (--request-log)"));
    }
  }
  return model;
}

}  // namespace

absl::StatusOr<std::vector<ModelConfig>> ModelsOfServerConfig(const tfs::ModelServerConfig& config) {
  if (config.config_case() != tfs::ModelServerConfig::kModelConfigList) {
    return absl::InvalidArgumentError(
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
        "supported");
  }
  std::vector<ModelConfig> models;
  for (const tfs::ModelConfig& entry : config.model_config_list().config()) {
    absl::StatusOr<ModelConfig> model = ModelOf(entry);
    if (!model.ok()) return WithContext(absl::StrCat("model '", entry.name(), "'"), model.status());
    models.push_back(*std::move(model));
  }
  return models;
}

absl::StatusOr<std::vector<ModelConfig>> ParseModelConfigFile(const std::string& path, const std::string& text) {
  tfs::ModelServerConfig config;
  RETURN_IF_ERROR(ParseProtoText(path, text, &config));
  absl::StatusOr<std::vector<ModelConfig>> models = ModelsOfServerConfig(config);
  if (!models.ok()) return WithContext(absl::StrCat("file '", path, "'"), models.status());
  return models;
}

}  // namespace portico
