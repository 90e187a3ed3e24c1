#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/tensor.h"

namespace onnx {
class TensorProto;
}

namespace portico {

/// The files beside a model that hold weights (ONNX's external data), mapped as they are asked for. Lives while a model
/// loads; tensors keep their mapping alive. For one thread.
class ExternalData {
 public:
  /// `folder`: where the model lies, and what no file may leave; empty: no file is allowed.
  explicit ExternalData(std::string folder) : folder_(std::move(folder)) {}

  /// The tensor whose data `proto` (data_location EXTERNAL) declares: a view of the mapped file, or a copy where the
  /// file has it at an address that does not suit the dtype.
  absl::StatusOr<Tensor> Read(const onnx::TensorProto& proto);

 private:
  absl::StatusOr<Ref<MappedFile>> Open(const std::string& location);

  const std::string folder_;
  absl::flat_hash_map<std::string, Ref<MappedFile>> files_;
};

}  // namespace portico
