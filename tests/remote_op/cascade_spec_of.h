#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// A `Cascade` in front of "full", read from a node: for each of `answers` an output of that name, and an input
/// "cheap_NAME"; with `row_status` among `attrs` one output more.
struct CascadeAnswer {
  std::string name;
  DType dtype;
  std::string shape;
};
inline PortalSpec CascadeSpecOf(const std::vector<CascadeAnswer>& answers, const std::vector<std::string>& inputs,
                                Attrs attrs = {}, bool with_digest = false) {
  std::vector<std::string> node_inputs = {"escalate"}, node_outputs, names, shapes;
  std::vector<DType> dtypes;
  for (const CascadeAnswer& answer : answers) {
    node_inputs.push_back("cheap_" + answer.name);
    node_outputs.push_back("merged_" + answer.name);
    names.push_back(answer.name);
    dtypes.push_back(answer.dtype);
    shapes.push_back(answer.shape);
  }
  for (const std::string& input : inputs) node_inputs.push_back("own_" + input);
  for (const onnx::AttributeProto& attr : attrs) {
    if (attr.name() == "row_status" && attr.i() == 1) node_outputs.push_back("status");
  }
  attrs.push_back(Strings("input_names", inputs));
  attrs.push_back(Strings("output_names", names));
  if (with_digest) attrs.push_back(String("digest", Sha256("full").Hex()));
  ModelBuilder model;
  model.Portal("Cascade", "full", node_inputs, node_outputs, dtypes, shapes, std::move(attrs));
  model.graph().mutable_node(0)->set_name("cascade");
  auto spec = ReadPortalSpec(model.graph().node(0));
  PORTICO_CHECK(spec.ok());
  return *std::move(spec);
}

}  // namespace portico
