#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "router/revision.h"

namespace portico {

/// The folder of one running mesh:
///
///   lock                 held while the mesh runs: one supervisor per folder
///   revisions/N.yaml     each written whole, never changed
///   current              the pointer: a symbolic link to the revision that counts, replaced atomically
///   status/NAME-I.json   written by each node
///   NAME-I.sock          peer sockets
///
/// Only its owner may enter. For one thread.
class RunFolder {
 public:
  /// Makes `path` or takes the one that is there; FAILED_PRECONDITION when another supervisor holds it. Empty: a new
  /// one below $XDG_RUNTIME_DIR or /tmp, which the destructor removes.
  static absl::StatusOr<std::unique_ptr<RunFolder>> Open(const std::string& path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Absolute.
  const std::string& path() const { return path_; }
  std::string current() const { return path_ + "/current"; }
  std::string status_folder() const { return path_ + "/status"; }
  std::string StatusFile(const Revision::Node& node) const;

  /// Gives each node without a peer endpoint a Unix socket in this folder. INVALID_ARGUMENT when its path is longer
  /// than Unix takes.
  absl::Status AssignPeers(Revision* revision) const;
  /// Numbers the revision (one above the highest that is there), writes it and moves the pointer to it.
  absl::Status Publish(Revision* revision) const;

 private:
  RunFolder(std::string path, bool temporary) : path_(std::move(path)), temporary_(temporary) {}
  absl::Status Lock();

  const std::string path_;
  const bool temporary_;
  int lock_ = -1;
};

}  // namespace portico
