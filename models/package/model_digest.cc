#include <vector>

#include "base/status_macros.h"
#include "models/package/model.h"
#include "models/package/tensor_digests.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

absl::StatusOr<Digest> DigestOfOutputs(const Model& model) {
  const onnx::GraphProto& graph = model.proto().graph();
  ASSIGN_OR_RETURN(TensorDigests digests, TensorDigests::Create(model, TensorDigests::Inputs::kByPosition));
  std::vector<uint64_t> dtypes;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (model.initializers().contains(input.name())) continue;
    dtypes.push_back(static_cast<uint64_t>(input.type().tensor_type().elem_type()));
  }
  Hasher hasher;
  hasher.Add("model").Add(dtypes.size());
  for (const uint64_t dtype : dtypes) hasher.Add(dtype);
  hasher.Add(static_cast<uint64_t>(graph.output_size()));
  for (const onnx::ValueInfoProto& output : graph.output()) {
    ASSIGN_OR_RETURN(const Digest digest, digests.Of(output.name()));
    hasher.Add(digest);
  }
  return hasher.Finish();
}

}  // namespace

absl::StatusOr<Digest> ModelDigest(const Model& model) {
  absl::StatusOr<Digest> digest = DigestOfOutputs(model);
  if (!digest.ok()) return WithContext("graph", digest.status());
  return digest;
}

}  // namespace portico
