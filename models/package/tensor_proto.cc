#include "models/package/tensor_proto.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// raw_data moved out of a protobuf. A std::string's bytes are aligned to 8 at least, on the heap and in the object.
class StringOrigin final : public TensorOrigin {
 public:
  explicit StringOrigin(std::unique_ptr<std::string> bytes) : TensorOrigin(bytes->size()), bytes_(std::move(bytes)) {}

 private:
  const std::unique_ptr<std::string> bytes_;
};

absl::Status CheckCount(const char* field, uint64_t got, uint64_t want, const TensorProtoType& type) {
  if (got == want) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("got ", got, " values in ", field, ", want ", want, " for ",
                                                 DTypeName(type.dtype), ShapeString(type.shape)));
}

/// `values`, each narrowed to To, as the elements' bytes. ONNX keeps small types in wider fields.
template <typename To, typename Values>
absl::StatusOr<Tensor> Convert(const char* field, const Values& values, uint64_t want, const TensorProtoType& type) {
  RETURN_IF_ERROR(CheckCount(field, static_cast<uint64_t>(values.size()), want, type));
  Tensor tensor = Tensor::Allocate(type.dtype, type.shape);
  To* out = reinterpret_cast<To*>(tensor.mutable_bytes());
  for (const auto value : values) *out++ = static_cast<To>(value);
  return tensor;
}

/// The tensor of the typed fields (onnx.proto says which dtype lives in which).
absl::StatusOr<Tensor> FromTypedFields(const onnx::TensorProto& proto, const TensorProtoType& type, uint64_t elements) {
  switch (type.dtype) {
    case DType::kFloat:
      return Convert<float>("float_data", proto.float_data(), elements, type);
    case DType::kComplex64:
      return Convert<float>("float_data", proto.float_data(), 2 * elements, type);
    case DType::kDouble:
      return Convert<double>("double_data", proto.double_data(), elements, type);
    case DType::kComplex128:
      return Convert<double>("double_data", proto.double_data(), 2 * elements, type);
    case DType::kInt64:
      return Convert<int64_t>("int64_data", proto.int64_data(), elements, type);
    case DType::kUint64:
      return Convert<uint64_t>("uint64_data", proto.uint64_data(), elements, type);
    case DType::kUint32:
      return Convert<uint32_t>("uint64_data", proto.uint64_data(), elements, type);
    case DType::kInt32:
      return Convert<int32_t>("int32_data", proto.int32_data(), elements, type);
    case DType::kInt16:
    case DType::kUint16:
    case DType::kFloat16:
    case DType::kBfloat16:
      return Convert<uint16_t>("int32_data", proto.int32_data(), elements, type);
    case DType::kString: {
      RETURN_IF_ERROR(CheckCount("string_data", static_cast<uint64_t>(proto.string_data_size()), elements, type));
      const std::vector<absl::string_view> texts(proto.string_data().begin(), proto.string_data().end());
      return Tensor::OfStrings(type.shape, absl::Span<const absl::string_view>(texts));
    }
    default:
      // One byte per element, or two elements packed in one.
      return Convert<uint8_t>("int32_data", proto.int32_data(), BytesFor(type.dtype, elements), type);
  }
}

/// The tensor of every kind but raw_data, and what there is to check before raw_data is used.
absl::StatusOr<Tensor> FromFields(const onnx::TensorProto& proto, const TensorProtoType& type) {
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    return absl::InvalidArgumentError("got data in another file, want it inside the model");
  }
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(type.shape));
  if (proto.raw_data().empty()) return FromTypedFields(proto, type, elements);
  if (type.dtype == DType::kString) return absl::InvalidArgumentError("got strings in raw_data, want string_data");
  return Tensor();
}

}  // namespace

absl::StatusOr<TensorProtoType> ReadTensorType(const onnx::TensorProto& proto) {
  ASSIGN_OR_RETURN(const DType dtype, DTypeFromNumber(proto.data_type()));
  TensorProtoType type{dtype, Shape(proto.dims().begin(), proto.dims().end())};
  RETURN_IF_ERROR(NumElements(type.shape).status());
  return type;
}

absl::StatusOr<Tensor> ReadTensor(const onnx::TensorProto& proto) {
  ASSIGN_OR_RETURN(TensorProtoType type, ReadTensorType(proto));
  ASSIGN_OR_RETURN(Tensor tensor, FromFields(proto, type));
  if (tensor.valid()) return tensor;
  RETURN_IF_ERROR(Tensor::View(type.dtype, type.shape, proto.raw_data(), nullptr).status());
  return Tensor::CopyOf(type.dtype, std::move(type.shape), proto.raw_data());
}

absl::StatusOr<Tensor> TakeTensor(onnx::TensorProto& proto) {
  ASSIGN_OR_RETURN(TensorProtoType type, ReadTensorType(proto));
  ASSIGN_OR_RETURN(Tensor tensor, FromFields(proto, type));
  if (!tensor.valid()) {
    std::unique_ptr<std::string> bytes(proto.release_raw_data());
    const absl::string_view view = *bytes;
    ASSIGN_OR_RETURN(tensor, Tensor::View(type.dtype, type.shape, view, MakeRef<StringOrigin>(std::move(bytes))));
  }
  onnx::TensorProto bare;  // Clear() would keep the memory of the fields
  bare.set_name(proto.name());
  bare.set_data_type(proto.data_type());
  *bare.mutable_dims() = proto.dims();
  proto.Swap(&bare);
  return tensor;
}

void PutTensor(const Tensor& tensor, onnx::TensorProto& proto) {
  onnx::TensorProto filled;
  filled.set_name(proto.name());
  filled.set_data_type(static_cast<int>(tensor.dtype()));
  for (const int64_t extent : tensor.shape()) filled.add_dims(extent);
  if (tensor.dtype() == DType::kString) {
    for (uint64_t i = 0; i < tensor.num_elements(); ++i) filled.add_string_data(std::string(tensor.StringAt(i)));
  } else {
    filled.set_raw_data(tensor.bytes().data(), tensor.bytes().size());
  }
  proto.Swap(&filled);
}

}  // namespace portico
