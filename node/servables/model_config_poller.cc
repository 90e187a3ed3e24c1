#include "node/servables/model_config_poller.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "node/servables/model_server_config.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

FileFollower::Options Followed(const ModelConfigPoller::Options& options) {
  FileFollower::Options followed;
  followed.subject = "--model_config_file";
  if (!options.path.empty()) followed.paths = {options.path};
  followed.period = options.period;
  followed.max_bytes = kMaxBytes;
  followed.after_error = "the models stay as they are";
  return followed;
}

absl::Status ConfigureFrom(const ModelConfigPoller::Options& options, const std::string& text,
                           const ModelConfigPoller::Configure& configure) {
  ASSIGN_OR_RETURN(std::vector<ModelConfig> models, ParseModelConfigFile(options.path, text));
  for (ModelConfig& model : models) model.resource_preserving = options.resource_preserving;
  const absl::Status status = configure(std::move(models));
  return status.ok() ? status : WithContext(absl::StrCat("file '", options.path, "'"), status);
}

}  // namespace

ModelConfigPoller::ModelConfigPoller(const Options& options, Configure configure)
    : follower_(Followed(options), [options, configure = std::move(configure)](const std::vector<std::string>& texts) {
        return ConfigureFrom(options, texts.front(), configure);
      }) {}

}  // namespace portico
