#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/servable_ref.h"
#include "node/servables/model_config.h"
#include "node/servables/servable.h"

namespace portico {

/// Which models a node serves, in which versions, and what state each is in. Thread-safe.
///
/// The skeleton's policy: the highest version folder is loaded, once, at Add(). (Watching, labels and unloading come
/// here.)
class Servables {
 public:
  /// States and numbers of ModelVersionStatus.State.
  enum class State { kStart = 10, kLoading = 20, kAvailable = 30, kUnloading = 40, kEnd = 50 };
  /// "START", "AVAILABLE", ...: what clients of the TensorFlow Serving API read.
  static absl::string_view StateName(State state);
  struct VersionStatus {
    int64_t version = 0;
    State state = State::kStart;
    /// Why it failed to load, where it did.
    absl::Status status;
  };

  explicit Servables(Servable::Dependencies dependencies) : dependencies_(dependencies) {}

  /// Loads the highest version below the base folder. Blocks: call it on a thread that may load. A failure is kept as
  /// the version's status and returned; models that serve already are not disturbed. ALREADY_EXISTS for a name that was
  /// added before.
  absl::Status Add(const ModelConfig& model);

  /// The version that `ref` means now; the caller holds it for its whole request. NOT_FOUND "Servable not found for
  /// request: Latest(foo)" / "Specific(foo, 5)"; INVALID_ARGUMENT "Unrecognized servable version label: x";
  /// FAILED_PRECONDITION naming both digests when ref.digest is given and not held.
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;

  /// As Resolve(), but where `ref` names a version that is loaded when it is asked for, `done` is called once it is, on
  /// another thread; otherwise inside the call. `context` bounds the wait (deadline, cancellation).
  using AcquireDone = absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<const Servable>>)>;
  void Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done);

  /// Whether the node was told to serve a model of that name, whatever state it is in.
  bool Has(absl::string_view name) const;

  /// NOT_FOUND "Could not find any versions of model foo" / "Could not find version 9 of model foo".
  absl::StatusOr<std::vector<VersionStatus>> Status(const ServableRef& ref) const;

  /// All that are available now.
  std::vector<std::shared_ptr<const Servable>> Available() const;
  /// Names that were added, sorted.
  std::vector<std::string> Names() const;
  /// OK when every name that was added has a version that is available; else UNAVAILABLE with which has not, and why.
  absl::Status Ready() const;

 private:
  struct Entry {
    std::string base;
    /// Why there is no version at all.
    absl::Status failure;
    std::map<int64_t, VersionStatus> statuses;
    std::map<int64_t, std::shared_ptr<const Servable>> available;
  };

  absl::Status LoadVersion(const std::string& name, const VersionFolder& folder);
  void SetStatus(const std::string& name, VersionStatus status);

  const Servable::Dependencies dependencies_;
  WeightStore weights_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
