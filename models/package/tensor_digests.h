#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "models/package/model.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// Canonical digests of the tensors of a model's graph: of how each is computed, bottom up, from ops, attributes
/// (bodies and local functions included), versions of the opsets used and contents of weights. Names of tensors, nodes
/// and functions, doc strings, declared shapes, the order of nodes and unused ones do not count; a Constant node counts
/// as a weight. Each tensor is hashed once, when it is first needed. Borrows the model. For one thread.
class TensorDigests {
 public:
  /// What tells one input of the graph from another.
  enum class Inputs {
    /// Its place among the inputs: two models that agree answer alike.
    kByPosition,
    /// Its dtype alone: tensors of two models that agree are computed alike from *some* inputs. Which one stands for
    /// which is for the caller to find out. The shapes that portals declare do not count either: what they call says
    /// what they compute, and extents are called otherwise in every model.
    kByDtype,
  };

  /// INVALID_ARGUMENT when two nodes compute one tensor. `model` must outlive the result.
  static absl::StatusOr<TensorDigests> Create(const Model& model, Inputs inputs);
  TensorDigests(TensorDigests&&) noexcept;
  TensorDigests& operator=(TensorDigests&&) noexcept;
  ~TensorDigests();

  /// INVALID_ARGUMENT for a cycle, or where nobody computes `tensor` or what it needs. Takes time linear in what has
  /// not been hashed yet.
  absl::StatusOr<Digest> Of(absl::string_view tensor);

  /// The digest of what `node` (one of the graph's) does: tensors it reads that `is_constant` count by how they are
  /// computed, of the others only which are the same (those captured by bodies after the inputs).
  absl::StatusOr<Digest> OfNodeAlone(const onnx::NodeProto& node,
                                     const std::function<bool(absl::string_view)>& is_constant);

 private:
  class Impl;
  explicit TensorDigests(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace portico
