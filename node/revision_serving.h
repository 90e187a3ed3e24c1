#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node/revision_follower.h"
#include "node/servables/servables.h"
#include "router/revision.h"
#include "router/static_resolver.h"

namespace portico {

/// What a node has to serve so that it can answer from each of some revisions: all versions that they pin, side by
/// side. Paths and labels are those of the last one that has the model; batching and the like of the version's folder.
/// A model with `resource_preserving` is what `current` says alone. `live`: rising, at least one.
std::vector<ModelConfig> ModelsOf(const std::vector<const Revision*>& live, const Revision& current,
                                  const std::string& node, int replica);

/// Target → endpoints of the nodes that serve it in `current`; where none does, in the last of `live` in which one
/// does. `self`: how the node reaches itself.
StaticResolver::Table PeersOf(const std::vector<const Revision*>& live, const Revision& current,
                              const std::string& node, int replica, const std::string& self);

/// Has a node's servables and its router hold what revisions say. For one thread, but for what Servables call back.
class RevisionServing final : public RevisionUser {
 public:
  struct Options {
    std::string node;
    int replica = 0;
    /// As in PeersOf().
    std::string self;
  };
  /// `servables` and `resolver` are not owned and must outlive it.
  RevisionServing(Options options, Servables& servables, StaticResolver& resolver)
      : options_(std::move(options)), servables_(servables), resolver_(resolver) {}

  absl::Status Hold(const std::vector<const Revision*>& live, const Revision& current) override;
  /// Prepared is: every version that it pins is available (but for models that load on demand, or that cannot be beside
  /// themselves), and their portals reach their targets.
  std::optional<absl::Status> Prepared(const Revision& revision) override;

 private:
  const Options options_;
  Servables& servables_;
  StaticResolver& resolver_;
  /// Which of our configurations was applied last, and which has settled last.
  uint64_t applied_ = 0;
  const std::shared_ptr<std::atomic<uint64_t>> settled_ = std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace portico
