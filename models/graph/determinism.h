#pragma once

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace onnx {
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace portico {

/// Tells whether nodes of a model give the same result each time: a copy of one that does is the same tensor. Ops of
/// domains that are not ONNX's, portals too, are not known to. Immutable.
class Determinism {
 public:
  explicit Determinism(const onnx::ModelProto& model);

  bool IsDeterministic(const onnx::NodeProto& node) const;

 private:
  /// The model's local functions, and those of them that are random.
  absl::flat_hash_set<std::string> functions_;
  absl::flat_hash_set<std::string> random_;
};

}  // namespace portico
