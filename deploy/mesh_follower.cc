#include "deploy/mesh_follower.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"
#include "deploy/hub_modules.h"
#include "deploy/mesh_tables.h"
#include "hub/store.h"
#include "models/package/package.h"
#include "node/servables/folder_state.h"

namespace portico {
namespace {

constexpr absl::Duration kMaxRetryPause = absl::Minutes(1);
constexpr uint64_t kMaxMeshFileBytes = uint64_t{16} << 20;

int NewEventFd() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  PORTICO_CHECK(fd >= 0);
  return fd;
}

void Set(int fd) {
  const uint64_t one = 1;
  PORTICO_CHECK(write(fd, &one, sizeof one) == sizeof one);
}

bool Clear(int fd) {
  uint64_t count = 0;
  return read(fd, &count, sizeof count) == sizeof count;
}

bool IsPinned(const Revision::Model& model, int64_t version) {
  return std::any_of(model.pins.begin(), model.pins.end(),
                     [&](const Revision::Pin& pin) { return pin.version == version; });
}

}  // namespace

MeshFollower::MeshFollower(Options options, const MeshFile& first, PackageReader& packages)
    : options_(std::move(options)),
      packages_(packages),
      known_(first.revision),
      wake_fd_(NewEventFd()),
      news_fd_(NewEventFd()) {
  WatchFolders(known_);
  seen_ = LookAtMesh();
  text_ = ReadText();
  thread_ = std::thread([this] { Run(); });
}

MeshFollower::~MeshFollower() {
  Set(wake_fd_);
  thread_.join();
  if (notices_ >= 0) close(notices_);
  close(wake_fd_);
  close(news_fd_);
}

std::optional<MeshFollower::News> MeshFollower::Take() {
  Clear(news_fd_);
  MutexLock lock(&mutex_);
  return std::exchange(news_, std::nullopt);
}

void MeshFollower::Tell(absl::StatusOr<Revision> revision) {
  std::string text = ReadText();
  const bool waits = MayPass(revision.status());
  {
    MutexLock lock(&mutex_);
    const bool untold = news_.has_value() && news_->file_changed;
    news_ = News{std::move(revision), untold || text != text_};
  }
  // What could not be read for now is news when it can be.
  if (!waits) text_ = std::move(text);
  Set(news_fd_);
}

void MeshFollower::WatchFolders(const Revision& revision) {
  if (notices_ >= 0) close(notices_);
  // Where it does not work, the period does.
  notices_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (notices_ < 0) return;
  const auto watch = [&](const std::filesystem::path& folder) {
    inotify_add_watch(notices_, folder.empty() ? "." : folder.c_str(),
                      IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_CLOSE_WRITE);
  };
  watch(std::filesystem::path(options_.mesh_file).parent_path());
  for (const Revision::Model& model : revision.models) watch(model.path);
  for (const Revision::Table& table : revision.tables) watch(table.path);
}

std::string MeshFollower::ReadText() const {
  const absl::StatusOr<std::string> text = ReadFile(options_.mesh_file, kMaxMeshFileBytes);
  return text.ok() ? *text : std::string(text.status().message());
}

std::string MeshFollower::LookAtMesh() const {
  std::string seen = ReadText();
  for (const Revision::Table& table : known_.tables) seen += LookAtGroup(table);
  for (const Revision::Model& model : known_.models) {
    const auto versions = ListVersions(model.path);
    absl::StrAppend(&seen, "\n", model.name);
    if (!versions.ok()) continue;
    for (const VersionFolder& version : *versions) {
      absl::StrAppend(&seen, " ", version.version);
      // What is pinned does not change; of others it counts when they become whole.
      if (!IsPinned(model, version.version)) {
        absl::StrAppend(&seen, "=", LookAtFolder(version.folder).fingerprint.Short());
      }
    }
  }
  return seen;
}

bool MeshFollower::Sleep(absl::Duration duration) {
  pollfd wanted[] = {{wake_fd_, POLLIN, 0}, {notices_, POLLIN, 0}};
  poll(wanted, 2, static_cast<int>(absl::ToInt64Milliseconds(duration)));
  return wanted[0].revents == 0;
}

void MeshFollower::Run() {
  while (Sleep(options_.period)) {
    alignas(inotify_event) char events[4096];
    while (notices_ >= 0 && read(notices_, events, sizeof events) > 0) {
    }
    std::string now = LookAtMesh();
    if (now == seen_ && absl::Now() < retry_at_) continue;
    for (std::string before; before != now;) {
      before = std::move(now);
      pollfd stop = {wake_fd_, POLLIN, 0};
      poll(&stop, 1, static_cast<int>(absl::ToInt64Milliseconds(options_.settle)));
      if (stop.revents != 0) return;
      now = LookAtMesh();
    }
    absl::StatusOr<MeshFile> mesh = absl::UnknownError("");
    // What is there is what was read: until nothing has changed in between. Packages are read once.
    for (std::string before; before != now;) {
      before = std::move(now);
      mesh = ReadMeshFile(options_.mesh_file, &packages_, options_.composed_folder, options_.find_module, PulledModule);
      if (mesh.ok()) known_ = mesh->revision;
      now = LookAtMesh();
    }
    seen_ = std::move(now);
    if (mesh.ok()) {
      last_error_.clear();
      retry_pause_ = absl::ZeroDuration();
      retry_at_ = absl::InfiniteFuture();
      WatchFolders(known_);
      Tell(std::move(mesh->revision));
    } else {
      const bool waits = MayPass(mesh.status());
      retry_pause_ = waits ? std::clamp(2 * retry_pause_, options_.period, kMaxRetryPause) : absl::ZeroDuration();
      retry_at_ = waits ? absl::Now() + retry_pause_ : absl::InfiniteFuture();
      std::string error = mesh.status().ToString();
      if (error != last_error_) Tell(mesh.status());
      last_error_ = std::move(error);
    }
  }
}

}  // namespace portico
