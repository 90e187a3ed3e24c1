#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "deploy/mesh.h"
#include "deploy/package_reader.h"

namespace portico {

/// Follows a mesh file and the version folders of its models, and reads and checks the whole mesh when either has
/// changed, on a thread of its own: weights may take long to read. inotify wakes it, and a poll where that says
/// nothing. Where a store of hub modules did not answer, the same is read again, after pauses that grow to a minute.
class MeshFollower {
 public:
  struct Options {
    std::string mesh_file;
    /// For ReadMeshFile().
    std::string composed_folder;
    FindModule find_module;
    absl::Duration period = absl::Seconds(1);
    /// How long the mesh file must have been left alone: editors write in pieces.
    absl::Duration settle = absl::Milliseconds(30);
  };

  /// `first`: what was read of it at the start. `packages` is not owned, must outlive it, and is its own from now on.
  MeshFollower(Options options, const MeshFile& first, PackageReader& packages);
  /// Joins; a read that is under way ends first.
  ~MeshFollower();

  struct News {
    /// What the mesh says now, or what is wrong with it.
    absl::StatusOr<Revision> revision;
    /// The mesh file itself has changed, not only what is in the models' folders.
    bool file_changed = false;
  };

  /// Readable while there is news.
  int fd() const { return news_fd_; }
  /// The news since the last call; nothing: none. Never blocks.
  std::optional<News> Take();

 private:
  void Run();
  /// False: it is to end.
  bool Sleep(absl::Duration duration);
  void WatchFolders(const Revision& revision);
  std::string ReadText() const;
  /// The file's text and what is in the models' folders.
  std::string LookAtMesh() const;
  void Tell(absl::StatusOr<Revision> revision);

  const Options options_;
  PackageReader& packages_;
  /// As it was read last without an error: whose folders are looked at. For the thread.
  Revision known_;
  std::string seen_;
  /// The file's text when there was news last.
  std::string text_;
  std::string last_error_;
  /// A store did not answer: when the same is read again, and how long was waited for that.
  absl::Time retry_at_ = absl::InfiniteFuture();
  absl::Duration retry_pause_ = absl::ZeroDuration();
  int notices_ = -1;
  int wake_fd_;
  int news_fd_;
  Mutex mutex_;
  std::optional<News> news_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace portico
