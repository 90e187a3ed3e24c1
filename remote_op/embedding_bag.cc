#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "remote_op/embedding_call.h"
#include "remote_op/portal.h"

namespace portico {
namespace {

/// `EmbeddingBag`: the request's ids go to the shards of a group of tables, one call for each shard, and what they
/// answer is added up.
class EmbeddingBag final : public Portal {
 public:
  EmbeddingBag(const PortalSpec& spec, Router& router)
      : router_(router), place_(MakeRef<EmbeddingPlace>(spec, router)) {}
  /// First, once.
  absl::Status Begin() {
    RETURN_IF_ERROR(place_->fallback.Begin());
    // What is loaded for the next revision goes by the next revision's policy.
    const bool wants_rows = WantsKeptRows(router_.OnErrorOf(group())) && WantsKeptRows(router_.NextOnErrorOf(group()));
    if (!wants_rows || router_.tables().CacheOf(group()) != nullptr) return absl::OkStatus();
    const absl::Status fault = router_.tables().CacheFaultOf(group());
    if (fault.ok()) return NoneAreKept();
    return absl::Status(fault.code(),
                        absl::StrCat(place_->context, ": on_error: got last_known where no rows are kept: ",
                                     "their cache could not be made: ", fault.message()));
  }

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    place_->metrics.Came();
    LiveTables::Found found = router_.tables().Find(group(), context->revision);
    if (found.group == nullptr) {
      // No other replica of this model would know of them either: nobody is to try again.
      const absl::Status nobody = NobodyServes(context->revision);
      return done(absl::FailedPreconditionError(absl::StrCat(place_->context, ": ", nobody.message())));
    }
    const ShardRoutes& routes = place_->routes.For(found.group->shards);
    MakeRef<EmbeddingCall>(place_, context, std::move(done))->Start(routes, std::move(found), inputs);
  }

  /// Of the shards of all revisions that requests may come by: what is prepared is connected to before it is current.
  absl::Status Health() const override {
    const std::vector<uint32_t> counts = router_.tables().CountsOf(group());
    if (counts.empty()) return NobodyServes(0);
    constexpr int kShown = 3;
    std::string reasons;
    int away = 0;
    for (const uint32_t shards : counts) {
      const ShardRoutes& routes = place_->routes.For(shards);
      for (uint32_t shard = 0; shard < shards; ++shard) {
        const absl::Status health = router_.Health(routes.target(shard));
        if (health.ok() || ++away > kShown) continue;
        absl::StrAppend(&reasons, away > 1 ? "; " : "", health.message());
      }
    }
    if (away == 0) return absl::OkStatus();
    if (away > kShown) absl::StrAppend(&reasons, "; and ", away - kShown, " more");
    return absl::UnavailableError(absl::StrCat(away, " shards cannot be reached: ", reasons));
  }

  absl::Status AcceptsPolicies(const Revision& revision) const override {
    const OnErrorPolicy& policy = revision.PolicyFor(group()).on_error;
    const Revision::Table* const table = revision.FindTable(group());
    if (WantsKeptRows(policy) && (table == nullptr || table->cache_bytes == 0)) return NoneAreKept();
    return place_->fallback.Check(policy);
  }
  std::string Target() const override { return absl::StrCat(group(), ":", LookupCall::kSignature); }

 private:
  const std::string& group() const { return place_->routes.group(); }

  static bool WantsKeptRows(const OnErrorPolicy& policy) { return policy.kind == OnErrorPolicy::Kind::kLastKnown; }
  absl::Status NoneAreKept() const {
    return absl::InvalidArgumentError(
        absl::StrCat(place_->context, ": on_error: got last_known where no rows are kept, want a cache of them; give '",
                     group(), "' a cache_mib in 'tables' of the mesh file, or let it fail"));
  }

  absl::Status NobodyServes(uint64_t revision) const {
    const std::vector<std::string> known = router_.tables().Names();
    return absl::UnavailableError(absl::StrCat(
        "got tables '", group(), "', which nobody serves", revision == 0 ? "" : absl::StrCat(" in revision ", revision),
        ", want one of 'tables' of the mesh file (", known.empty() ? "there are none" : absl::StrJoin(known, ", "),
        "); add it there and to the 'serve' of nodes"));
  }

  Router& router_;
  const Ref<EmbeddingPlace> place_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Portal>> NewEmbeddingBag(const PortalSpec& spec, Router& router) {
  if (!spec.embedding.has_value() || spec.embedding->lookups.empty() || spec.target.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "portal '", spec.node_name, "': got no attributes of an EmbeddingBag; read it with ReadPortalSpec()"));
  }
  auto bag = std::make_unique<EmbeddingBag>(spec, router);
  RETURN_IF_ERROR(bag->Begin());
  return bag;
}

}  // namespace portico
