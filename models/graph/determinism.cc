#include "models/graph/determinism.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "models/graph/node_reads.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

std::string Key(absl::string_view domain, absl::string_view name) { return absl::StrCat(domain, "::", name); }
std::string Key(const onnx::FunctionProto& function) { return Key(function.domain(), function.name()); }

}  // namespace

Determinism::Determinism(const onnx::ModelProto& model) {
  for (const onnx::FunctionProto& function : model.functions()) functions_.insert(Key(function));
  // A function is random where its body is; until nothing changes, as functions call functions.
  const auto is_random = [this](const onnx::NodeProto& node) { return !IsDeterministic(node); };
  for (bool changed = true; changed;) {
    changed = false;
    for (const onnx::FunctionProto& function : model.functions()) {
      if (std::any_of(function.node().begin(), function.node().end(), is_random)) {
        changed |= random_.insert(Key(function)).second;
      }
    }
  }
}

bool Determinism::IsDeterministic(const onnx::NodeProto& node) const {
  const std::string key = Key(node.domain(), node.op_type());
  if (functions_.contains(key)) return !random_.contains(key);
  if (!node.domain().empty() && node.domain() != "ai.onnx" && node.domain() != "ai.onnx.ml") return false;
  const absl::string_view op = node.op_type();
  if (op == "RandomNormal" || op == "RandomUniform" || op == "RandomNormalLike" || op == "RandomUniformLike" ||
      op == "Multinomial" || op == "Bernoulli" || (op == "Dropout" && node.input_size() > 2)) {
    return false;
  }
  bool deterministic = true;
  ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto& body) {
    deterministic =
        deterministic && std::all_of(body.node().begin(), body.node().end(),
                                     [this](const onnx::NodeProto& inner) { return IsDeterministic(inner); });
  });
  return deterministic;
}

}  // namespace portico
