#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace portico {

/// Tells of files that are renamed into a folder. For one thread.
class FolderWatch {
 public:
  static absl::StatusOr<std::unique_ptr<FolderWatch>> Open(const std::string& folder);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  /// Readable when something has happened.
  int fd() const { return fd_; }
  /// Forgets what happened so far. Whether anything had. Never blocks.
  bool Clear();

 private:
  explicit FolderWatch(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace portico
