#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "base/request_context.h"
#include "base/servable_ref.h"
#include "router/revision.h"
#include "router/traffic_arms.h"

namespace portico {

/// What one revision says to one node: what names of the models that it serves mean. Immutable.
struct RevisionView {
  struct Model {
    /// Rising. Empty: the node's own version policy decides.
    std::vector<Revision::Pin> pins;
    std::map<std::string, int64_t> labels;
  };

  uint64_t number = 0;
  absl::flat_hash_map<std::string, Model> models;
  /// Whether traffic is split anywhere in the mesh.
  bool splits = false;
  /// How requests for a name are spread; by the name.
  absl::flat_hash_map<std::string, std::shared_ptr<const TrafficView>> traffic;

  /// REQUIRES: `node` is one of the revision's. `arms`: where splits count; null: the node has none.
  static std::shared_ptr<const RevisionView> Of(const Revision& revision, const Revision::Node& node,
                                                TrafficArms* arms = nullptr);

  /// `ref` with the version that a bare name or a label means in this revision: where requests for the name are spread,
  /// the one that most of them get. Refs with a digest, and those with a
  /// version, stay as they are. NOT_FOUND, INVALID_ARGUMENT as Servables::Resolve() has them.
  absl::StatusOr<ServableRef> Narrow(const ServableRef& ref) const;
  /// How requests that ask for `ref` are spread; null: not at all, as where they ask for a version, a label or a
  /// digest.
  const TrafficView* TrafficOf(const ServableRef& ref) const;
};

/// The revisions that a node can answer from: the current one, with which requests are stamped where they enter the
/// mesh, those before it that still have requests, and the next one once it is prepared. Asked once by every request,
/// from any thread: each core has a copy, so that a lock is its own nearly always.
///
///   live.Add(view);  live.Flip(view->number);   …   if (live.OldestInUse() > old) live.Drop(old);
class LiveRevisions {
 public:
  /// `copies`: 0: as many as cores, at most 16. `arms`: where traffic splits count; null: nothing is split. Not owned,
  /// must outlive it.
  explicit LiveRevisions(int copies = 0, TrafficArms* arms = nullptr) : copies_(copies), arms_(arms) {}

  // For requests.
  /// The current revision's number, and what keeps it in use while the request has it. {0, null} before the first
  /// Flip().
  std::pair<uint64_t, std::shared_ptr<const void>> Stamp() const;
  /// Narrow() of revision `number`; 0: of the current one. NOT_FOUND where this node does not hold that revision
  /// (another replica may). Before the first Flip() `ref` as it is.
  absl::StatusOr<ServableRef> Narrow(const ServableRef& ref, uint64_t number) const;
  /// Narrow() of the request's revision; where requests for `ref` are spread, the version of the request's arm, which
  /// is noted in `context`.
  absl::StatusOr<ServableRef> Route(const ServableRef& ref, const RequestContext& context) const;
  /// Whether requests need a RequestContext::draw: some revision splits traffic.
  bool draws() const { return draws_.load(std::memory_order_relaxed); }

  // For who follows revisions.
  /// Requests stamped with it are answered from now on.
  void Add(std::shared_ptr<const RevisionView> view);
  /// Requests that enter are stamped with it from now on. REQUIRES: it was added.
  void Flip(uint64_t number);
  void Drop(uint64_t number);
  /// The lowest number that a request which entered here still has; without any, the current one.
  uint64_t OldestInUse();
  uint64_t current() const { return Stamp().first; }
  TrafficArms* arms() const { return arms_; }

 private:
  using Views = std::vector<std::shared_ptr<const RevisionView>>;
  struct Copy {
    Mutex mutex;
    Views views ABSL_GUARDED_BY(mutex);
    /// Each core's own, so that cores don't share its count.
    std::shared_ptr<const uint64_t> stamp ABSL_GUARDED_BY(mutex);
    /// Of the revision that becomes current; null but during Flip().
    std::shared_ptr<const uint64_t> next ABSL_GUARDED_BY(mutex);
  };

  void SetViews(const Views& views);

  const PerCore<Copy> copies_;
  TrafficArms* const arms_;
  std::atomic<bool> draws_{false};
  /// For all cores at once, so that no request gets an older one than a request before it got elsewhere. Written at
  /// flips alone.
  std::atomic<uint64_t> current_{0};
  /// Of who follows.
  Mutex mutex_;
  Views views_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<uint64_t, std::weak_ptr<const uint64_t>>> stamps_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
