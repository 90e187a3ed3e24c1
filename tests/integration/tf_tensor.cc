#include "tests/integration/tf_tensor.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace portico {
namespace {

constexpr std::array<std::pair<DType, tensorflow::DataType>, 20> kTypes = {{
    {DType::kFloat, tensorflow::DT_FLOAT},
    {DType::kDouble, tensorflow::DT_DOUBLE},
    {DType::kInt32, tensorflow::DT_INT32},
    {DType::kUint8, tensorflow::DT_UINT8},
    {DType::kInt16, tensorflow::DT_INT16},
    {DType::kInt8, tensorflow::DT_INT8},
    {DType::kString, tensorflow::DT_STRING},
    {DType::kComplex64, tensorflow::DT_COMPLEX64},
    {DType::kInt64, tensorflow::DT_INT64},
    {DType::kBool, tensorflow::DT_BOOL},
    {DType::kBfloat16, tensorflow::DT_BFLOAT16},
    {DType::kUint16, tensorflow::DT_UINT16},
    {DType::kComplex128, tensorflow::DT_COMPLEX128},
    {DType::kFloat16, tensorflow::DT_HALF},
    {DType::kUint32, tensorflow::DT_UINT32},
    {DType::kUint64, tensorflow::DT_UINT64},
    {DType::kFloat8E5M2, tensorflow::DT_FLOAT8_E5M2},
    {DType::kFloat8E4M3FN, tensorflow::DT_FLOAT8_E4M3FN},
    {DType::kInt4, tensorflow::DT_INT4},
    {DType::kUint4, tensorflow::DT_UINT4},
}};

}  // namespace

tensorflow::TensorProto ToTensorFlow(const Tensor& tensor) {
  tensorflow::TensorProto proto;
  for (const auto& [dtype, number] : kTypes) {
    if (dtype == tensor.dtype()) proto.set_dtype(number);
  }
  PORTICO_CHECK(proto.dtype() != tensorflow::DT_INVALID);
  tensorflow::TensorShapeProto* shape = proto.mutable_tensor_shape();
  for (const int64_t extent : tensor.shape()) shape->add_dim()->set_size(extent);
  if (tensor.dtype() == DType::kString) {
    for (uint64_t i = 0; i < tensor.num_elements(); ++i) proto.add_string_val(std::string(tensor.StringAt(i)));
  } else {
    proto.set_tensor_content(std::string(tensor.bytes()));
  }
  return proto;
}

absl::StatusOr<Tensor> FromTensorFlow(const tensorflow::TensorProto& proto) {
  DType dtype = DType::kInvalid;
  for (const auto& [known, number] : kTypes) {
    if (number == proto.dtype()) dtype = known;
  }
  Shape shape;
  for (const auto& dim : proto.tensor_shape().dim()) shape.push_back(dim.size());
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  if (dtype == DType::kString) {
    if (static_cast<uint64_t>(proto.string_val_size()) != elements) {
      return absl::InvalidArgumentError(absl::StrCat("got ", proto.string_val_size(), " strings, want ", elements));
    }
    const std::vector<std::string> values(proto.string_val().begin(), proto.string_val().end());
    return Tensor::OfStrings(std::move(shape), absl::MakeConstSpan(values));
  }
  if (dtype == DType::kInvalid || proto.tensor_content().size() != BytesFor(dtype, elements)) {
    return absl::InvalidArgumentError(absl::StrCat("got ", proto.tensor_content().size(), " bytes of dtype ",
                                                   proto.dtype(), ", want ", ShapeString(shape)));
  }
  return Tensor::CopyOf(dtype, std::move(shape), proto.tensor_content());
}

}  // namespace portico
