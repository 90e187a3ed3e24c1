#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/deadline.h"
#include "base/request_context.h"
#include "base/servable_ref.h"
#include "node/servables/model_config.h"
#include "node/servables/servable.h"
#include "node/servables/servables_memory.h"
#include "node/servables/version_state.h"
#include "node/servables/warmup.h"

namespace portico {

class LiveRevisions;

/// Which models a node serves, in which versions, and what state each is in. Every request asks it once what its
/// reference means now; everything else happens beside the requests: folders are listed by watchers, versions are
/// loaded on niced threads of their own and destroyed on another. Thread-safe.
///
///   servables.Configure(models);                     // at the start, and again whenever that changes
///   servables.WhenSettled(deadline, done);           // every wanted version is available or has failed
///   servables.Acquire(ref, context, done);           // per request
class Servables {
 public:
  using State = VersionState;
  using VersionStatus = portico::VersionStatus;
  static absl::string_view StateName(State state) { return VersionStateName(state); }

  struct Options {
    /// Threads that load models; they are niced.
    int load_threads = 1;
    /// How often a load that failed is tried again, and how long after.
    int load_retries = 5;
    absl::Duration load_retry_delay = absl::Seconds(60);
    /// How often each model's folder is listed. 0: once, when it is configured.
    absl::Duration poll_period = absl::Seconds(1);
    /// Versions that serve are unloaded when their folder is found empty. False: they serve on.
    bool unload_on_empty = false;
    /// A label may name a version that is not available: it waits for it. False: Configure() refuses to move a label of
    /// a model that serves to such a version.
    bool labels_may_wait = true;
    /// How models are batched whose configuration does not say, in place of what servable.yaml says.
    std::optional<BatchingOptions> batching = std::nullopt;
    /// Every model is loaded when it is first asked for, whatever its configuration says.
    bool on_demand = false;
    /// Bytes of weights that may be in memory; on-demand models that have not been asked for longest make room. 0: no
    /// limit.
    uint64_t memory_budget_bytes = 0;
    /// Requests that may wait for on-demand loads; more are refused.
    size_t max_waiting_requests = 1024;
    /// Requests that were recorded beside a version, replayed before it is available.
    WarmupOptions warmup;
    /// What names mean by the revision that a request is stamped with; null: what is available says. Not owned, must
    /// outlive it.
    const LiveRevisions* revisions = nullptr;
    /// Called with each configuration that was accepted. Must be short.
    std::function<void(const std::vector<ModelConfig>&)> on_configure;
    /// Called whenever what is available, or loaded when it is asked for, has changed, on some thread of Servables, one
    /// call at a time. Must be short.
    std::function<void()> on_change;
  };

  Servables(Options options, Servable::Dependencies dependencies);
  /// Stops.
  ~Servables();

  /// Replaces the whole configuration. Checks all of it first: INVALID_ARGUMENT (a name twice or empty, no base path, a
  /// policy that makes no sense), FAILED_PRECONDITION "Request to assign label to version 2 of model m, which is not
  /// currently available for inference"; a rejected one changes nothing. Returns before anything is listed or loaded.
  absl::Status Configure(std::vector<ModelConfig> models);
  /// `done` gets OK once every wanted version is available, or, when every one is available or has failed, the errors;
  /// DEADLINE_EXCEEDED naming what is on its way. On some thread of Servables, or inside the call. Must be short.
  using SettledDone = absl::AnyInvocable<void(absl::Status)>;
  void WhenSettled(Deadline deadline, SettledDone done);
  /// Of one model.
  void WhenSettled(const std::string& model, Deadline deadline, SettledDone done);

  /// Brings back a model that was unloaded by name, or tries again what has failed. Returns before that has happened.
  /// NOT_FOUND where no such model is configured.
  absl::Status Load(const std::string& name);
  /// Unloads all versions of a model, which stays configured. Requests that have one finish.
  absl::Status Unload(const std::string& name);
  /// All configured models, by name.
  std::vector<ModelIndex> Index() const;

  /// The version that `ref` means now; the caller holds it for its whole request. NOT_FOUND "Servable not found for
  /// request: Latest(foo)" / "Specific(foo, 5)"; INVALID_ARGUMENT "Unrecognized servable version label: x";
  /// FAILED_PRECONDITION naming both digests when ref.digest is given and not held. Never waits.
  absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const ServableRef& ref) const;

  /// As Resolve(), but where `ref` names a version that is loaded when it is asked for, `done` is called once it is, on
  /// another thread; otherwise inside the call. `context` bounds the wait (deadline, cancellation); where it has no
  /// product, the name asked for becomes it.
  using AcquireDone = absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<const Servable>>)>;
  void Acquire(const ServableRef& ref, const Ref<const RequestContext>& context, AcquireDone done);

  /// Whether the node was told to serve a model of that name, whatever state it is in.
  bool Has(absl::string_view name) const;

  /// NOT_FOUND "Could not find any versions of model foo" / "Could not find version 9 of model foo".
  absl::StatusOr<std::vector<VersionStatus>> Status(const ServableRef& ref) const;

  /// All that are available now.
  std::vector<std::shared_ptr<const Servable>> Available() const;
  /// Names that are configured, sorted.
  std::vector<std::string> Names() const;
  /// Those among them that are loaded when they are asked for, loaded or not; without those that were Unload()ed.
  std::vector<std::string> OnDemand() const;
  ServablesMemory Memory() const;
  /// OK when every configured model serves or is not meant to; else UNAVAILABLE with which does not, and why.
  absl::Status Ready() const;

  /// Stops watching and loading; what is available stays so. Blocks until the loads that have begun have ended.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace portico
