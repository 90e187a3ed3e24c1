#include "node/servables/model_config_poller.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/servables/model_server_config.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

}  // namespace

absl::Status ModelConfigPoller::Poll() {
  absl::StatusOr<std::string> text = ReadFile(options_.path, kMaxBytes);
  // A file that is away now is no new content either; it is told once, as if that were what it said.
  std::string content = text.ok() ? *text : absl::StrCat("\n", text.status().ToString());
  if (has_seen_ && content == seen_) return absl::OkStatus();
  has_seen_ = true;
  seen_ = std::move(content);
  if (!text.ok()) return WithContext("--model_config_file", text.status());
  ASSIGN_OR_RETURN(std::vector<ModelConfig> models, ParseModelConfigFile(options_.path, *text));
  for (ModelConfig& model : models) model.resource_preserving = options_.resource_preserving;
  const absl::Status status = configure_(std::move(models));
  return status.ok() ? status : WithContext(absl::StrCat("file '", options_.path, "'"), status);
}

void ModelConfigPoller::Start() {
  if (options_.period > absl::ZeroDuration()) thread_ = std::thread([this] { Run(); });
}

void ModelConfigPoller::Run() {
  for (;;) {
    {
      MutexLock lock(&mutex_);
      const absl::Time next = absl::Now() + options_.period;
      while (!stopping_ && absl::Now() < next) stop_.WaitFor(&mutex_, next - absl::Now());
      if (stopping_) return;
    }
    const std::string before = seen_;
    const absl::Status status = Poll();
    if (!status.ok()) {
      LogError(absl::StrCat(status.message(), "; the models stay as they are"));
    } else if (seen_ != before) {
      LogInfo(absl::StrCat("file '", options_.path, "' has changed: its models are configured"));
    }
  }
}

void ModelConfigPoller::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace portico
