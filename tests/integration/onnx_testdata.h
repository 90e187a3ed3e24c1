#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace onnx {
class ModelProto;
class TensorProto;
}  // namespace onnx

namespace portico {

/// One model of the onnx project's own test data (Debian package libonnx-testdata), with an example of inputs and
/// outputs.
struct OnnxCase {
  /// "node/test_abs".
  std::string name;
  std::string model_path;
  std::shared_ptr<const onnx::ModelProto> model;
  /// Why it is no case for a server (inputs or outputs that are not tensors, a random op); empty: it is one, and what
  /// follows is filled in.
  std::string skip;
  /// In the order of the graph's inputs and outputs, with their names.
  std::vector<NamedTensor> inputs;
  std::vector<NamedTensor> outputs;

  std::vector<Tensor> InputTensors() const;
};

/// Where the package puts its data; PORTICO_ONNX_TESTDATA says another place.
std::string OnnxTestdataFolder();

/// All cases below the folder's `simple`, `pytorch-converted`, `pytorch-operator` and `node`, sorted by name.
/// NOT_FOUND when there are none; other errors when a file there cannot be read.
absl::StatusOr<std::vector<OnnxCase>> ReadOnnxCases(const std::string& folder);

}  // namespace portico
