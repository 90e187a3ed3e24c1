#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "models/package/model.h"
#include "models/package/signature.h"

namespace portico {

/// Inputs of one run of a model.
struct SampleInputs {
  /// "7 generated rows", "sample 'test_data_set_0'": for messages.
  std::string label;
  std::vector<Tensor> tensors;
};

/// For each input of the graph of `model` that says which rows, columns, ... to pick (directly or through Cast, Reshape
/// and such): the number of them there are, the smallest where it picks from several.
absl::flat_hash_map<std::string, int64_t> IndexLimits(const Model& model);

/// One sample for each of `rows`, which is the extent of every symbolic dim 0 of `inputs` (as ONNX Runtime knows them).
/// Equal symbols get equal extents, index inputs stay within IndexLimits(). Deterministic by `seed`.
std::vector<SampleInputs> MakeSamples(const Model& model, const std::vector<TensorSpec>& inputs,
                                      const std::vector<int64_t>& rows, uint64_t seed);

/// Recorded inputs: `folder`/<any>/input_0.pb, input_1.pb, ..., each an ONNX TensorProto, one sub-folder per sample; or
/// one sample right in `folder`. INVALID_ARGUMENT when a file is no TensorProto or there is none at all.
absl::StatusOr<std::vector<SampleInputs>> ReadSamples(const std::string& folder);

}  // namespace portico
