#include "models/graph/retarget_portals.h"

#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/portal_spec.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

onnx::AttributeProto* FindOrAdd(onnx::NodeProto* node, const char* name, onnx::AttributeProto::AttributeType type) {
  for (onnx::AttributeProto& attribute : *node->mutable_attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

bool Calls(const PortalTarget& target, const PortalTarget& wanted) {
  return target.digest.empty() ? target.name == wanted.name : target.digest == wanted.digest;
}

/// Whether the node called `from`; then it calls `to`. `by_name` is set where it had no digest.
absl::StatusOr<bool> Retarget(const PortalTarget& from, const PortalTarget& to, onnx::NodeProto* node,
                              std::set<std::string>* called, bool* by_name) {
  ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(*node));
  if (spec.op_type == "EmbeddingBag") return false;  // It calls a group of tables.
  const std::vector<PortalTarget> targets = PortalTargets(spec);
  bool moved = false;
  for (size_t i = 0; i < targets.size(); ++i) {
    called->insert(targets[i].digest.empty()
                       ? absl::StrCat("'", targets[i].name, "'")
                       : absl::StrCat("'", targets[i].name, "' digest ", targets[i].digest.Short()));
    if (!Calls(targets[i], from)) continue;
    moved = true;
    *by_name |= targets[i].digest.empty();
    if (!spec.experts.has_value()) {
      FindOrAdd(node, "target", onnx::AttributeProto::STRING)->set_s(to.name);
      FindOrAdd(node, "digest", onnx::AttributeProto::STRING)->set_s(to.digest.Hex());
      continue;
    }
    onnx::AttributeProto* const digests = FindOrAdd(node, "digests", onnx::AttributeProto::STRINGS);
    while (digests->strings_size() < static_cast<int>(targets.size())) digests->add_strings("");
    digests->set_strings(static_cast<int>(i), to.digest.Hex());
    FindOrAdd(node, "targets", onnx::AttributeProto::STRINGS)->set_strings(static_cast<int>(i), to.name);
  }
  if (moved) RETURN_IF_ERROR(ReadPortalSpec(*node).status());
  return moved;
}

}  // namespace

absl::StatusOr<RetargetedModel> RetargetPortals(const Model& model, const PortalTarget& from, const PortalTarget& to) {
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  std::vector<std::string> portals;
  std::set<std::string> called;
  bool by_name = false;
  for (onnx::NodeProto& node : *proto->mutable_graph()->mutable_node()) {
    if (node.domain() != kPorticoDomain || node.op_type() == "TableLookup") continue;
    ASSIGN_OR_RETURN(const bool moved, Retarget(from, to, &node, &called, &by_name));
    if (moved) portals.push_back(node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name());
  }
  if (portals.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "got no portal that calls '", from.name, "' digest ", from.digest.Short(), "; ",
        called.empty() ? "it has no portals" : absl::StrCat("its portals call ", absl::StrJoin(called, ", "))));
  }
  ASSIGN_OR_RETURN(Model moved, Model::WithWeightsOf(model, std::move(proto)));
  return RetargetedModel{std::move(moved), std::move(portals), by_name};
}

}  // namespace portico
