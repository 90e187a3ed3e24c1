#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/digest.h"
#include "base/tensor.h"
#include "models/package/signature.h"
#include "models/package/weight_store.h"

namespace onnx {
class ModelProto;
}

namespace portico {

/// A weight of a model: a graph initializer, by name.
struct Initializer {
  Tensor tensor;
  Digest digest;
};

/// A parsed ONNX model whose initializers have been moved out of the protobuf into a WeightStore. Immutable once
/// loaded; const methods are thread-safe.
///
/// In proto(), graph initializers keep name, dtype and dims but no data (data_location DEFAULT, raw_data empty); the
/// data is in initializers(). Initializers inside bodies of If, Loop and Scan and Constant nodes keep theirs.
class Model {
 public:
  /// Reads `path` (at most 2 GiB; external data may be larger and is mapped, not read). INVALID_ARGUMENT for what is
  /// not ONNX, is truncated, or refers to external data outside the folder of `path` (absolute, "..", symbolic links
  /// that leave it), past the end of a file or of another length than dtype and dims say; NOT_FOUND where a file is
  /// missing. `store` is used during the call only.
  static absl::StatusOr<Model> Load(const std::string& path, WeightStore& store);
  /// The same of a model in memory. External data is looked for in `folder`; empty: none is allowed.
  static absl::StatusOr<Model> FromProto(std::unique_ptr<onnx::ModelProto> proto, const std::string& folder,
                                         WeightStore& store);
  /// A model over weights of `source`: each graph initializer of `proto` is the one of that name there, shared, neither
  /// copied nor read. INVALID_ARGUMENT when there is none of that name, dtype and dims.
  static absl::StatusOr<Model> WithWeightsOf(const Model& source, std::unique_ptr<onnx::ModelProto> proto);
  /// A model over these weights, by name; each graph initializer of `proto` is among them, with its dtype and dims, or
  /// it is INVALID_ARGUMENT.
  static absl::StatusOr<Model> WithWeights(absl::flat_hash_map<std::string, Initializer> weights,
                                           std::unique_ptr<onnx::ModelProto> proto);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const onnx::ModelProto& proto() const { return *proto_; }
  const absl::flat_hash_map<std::string, Initializer>& initializers() const { return initializers_; }
  /// Sum over distinct initializers.
  uint64_t weight_bytes() const;

  /// Writes `folder`/model.onnx and, where the initializers together exceed 1 MiB, `folder`/weights.bin beside it as
  /// external data (64-byte aligned, one copy per digest; strings and what takes at most 1 KiB stay in the model). Each
  /// file is written whole or not at all.
  absl::Status Save(const std::string& folder) const;

 private:
  Model();
  std::unique_ptr<onnx::ModelProto> proto_;
  absl::flat_hash_map<std::string, Initializer> initializers_;
};

/// The graph's inputs and outputs as signature `serving_default`, axis kinds all kShared (InferAxisKinds narrows them).
/// INVALID_ARGUMENT when one is not a dense tensor.
absl::StatusOr<Signature> GraphSignature(const Model& model);

/// Canonical hash of structure and weights: ops, attributes (bodies and local functions included), edges, versions of
/// the opsets used, dtypes of inputs, and weight digests, in the order of inputs and outputs. Names of tensors, nodes
/// and functions, doc strings, node order and unused nodes do not count, nor do declared shapes. Constant nodes and
/// equal initializers count alike. INVALID_ARGUMENT for a cycle or a tensor that nobody computes. Takes linear time.
absl::StatusOr<Digest> ModelDigest(const Model& model);

}  // namespace portico
