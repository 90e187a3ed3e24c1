#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metric.h"
#include "base/request_context.h"
#include "base/servable_ref.h"
#include "base/tensor.h"
#include "base/timer.h"
#include "router/live_tables.h"
#include "router/replica_status.h"
#include "router/resolver.h"
#include "router/revision.h"
#include "transport/transport.h"

namespace portico {

/// What a portal calls.
struct RouteTarget {
  ServableRef servable;
  std::string signature;
  /// The target's input names in the order of the tensors; empty: by position (a digest is known).
  std::vector<std::string> input_names;
  /// What the portal makes of the reply, where it goes by name.
  std::vector<WantedOutput> outputs;
};

/// Chooses where a call goes, makes it, and learns from the answer. Owns the channels: one per endpoint, shared by all
/// targets. Thread-safe. Channels are made at the first call that needs them (or Warm()), never at construction. When
/// the resolver's answer changes, calls that come later go to the new members; what is out to others ends as it would
/// have.
class Router {
 public:
  struct Options {
    /// Said in HELLO and in messages.
    PeerState self;
    /// Keys of the calling side, per transport scheme's need.
    TransportSecurity security;
    /// ChannelOptions::dead_after.
    absl::Duration dead_after = ChannelOptions().dead_after;
    /// Where this node stands; empty: not known.
    std::string zone;
    RoutePolicy default_policy;
    std::map<std::string, RoutePolicy> policies;
    /// Uniform draws for balancing, from any thread; empty: one generator per thread.
    std::function<uint64_t()> random;
    /// When to hedge; null: a thread of the router's own. Not owned; runs no task once the router has gone.
    Timer* timer = nullptr;
    /// For work of portals that somebody waits for and that would keep a transport's thread; null: there is none. Not
    /// owned. Tasks use the router: none may run once it has gone; they may be dropped then, and run after Stop().
    Executor* workers = nullptr;
  };
  /// A reply whose code is OK; its tensors are unchecked against any signature. Errors have passed FromInnerHop().
  using Done = absl::AnyInvocable<void(absl::StatusOr<PeerMessage>)>;

  /// `transport`, `resolver`, `clock` and `metrics` are not owned and must outlive the router. INVALID_ARGUMENT for a
  /// policy name that is not in the table.
  static absl::StatusOr<std::unique_ptr<Router>> Create(Options options, Transport& transport, const Resolver& resolver,
                                                        const Clock& clock, MetricRegistry& metrics);
  /// Stops. REQUIRES: no other thread is inside, and no task of Options::workers will be; completions may call Call()
  /// and are refused.
  ~Router();
  /// Completes calls in flight with CANCELLED and refuses those that come later; all else stays as it is, for work that
  /// has still to run out. Waits for threads that are inside Call(), so not from a completion.
  void Stop();

  /// Picks a connected replica that holds target.servable.digest (where given and where the replica has said what it
  /// holds), calls it with the sooner of the context's deadline and the policy's timeout, hop + 1. Spans of the reply
  /// are added to `context->spans`. UNAVAILABLE when nobody serves the target or no replica is connected (the message
  /// names endpoints and their state); INTERNAL when the hop count is used up. UNAVAILABLE, RESOURCE_EXHAUSTED,
  /// NOT_FOUND and DATA_LOSS of one replica are taken to another within the policy's retries and budget; where the
  /// policy hedges, a second one is asked while the first is slow. A request that is cancelled takes its calls back.
  /// `done` may run inside the call; `target` must live until it does. What is returned takes this one call back
  /// (OnCancel()): unless it has ended it soon does, with CANCELLED. Null where the router is stopping.
  Ref<CancelHook> Call(const RouteTarget& target, const Ref<const RequestContext>& context,
                       absl::Span<const Tensor> tensors, Done done);

  /// Calls that begin from now on go by these, as at Create(); calls in flight by what they began with.
  /// INVALID_ARGUMENT, and nothing changes, for a balance policy that is not in the table.
  absl::Status SetPolicies(const RoutePolicy& default_policy, const std::map<std::string, RoutePolicy>& policies);
  /// What SetPolicies() will be given next, for all that is known; as is, where it is not.
  void ExpectPolicies(const RoutePolicy& default_policy, const std::map<std::string, RoutePolicy>& policies);

  /// What the target's policy says of calls that fail, now and as expected: whoever makes the call acts on it.
  OnErrorPolicy OnErrorOf(absl::string_view target) const;
  OnErrorPolicy NextOnErrorOf(absl::string_view target) const;
  /// `changed` is called after each SetPolicies(), on its thread, until the watch ends, as by a resolver. The watch may
  /// outlive the router.
  std::unique_ptr<Resolver::Watch> WatchPolicies(std::function<void()> changed);
  /// A failed call was answered by `kind` of fallback.
  void CountFallback(const RouteTarget& target, absl::string_view kind);
  const Clock& clock() const;
  /// For what portals do when calls have taken long. Runs no task once the router has gone.
  Timer& timer() const;
  /// For work of portals that nobody waits for: one niced thread. May outlive the router; runs no task once that has
  /// gone.
  std::shared_ptr<Executor> background() const;
  /// Options::workers.
  Executor* workers() const;
  /// Where portals count what they do besides calls.
  MetricRegistry& metrics() const;

  /// Into how many shards groups of tables are divided, for a request of which revision. Lives as long as the router.
  LiveTables& tables() const;

  /// Begins to connect to the target's endpoints.
  void Warm(const RouteTarget& target);
  /// OK when a replica that could take the call is connected; else UNAVAILABLE with the reason. Begins to connect where
  /// nobody has yet.
  absl::Status Health(const RouteTarget& target) const;
  /// All replicas of all targets that were called or warmed, by target.
  std::vector<ReplicaStatus> Replicas() const;

 private:
  class Impl;
  explicit Router(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace portico
