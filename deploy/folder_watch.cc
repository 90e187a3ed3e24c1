#include "deploy/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"

namespace portico {

absl::StatusOr<std::unique_ptr<FolderWatch>> FolderWatch::Open(const std::string& folder) {
  std::unique_ptr<FolderWatch> watch(new FolderWatch(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
  if (watch->fd_ < 0 || inotify_add_watch(watch->fd_, folder.c_str(), IN_MOVED_TO) < 0) {
    return ErrnoStatus(errno, "watch folder", folder);
  }
  return watch;
}

FolderWatch::~FolderWatch() {
  if (fd_ >= 0) close(fd_);
}

bool FolderWatch::Clear() {
  alignas(inotify_event) char events[4096];
  bool any = false;
  while (read(fd_, events, sizeof events) > 0) any = true;
  return any;
}

}  // namespace portico
