#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "remote_op/portal.h"
#include "remote_op/reply_check.h"

namespace portico {
namespace {

/// `Remote`: any inputs, one call of the target for the whole request, its outputs as they come.
class Remote final : public Portal {
 public:
  Remote(const PortalSpec& spec, Router& router)
      : router_(router), target_(MakeTarget(spec)), check_(spec.target, spec.outputs, spec.digest.empty()) {}

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    router_.Call(target_, context, inputs, [this, done = std::move(done)](absl::StatusOr<PeerMessage> reply) mutable {
      if (reply.ok()) {
        done(check_.Take(*std::move(reply)));
      } else {
        done(std::move(reply).status());
      }
    });
  }

  absl::Status Health() const override { return router_.Health(target_); }
  std::string Target() const override { return absl::StrCat(target_.servable.ToString(), ":", target_.signature); }

 private:
  static RouteTarget MakeTarget(const PortalSpec& spec) {
    RouteTarget target;
    target.servable.name = spec.target;
    target.servable.digest = spec.digest;
    target.signature = spec.signature;
    if (spec.digest.empty()) target.input_names = spec.input_names;
    return target;
  }

  Router& router_;
  const RouteTarget target_;
  const ReplyCheck check_;
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
  return std::make_unique<Remote>(spec, router);
}

}  // namespace portico
