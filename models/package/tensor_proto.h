#pragma once

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace onnx {
class TensorProto;
}

namespace portico {

/// dtype and dims of a tensor in an ONNX file, checked; its data is not looked at.
struct TensorProtoType {
  DType dtype;
  Shape shape;
};
absl::StatusOr<TensorProtoType> ReadTensorType(const onnx::TensorProto& proto);

/// A copy of the tensor in `proto`, whichever of ONNX's fields (raw_data, float_data, ...) holds it. INVALID_ARGUMENT
/// when the data does not fit dtype and dims, or is in another file.
absl::StatusOr<Tensor> ReadTensor(const onnx::TensorProto& proto);

/// The same, but raw_data is moved into the tensor. `proto` keeps name, dtype and dims alone.
absl::StatusOr<Tensor> TakeTensor(onnx::TensorProto& proto);

/// Puts dtype, dims and a copy of the data into `proto`; its name stays.
void PutTensor(const Tensor& tensor, onnx::TensorProto& proto);

}  // namespace portico
