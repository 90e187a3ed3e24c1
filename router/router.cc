#include "router/router.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "base/status_macros.h"
#include "router/channel_pool.h"
#include "router/lazy_pool.h"
#include "router/lazy_timer.h"
#include "router/locality.h"
#include "router/policies/policy.h"
#include "router/replica_set.h"
#include "router/resolver_watches.h"
#include "router/routed_call.h"

namespace portico {
namespace {

uint64_t DrawPerThread() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

/// Keeps the list that it is in.
class PolicyWatch final : public Resolver::Watch {
 public:
  PolicyWatch(std::shared_ptr<ResolverWatches> list, std::function<void()> changed)
      : list_(std::move(list)), watch_(list_->Add(std::move(changed))) {}

 private:
  const std::shared_ptr<ResolverWatches> list_;
  const std::unique_ptr<Resolver::Watch> watch_;
};

ChannelOptions OptionsOfChannels(const Router::Options& options) {
  ChannelOptions channel;
  channel.self = options.self;
  channel.security = options.security;
  channel.dead_after = options.dead_after;
  return channel;
}

}  // namespace

class Router::Impl {
  /// By target.
  struct Policies {
    const RoutePolicy& For(absl::string_view target) const {
      const auto found = by_target.find(std::string(target));
      return found == by_target.end() ? by_default : found->second;
    }
    RoutePolicy by_default;
    std::map<std::string, RoutePolicy> by_target;
  };

 public:
  Impl(Options options, Transport& transport, const Resolver& resolver, const Clock& clock, MetricRegistry& metrics)
      : options_(std::move(options)),
        resolver_(resolver),
        hedge_timer_("hedges", clock),
        background_(std::make_shared<LazyPool>(ThreadPool::Options{1, "background", 10})),
        surroundings_{clock, {}, options_.timer != nullptr ? options_.timer : &hedge_timer_},
        metrics_(metrics),
        pool_(transport, OptionsOfChannels(options_), clock) {
    surroundings_.random = options_.random ? options_.random : DrawPerThread;
    watch_ = resolver_.WatchChanges([this] { ResolveAgain(); });
  }
  ~Impl() { Stop(); }

  void Stop() {
    watch_ = nullptr;
    stopping_.store(true);
    // Calls that came before it are out when their channels are closed.
    for (int i = 0; i < begins_.size(); ++i) {
      while (begins_[i].count.load() != 0) absl::SleepFor(absl::Microseconds(100));
    }
    hedge_timer_.Stop();
    background_->Stop();
    surroundings_.channels.Close();
    surroundings_.channels.Drain(absl::InfiniteDuration());
    pool_.Close();
  }

  Ref<CancelHook> Call(const RouteTarget& target, const Ref<const RequestContext>& context,
                       absl::Span<const Tensor> tensors, Done done) {
    std::atomic<int64_t>& begins = begins_.Own().count;
    begins.fetch_add(1);
    const absl::Cleanup begun = [&begins] { begins.fetch_sub(1); };
    if (stopping_.load()) {
      done(absl::CancelledError(absl::StrCat("portal to '", target.servable.name, "': the node is stopping")));
      return nullptr;
    }
    Ref<RoutedCall> call = MakeRef<RoutedCall>(SetFor(target.servable), surroundings_, context, std::move(done));
    call->Start(target, tensors);
    return call;
  }

  RoutePolicy PolicyOf(absl::string_view target) const {
    MutexLock lock(&mutex_);
    return policies_.For(target);
  }
  RoutePolicy NextPolicyOf(absl::string_view target) const {
    MutexLock lock(&mutex_);
    return next_policies_.For(target);
  }
  void ExpectPolicies(const RoutePolicy& default_policy, const std::map<std::string, RoutePolicy>& policies) {
    MutexLock lock(&mutex_);
    next_policies_ = {default_policy, policies};
  }
  absl::Status SetPolicies(const RoutePolicy& default_policy, const std::map<std::string, RoutePolicy>& policies) {
    MutexLock resolving(&resolving_);
    RETURN_IF_ERROR(WithContext("policy 'default'", MakeBalance(default_policy)));
    for (const auto& [target, policy] : policies) {
      RETURN_IF_ERROR(WithContext(absl::StrCat("policy '", target, "'"), MakeBalance(policy)));
    }
    {
      MutexLock lock(&mutex_);
      policies_ = {default_policy, policies};
      next_policies_ = policies_;
    }
    for (ReplicaSet* set : Sets()) {
      const RoutePolicy policy = PolicyOf(set->target().name);
      set->SetPolicy(policy, *balances_.at(policy.balance));
    }
    return absl::OkStatus();
  }
  const std::shared_ptr<ResolverWatches>& policy_watches() const { return policy_watches_; }
  const Clock& clock() const { return surroundings_.clock; }
  Timer& timer() const { return *surroundings_.timer; }
  std::shared_ptr<Executor> background() const { return background_; }
  Executor* workers() const { return options_.workers; }
  MetricRegistry& metrics() const { return metrics_; }
  LiveTables& tables() { return tables_; }

  /// The set of a target; made, and its endpoints connected to, at the first use.
  ReplicaSet& SetFor(const ServableRef& servable) {
    if (ReplicaSet* set = Find(servable); set != nullptr) return *set;
    MutexLock resolving(&resolving_);
    if (ReplicaSet* set = Find(servable); set != nullptr) return *set;
    const RoutePolicy policy = PolicyOf(servable.name);
    ServableRef target;
    target.name = servable.name;
    target.digest = servable.digest;
    auto set = std::make_unique<ReplicaSet>(std::move(target), *balances_.at(policy.balance), policy, metrics_);
    set->SetMembers(MembersOf(servable.name));
    MutexLock lock(&mutex_);
    sets_[servable.name].push_back(std::move(set));
    return *sets_[servable.name].back();
  }

  absl::Status Health(const ServableRef& servable) { return SetFor(servable).Health(surroundings_.clock.Now()); }

  /// The resolver says something else than before.
  void ResolveAgain() {
    MutexLock resolving(&resolving_);
    for (ReplicaSet* set : Sets()) set->SetMembers(MembersOf(set->target().name));
  }

  std::vector<ReplicaStatus> Replicas() {
    std::vector<ReplicaSet*> all = Sets();
    std::sort(all.begin(), all.end(), [](ReplicaSet* a, ReplicaSet* b) { return a->target().name < b->target().name; });
    std::vector<ReplicaStatus> replicas;
    for (ReplicaSet* set : all) set->AddStatus(surroundings_.clock.Now(), &replicas);
    return replicas;
  }

 private:
  /// Null where there is none yet.
  ReplicaSet* Find(const ServableRef& servable) {
    // Held for one look-up per call, some 50 ns; sets live as long as the router.
    MutexLock lock(&mutex_);
    const auto sets = sets_.find(servable.name);
    if (sets == sets_.end()) return nullptr;
    for (const std::unique_ptr<ReplicaSet>& set : sets->second) {
      if (set->target().digest == servable.digest) return set.get();
    }
    return nullptr;
  }

  std::vector<ReplicaSet*> Sets() {
    std::vector<ReplicaSet*> all;
    MutexLock lock(&mutex_);
    for (const auto& [name, sets] : sets_) {
      for (const std::unique_ptr<ReplicaSet>& set : sets) all.push_back(set.get());
    }
    return all;
  }

  absl::Status MakeBalance(const RoutePolicy& policy) ABSL_EXCLUSIVE_LOCKS_REQUIRED(resolving_) {
    if (balances_.contains(policy.balance)) return absl::OkStatus();
    ASSIGN_OR_RETURN(balances_[policy.balance], NewBalancePolicy(policy.balance));
    return absl::OkStatus();
  }

  std::vector<ReplicaSet::Member> MembersOf(const std::string& target) {
    std::vector<ReplicaSet::Member> members;
    if (stopping_.load()) return members;
    for (const PeerAddress& peer : resolver_.Resolve(target)) {
      members.push_back({pool_.Get(peer.url), DistanceOf(peer, options_.zone), peer.revisions});
    }
    return members;
  }

  Options options_;
  const Resolver& resolver_;
  LazyTimer hedge_timer_;
  const std::shared_ptr<LazyPool> background_;
  RoutedCall::Surroundings surroundings_;
  MetricRegistry& metrics_;
  LiveTables tables_;
  ChannelPool pool_;
  /// Threads inside Call(), so that Stop() can wait for them. Counted, then `stopping_` is read; Stop() does the
  /// other way round.
  struct Begins {
    std::atomic<int64_t> count{0};
  };
  const PerCore<Begins> begins_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<Resolver::Watch> watch_;
  /// Of who goes by policies; theirs, too, since they may go later.
  const std::shared_ptr<ResolverWatches> policy_watches_ = std::make_shared<ResolverWatches>();
  /// Of who makes sets or changes their members; calls to known targets don't meet it.
  Mutex resolving_ ABSL_ACQUIRED_BEFORE(mutex_);
  /// By name; none goes before the router.
  std::map<std::string, std::unique_ptr<BalancePolicy>> balances_ ABSL_GUARDED_BY(resolving_);
  mutable Mutex mutex_;
  Policies policies_ ABSL_GUARDED_BY(mutex_);
  Policies next_policies_ ABSL_GUARDED_BY(mutex_);
  /// By name; each name has one set per digest that calls asked for.
  absl::flat_hash_map<std::string, std::vector<std::unique_ptr<ReplicaSet>>> sets_ ABSL_GUARDED_BY(mutex_);
};

Router::Router(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Router::~Router() = default;

void Router::Stop() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<Router>> Router::Create(Options options, Transport& transport, const Resolver& resolver,
                                                       const Clock& clock, MetricRegistry& metrics) {
  const RoutePolicy default_policy = std::move(options.default_policy);
  const std::map<std::string, RoutePolicy> policies = std::move(options.policies);
  auto impl = std::make_unique<Impl>(std::move(options), transport, resolver, clock, metrics);
  RETURN_IF_ERROR(impl->SetPolicies(default_policy, policies));
  return std::unique_ptr<Router>(new Router(std::move(impl)));
}

Ref<CancelHook> Router::Call(const RouteTarget& target, const Ref<const RequestContext>& context,
                             absl::Span<const Tensor> tensors, Done done) {
  return impl_->Call(target, context, tensors, std::move(done));
}

absl::Status Router::SetPolicies(const RoutePolicy& default_policy,
                                 const std::map<std::string, RoutePolicy>& policies) {
  RETURN_IF_ERROR(impl_->SetPolicies(default_policy, policies));
  impl_->policy_watches()->TellAll();
  return absl::OkStatus();
}

void Router::ExpectPolicies(const RoutePolicy& default_policy, const std::map<std::string, RoutePolicy>& policies) {
  impl_->ExpectPolicies(default_policy, policies);
}

OnErrorPolicy Router::OnErrorOf(absl::string_view target) const { return impl_->PolicyOf(target).on_error; }

OnErrorPolicy Router::NextOnErrorOf(absl::string_view target) const { return impl_->NextPolicyOf(target).on_error; }

std::unique_ptr<Resolver::Watch> Router::WatchPolicies(std::function<void()> changed) {
  return std::make_unique<PolicyWatch>(impl_->policy_watches(), std::move(changed));
}

void Router::CountFallback(const RouteTarget& target, absl::string_view kind) {
  impl_->SetFor(target.servable).metrics().FellBack(kind);
}

const Clock& Router::clock() const { return impl_->clock(); }

Timer& Router::timer() const { return impl_->timer(); }

std::shared_ptr<Executor> Router::background() const { return impl_->background(); }

Executor* Router::workers() const { return impl_->workers(); }

MetricRegistry& Router::metrics() const { return impl_->metrics(); }

LiveTables& Router::tables() const { return impl_->tables(); }

void Router::Warm(const RouteTarget& target) { impl_->SetFor(target.servable); }

absl::Status Router::Health(const RouteTarget& target) const { return impl_->Health(target.servable); }

std::vector<ReplicaStatus> Router::Replicas() const { return impl_->Replicas(); }

}  // namespace portico
