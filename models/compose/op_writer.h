#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace onnx {
class GraphProto;
class NodeProto;
}  // namespace onnx

namespace portico {

/// An attribute of an op.
struct OpAttribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, std::vector<std::string>> value;
};

/// Adds ordinary ops to a graph in the making, in the form that the graph's opset has for them, each under a name of
/// its own. For one thread; borrows the graph.
class OpWriter {
 public:
  /// Names begin with `prefix`. `opset`: of the standard ops, kMinOpset at least; `ml_opset`: of `ai.onnx.ml`.
  OpWriter(onnx::GraphProto& graph, std::string prefix, int64_t opset, int64_t ml_opset)
      : graph_(graph), prefix_(std::move(prefix)), opset_(opset), ml_opset_(ml_opset) {}

  /// Earlier ones take as attributes what is inputs from here on.
  static constexpr int64_t kMinOpset = 13;
  /// From here on Equal compares text.
  static constexpr int64_t kTextEqualOpset = 19;

  int64_t opset() const { return opset_; }
  int64_t ml_opset() const { return ml_opset_; }
  /// Whether an op of `ai.onnx.ml` was added.
  bool used_ml() const { return used_ml_; }

  /// Adds a node of one output, whose name it returns. `output` empty: a name is made.
  std::string Add(absl::string_view op_type, const std::vector<std::string>& inputs,
                  const std::vector<OpAttribute>& attributes = {}, std::string output = "",
                  absl::string_view domain = "");
  /// The same of a node with several outputs.
  void AddNode(absl::string_view op_type, const std::vector<std::string>& inputs,
               const std::vector<std::string>& outputs, const std::vector<OpAttribute>& attributes = {},
               absl::string_view domain = "");
  /// A name for a tensor that no other has.
  std::string NewName();
  /// A Constant node.
  std::string Constant(const Tensor& value);
  std::string Cast(const std::string& tensor, DType to);
  /// [N] to [N,1] and back.
  std::string Unsqueeze(const std::string& tensor, int64_t axis);
  std::string Squeeze(const std::string& tensor, int64_t axis);
  /// ReduceMax, ReduceSum, ...: over one axis, whose extent is 1 afterwards.
  std::string Reduce(absl::string_view op_type, const std::string& tensor, int64_t axis);
  /// bool: whether elements of text are `word`.
  std::string IsWord(const std::string& tensor, const std::string& word);

 private:
  std::string Axes(int64_t axis);

  onnx::GraphProto& graph_;
  const std::string prefix_;
  const int64_t opset_;
  const int64_t ml_opset_;
  bool used_ml_ = false;
  int names_ = 0;
};

/// Puts `attribute` into `node`.
void SetAttribute(const OpAttribute& attribute, onnx::NodeProto& node);

}  // namespace portico
