#include "models/graph/node_reads.h"

#include <string>

#include "absl/container/flat_hash_set.h"
#include "onnx/onnx_pb.h"

namespace portico {

// Recursion over bodies is as deep as the bodies nest, which protobuf's parser bounds.

std::vector<absl::string_view> CapturedNames(const onnx::GraphProto& body) {
  absl::flat_hash_set<absl::string_view> defined;
  for (const onnx::ValueInfoProto& input : body.input()) defined.insert(input.name());
  for (const onnx::TensorProto& weight : body.initializer()) defined.insert(weight.name());
  for (const onnx::SparseTensorProto& weight : body.sparse_initializer()) defined.insert(weight.values().name());
  for (const onnx::NodeProto& node : body.node()) defined.insert(node.output().begin(), node.output().end());

  std::vector<absl::string_view> captured;
  const auto use = [&](absl::string_view name) {
    if (!name.empty() && defined.insert(name).second) captured.push_back(name);
  };
  for (const onnx::NodeProto& node : body.node()) {
    for (const std::string& input : node.input()) use(input);
    ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto& inner) {
      for (const absl::string_view name : CapturedNames(inner)) use(name);
    });
  }
  for (const onnx::ValueInfoProto& output : body.output()) use(output.name());
  return captured;
}

std::vector<absl::string_view> TensorsRead(const onnx::NodeProto& node) {
  std::vector<absl::string_view> distinct;
  absl::flat_hash_set<absl::string_view> seen;
  const auto add = [&](absl::string_view name) {
    if (!name.empty() && seen.insert(name).second) distinct.push_back(name);
  };
  for (const std::string& input : node.input()) add(input);
  ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto& body) {
    for (const absl::string_view name : CapturedNames(body)) add(name);
  });
  return distinct;
}

}  // namespace portico
