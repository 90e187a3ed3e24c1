#include "remote_op/route_target.h"

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

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

absl::Status CheckPortalSpec(const PortalSpec& spec) {
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
    RETURN_IF_ERROR(CheckDistinct(spec.node_name, "input", spec.input_names));
    RETURN_IF_ERROR(CheckDistinct(spec.node_name, "output", outputs));
  }
  return absl::OkStatus();
}

RouteTarget RouteTargetOf(const PortalSpec& spec) {
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

}  // namespace portico
