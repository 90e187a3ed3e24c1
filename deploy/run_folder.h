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
///   revisions/N.refused.yaml  one that could not be prepared, and why
///   current, next, oldest  the pointers (router/revision_pointers.h): symbolic links, replaced atomically
///   wanted               the number of a revision to go back to, written by `portico revision --rollback`
///   status/NAME-I.json   written by each node
///   NAME-I.sock          peer sockets
///   composed/NAME/N      version folders of models that the mesh file makes of others
///
/// Only its owner may enter. For one thread.
class RunFolder {
 public:
  /// Makes `path` or takes the one that is there; FAILED_PRECONDITION when another supervisor holds it. Empty: a new
  /// one below $XDG_RUNTIME_DIR or /tmp, which the destructor removes. One that it has made goes, too, where nothing
  /// was published in it.
  static absl::StatusOr<std::unique_ptr<RunFolder>> Open(const std::string& path);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Absolute.
  const std::string& path() const { return path_; }
  std::string current() const { return path_ + "/current"; }
  std::string composed_folder() const { return path_ + "/composed"; }
  std::string status_folder() const { return path_ + "/status"; }
  std::string StatusFile(const Revision::Node& node) const;

  /// Gives each node without a peer endpoint a Unix socket in this folder. INVALID_ARGUMENT when its path is longer
  /// than Unix takes.
  absl::Status AssignPeers(Revision* revision) const;
  /// Numbers the revision (one above the highest that ever was there) and writes it.
  absl::Status Write(Revision* revision) const;
  /// Write(), and makes it the only one: for a mesh that starts.
  absl::Status Publish(Revision* revision);
  /// Moves a pointer ("current", "next", "oldest") to a document.
  absl::Status Point(absl::string_view pointer, uint64_t number) const;
  /// Takes it away; nothing happens where it is not there.
  void Unpoint(absl::string_view pointer) const;
  /// Keeps the document as N.refused.yaml with the reason why.
  absl::Status Refuse(Revision revision, absl::string_view why) const;

  /// `portico revision --rollback` asks for this one; takes the request. 0: nobody asks.
  uint64_t TakeWanted() const;

 private:
  RunFolder(std::string path, bool temporary) : path_(std::move(path)), temporary_(temporary), remove_(temporary) {}
  absl::Status Lock();

  const std::string path_;
  const bool temporary_;
  /// With this: it is temporary, or was made here and nothing was ever published in it.
  bool remove_;
  int lock_ = -1;
};

}  // namespace portico
