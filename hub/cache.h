#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/file_lock.h"
#include "hub/handle.h"
#include "hub/manifest.h"
#include "hub/store.h"

namespace portico {

/// Modules that were downloaded, each whole and checked, for all processes of a user.
///
///   FOLDER/modules/acme/encoder/3/   what a node serves; .origin in it: the store it came from, then those that
///                                have the same
///   FOLDER/partial/acme/encoder/3/   what is being downloaded; goes on from there after whatever happened
///   FOLDER/locks/acme--encoder--3    held by who downloads or removes it
///
/// For one thread; several processes may share the folder.
class HubCache {
 public:
  struct Options {
    /// Empty: DefaultFolder().
    std::string folder;
    /// Bytes so far and in all, of what is read (checks) or downloaded. May be null.
    std::function<void(absl::string_view what, uint64_t done, uint64_t all)> progress;
    /// Lines for people: what is damaged, what is waited for. May be null.
    std::function<void(absl::string_view line)> say;
    /// How many tries without a byte in between a download has, and how long it waits after the first that broke.
    int attempts = 5;
    absl::Duration pause = absl::Milliseconds(200);
    /// Asked while something is downloaded or waited for: true ends Pull() with CANCELLED; what has come stays for the
    /// next one. May be null; the store has one of its own (StoreOptions).
    std::function<bool()> cancelled;
  };

  struct Pulled {
    Manifest manifest;
    /// The version folder.
    std::string folder;
    /// Nothing was downloaded.
    bool was_there = false;
  };

  /// ${XDG_CACHE_HOME:-~/.cache}/portico/hub. FAILED_PRECONDITION where neither is set.
  static absl::StatusOr<std::string> DefaultFolder();
  static absl::StatusOr<HubCache> Open(Options options);

  /// The module, from here where it is, or downloaded. A store is asked for it once: whether it has the same is kept.
  /// Where one that was not asked yet does not answer, what is here is taken all the same, and said to be: a handle
  /// means one content. Every file is checked against the manifest, and the model against its digest. A damaged file
  /// has the module pulled anew. FAILED_PRECONDITION where its manifest here says other content than the store's;
  /// DATA_LOSS where what the store has is not what its manifest says; UNAVAILABLE, after all tries, where its file is
  /// too short.
  absl::StatusOr<Pulled> Pull(Store& store, const Handle& handle);

  /// Where modules are: a base folder of versions for each, MODULES/acme/encoder.
  std::string modules() const { return options_.folder + "/modules"; }
  /// Where downloads are that have not ended.
  std::string partial() const { return options_.folder + "/partial"; }
  /// Held by whoever downloads or removes the module.
  std::string LockPath(const Handle& handle) const;
  /// Held by whoever removes modules.
  std::string SweepLockPath() const { return options_.folder + "/locks/.sweep"; }
  /// What the manifest says that is here; its files are not looked at.
  absl::StatusOr<Manifest> ReadCached(const Handle& handle) const;

 private:
  class Download;
  explicit HubCache(Options options) : options_(std::move(options)) {}

  /// DATA_LOSS and the like unless the files are here as the manifest says.
  absl::Status Check(const Manifest& manifest);
  absl::StatusOr<FileLock> Lock(const Handle& handle) const;
  void Say(absl::string_view line) const {
    if (options_.say) options_.say(line);
  }

  Options options_;
};

}  // namespace portico
