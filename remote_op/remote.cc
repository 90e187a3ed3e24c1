#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "remote_op/live_fallback.h"
#include "remote_op/portal.h"
#include "remote_op/reply_check.h"
#include "remote_op/route_target.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

/// `Remote`: any inputs, one call of the target for the whole request, its outputs as they come; where the call fails,
/// those of the policy's fallback.
class Remote final : public Portal {
 public:
  Remote(const PortalSpec& spec, Router& router)
      : router_(router),
        target_(RouteTargetOf(spec)),
        check_(spec.target, spec.outputs, spec.digest.empty()),
        fallback_(spec, router) {}
  /// First, once.
  absl::Status Begin() { return fallback_.Begin(); }

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    if (Fallback* const fallback = fallback_.Get(); fallback != nullptr) {
      const Fallback::Question question = fallback->Ask(inputs);
      router_.Call(
          target_, context, inputs,
          [this, fallback, context, question, done = std::move(done)](absl::StatusOr<PeerMessage> reply) mutable {
            done(OutputsOrFallback(*fallback, *context, question, std::move(reply)));
          });
      return;
    }
    router_.Call(target_, context, inputs,
                 [this, context, done = std::move(done)](absl::StatusOr<PeerMessage> reply) mutable {
                   done(Outputs(*context, std::move(reply)));
                 });
  }

  absl::Status Health() const override { return router_.Health(target_); }
  absl::Status AcceptsPolicies(const Revision& revision) const override {
    return fallback_.Check(revision.PolicyFor(target_.servable.name).on_error);
  }
  std::string Target() const override { return absl::StrCat(target_.servable.ToString(), ":", target_.signature); }

 private:
  /// What the reply says of single rows is passed on: all rows went, in their order.
  absl::StatusOr<std::vector<Tensor>> Outputs(const RequestContext& context, absl::StatusOr<PeerMessage> reply) const {
    RETURN_IF_ERROR(reply.status());
    if (reply->header.row_status.empty()) return check_.Take(*std::move(reply));
    absl::StatusOr<std::vector<RowNote>> notes = RowNotesOf(reply->header);
    if (!notes.ok()) return FromInnerHop(absl::StrCat("portal to '", target_.servable.name, "'"), notes.status());
    ASSIGN_OR_RETURN(std::vector<Tensor> outputs, check_.Take(*std::move(reply)));
    for (RowNote& note : *notes) context.row_notes.Add(std::move(note));
    return outputs;
  }

  absl::StatusOr<std::vector<Tensor>> OutputsOrFallback(Fallback& fallback, const RequestContext& context,
                                                        const Fallback::Question& question,
                                                        absl::StatusOr<PeerMessage> reply) {
    // What stood in for an answer further down is not the target's own.
    const bool own = reply.ok() && reply->header.notes.empty() && reply->header.row_status.empty();
    absl::StatusOr<std::vector<Tensor>> outputs = Outputs(context, std::move(reply));
    if (outputs.ok()) {
      if (own) fallback.Remember(question, *outputs);
      return outputs;
    }
    if (!MayFallBack(outputs.status(), context, router_.clock())) return outputs;
    std::optional<std::vector<Tensor>> answer = fallback.Answer(question);
    if (!answer.has_value()) return outputs;
    context.fallbacks.Add(target_.servable.name, fallback.kind());
    router_.CountFallback(target_, fallback.kind());
    return *std::move(answer);
  }

  Router& router_;
  const RouteTarget target_;
  const ReplyCheck check_;
  LiveFallback fallback_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Portal>> NewRemote(const PortalSpec& spec, Router& router) {
  RETURN_IF_ERROR(CheckPortalSpec(spec));
  auto remote = std::make_unique<Remote>(spec, router);
  RETURN_IF_ERROR(remote->Begin());
  return remote;
}

}  // namespace portico
