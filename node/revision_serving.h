#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node/revision_follower.h"
#include "node/servables/servables.h"
#include "router/revision.h"
#include "router/router.h"
#include "router/static_resolver.h"

namespace portico {

/// What a node has to serve so that it can answer from each of some revisions: all versions that they pin, side by
/// side. Paths and labels are those of the last one that has the model; batching and the like of the version's folder.
/// A model with `resource_preserving` is what `current` says alone. `live`: rising, at least one.
std::vector<ModelConfig> ModelsOf(const std::vector<const Revision*>& live, const Revision& current,
                                  const std::string& node, int replica);

/// Target → endpoints of the nodes that serve it in any of `live`, and in which: a request goes to nodes of its own
/// revision, and those of the next one are connected to before it is current. `self`: how the node reaches itself.
StaticResolver::Table PeersOf(const std::vector<const Revision*>& live, const std::string& node, int replica,
                              const std::string& self);

/// Has a node's servables and its router hold what revisions say. For one thread, but for what Servables call back.
class RevisionServing final : public RevisionUser {
 public:
  struct Options {
    std::string node;
    int replica = 0;
    /// As in PeersOf().
    std::string self;
    /// Told what is current each time that it may be another one; may be null.
    std::function<void(const Revision& current)> on_current;
  };
  /// The others are not owned and must outlive it.
  RevisionServing(Options options, Servables& servables, StaticResolver& resolver, Router& router)
      : options_(std::move(options)), servables_(servables), resolver_(resolver), router_(router) {}

  /// Calls of portals go by the policies of `current` from now on.
  absl::Status Hold(const std::vector<const Revision*>& live, const Revision& current) override;
  /// Prepared is: every version that it pins is available (but for models that load on demand, or that cannot be beside
  /// themselves), and their portals reach nodes of that revision; targets that were away before do not count.
  std::optional<absl::Status> Prepared(const Revision& revision) override;

 private:
  /// Targets of portals that cannot be reached now, as Servable::Degraded() names them.
  std::set<std::string> Away() const;
  /// Whether each target that portals of this node call is there in a node of `revision`.
  bool ReachesNodesOf(const Revision& revision) const;

  const Options options_;
  Servables& servables_;
  StaticResolver& resolver_;
  Router& router_;
  /// Which of our configurations was applied last, and which has settled last.
  uint64_t applied_ = 0;
  /// The number of the last revision that was given to Hold(), and what was away when it first was.
  uint64_t newest_ = 0;
  std::set<std::string> away_before_;
  const std::shared_ptr<std::atomic<uint64_t>> settled_ = std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace portico
