#include "node/file_follower.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {

absl::Status FileFollower::Poll() {
  absl::Status status;
  std::vector<std::string> texts, seen;
  for (const std::string& path : options_.paths) {
    absl::StatusOr<std::string> text = ReadFile(path, options_.max_bytes);
    // A file that is away is no new content; it is told once, as if that were what it said.
    seen.push_back(text.ok() ? absl::StrCat("+", *text) : absl::StrCat("-", text.status().message()));
    status.Update(text.status());
    if (text.ok()) texts.push_back(*std::move(text));
  }
  if (options_.paths.empty() || seen == seen_) return absl::OkStatus();
  seen_ = std::move(seen);
  if (!status.ok()) return WithContext(options_.subject, status);
  return apply_(texts);
}

void FileFollower::Start() {
  if (options_.paths.empty() || options_.period <= absl::ZeroDuration()) return;
  thread_ = std::thread([this] { Run(); });
}

void FileFollower::Run() {
  const std::string name = absl::StrCat(options_.subject, " '", absl::StrJoin(options_.paths, "', '"), "'");
  for (;;) {
    {
      MutexLock lock(&mutex_);
      const absl::Time next = absl::Now() + options_.period;
      while (!stopping_ && absl::Now() < next) stop_.WaitFor(&mutex_, next - absl::Now());
      if (stopping_) return;
    }
    const std::vector<std::string> before = seen_;
    const absl::Status status = Poll();
    if (!status.ok()) {
      LogError(absl::StrCat(name, ": ", status.message(), "; ", options_.after_error));
    } else if (seen_ != before) {
      LogInfo(absl::StrCat(name, " has changed: what it says holds from now on"));
    }
  }
}

void FileFollower::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace portico
