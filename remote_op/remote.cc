#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "remote_op/live_fallback.h"
#include "remote_op/portal.h"
#include "remote_op/reply_check.h"

namespace portico {
namespace {

/// `Remote`: any inputs, one call of the target for the whole request, its outputs as they come; where the call fails,
/// those of the policy's fallback.
class Remote final : public Portal {
 public:
  Remote(const PortalSpec& spec, Router& router)
      : router_(router),
        target_(MakeTarget(spec)),
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
    router_.Call(target_, context, inputs, [this, done = std::move(done)](absl::StatusOr<PeerMessage> reply) mutable {
      if (reply.ok()) {
        done(check_.Take(*std::move(reply)));
      } else {
        done(std::move(reply).status());
      }
    });
  }

  absl::Status Health() const override { return router_.Health(target_); }
  absl::Status AcceptsPolicies(const Revision& revision) const override {
    return fallback_.Check(revision.PolicyFor(target_.servable.name).on_error);
  }
  std::string Target() const override { return absl::StrCat(target_.servable.ToString(), ":", target_.signature); }

 private:
  absl::StatusOr<std::vector<Tensor>> OutputsOrFallback(Fallback& fallback, const RequestContext& context,
                                                        const Fallback::Question& question,
                                                        absl::StatusOr<PeerMessage> reply) {
    // What stood in for an answer further down is not the target's own.
    const bool own = reply.ok() && reply->header.notes.empty();
    absl::StatusOr<std::vector<Tensor>> outputs =
        reply.ok() ? check_.Take(*std::move(reply)) : absl::StatusOr<std::vector<Tensor>>(reply.status());
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

  static RouteTarget MakeTarget(const PortalSpec& spec) {
    RouteTarget target;
    target.servable.name = spec.target;
    target.servable.digest = spec.digest;
    target.signature = spec.signature;
    if (!spec.digest.empty()) return target;
    target.input_names = spec.input_names;
    for (const TensorSpec& output : spec.outputs) {
      WantedOutput& wanted = target.outputs.emplace_back();
      wanted.name = output.name;
      wanted.dtype = output.dtype;
      for (const Dim& dim : output.dims) wanted.shape.push_back(dim.extent);
    }
    return target;
  }

  Router& router_;
  const RouteTarget target_;
  const ReplyCheck check_;
  LiveFallback fallback_;
};

absl::Status CheckDistinct(absl::string_view portal, absl::string_view what, const std::vector<std::string>& names) {
  absl::flat_hash_set<absl::string_view> seen;
  for (const std::string& name : names) {
    if (name.empty() || !seen.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat("portal '", portal, "': got ", what, " name '", name, "'",
                                                     name.empty() ? "" : " twice",
                                                     ", want distinct names; without a digest tensors go by name"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Portal>> NewRemote(const PortalSpec& spec, Router& router) {
  if (spec.target.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("portal '", spec.node_name, "': got no target, want a servable's name"));
  }
  if (spec.outputs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("portal '", spec.node_name, "': got no outputs, want at least one"));
  }
  if (spec.digest.empty()) {
    std::vector<std::string> outputs;
    for (const TensorSpec& output : spec.outputs) outputs.push_back(output.name);
    absl::Status status = CheckDistinct(spec.node_name, "input", spec.input_names);
    if (status.ok()) status = CheckDistinct(spec.node_name, "output", outputs);
    if (!status.ok()) return status;
  }
  auto remote = std::make_unique<Remote>(spec, router);
  RETURN_IF_ERROR(remote->Begin());
  return remote;
}

}  // namespace portico
