#include "models/runtime/ort_value.h"

#include <onnxruntime_c_api.h>

#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "models/runtime/ort_status.h"

namespace portico {
namespace {

// DType has ONNX's numbers; these are all that ONNX Runtime numbers in its own right.
static_assert(static_cast<int>(DType::kFloat) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
static_assert(static_cast<int>(DType::kUint8) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
static_assert(static_cast<int>(DType::kInt8) == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8);
static_assert(static_cast<int>(DType::kUint16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16);
static_assert(static_cast<int>(DType::kInt16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16);
static_assert(static_cast<int>(DType::kInt32) == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
static_assert(static_cast<int>(DType::kInt64) == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64);
static_assert(static_cast<int>(DType::kString) == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
static_assert(static_cast<int>(DType::kBool) == ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL);
static_assert(static_cast<int>(DType::kFloat16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16);
static_assert(static_cast<int>(DType::kDouble) == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE);
static_assert(static_cast<int>(DType::kUint32) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32);
static_assert(static_cast<int>(DType::kUint64) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64);
static_assert(static_cast<int>(DType::kComplex64) == ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64);
static_assert(static_cast<int>(DType::kComplex128) == ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128);
static_assert(static_cast<int>(DType::kBfloat16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16);
static_assert(static_cast<int>(DType::kFloat8E4M3FN) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN);
static_assert(static_cast<int>(DType::kFloat8E4M3FNUZ) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FNUZ);
static_assert(static_cast<int>(DType::kFloat8E5M2) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2);
static_assert(static_cast<int>(DType::kFloat8E5M2FNUZ) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E5M2FNUZ);
static_assert(static_cast<int>(DType::kUint4) == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4);
static_assert(static_cast<int>(DType::kInt4) == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4);

const OrtApi& Api() {
  static const OrtApi& api = *OrtGetApiBase()->GetApi(ORT_API_VERSION);
  return api;
}

absl::Status Check(OrtStatus* status) { return TakeOrtStatus(OrtPhase::kRun, status); }

/// Describes this process's memory; made once, never freed.
const OrtMemoryInfo* CpuMemory() {
  static const OrtMemoryInfo* const memory = [] {
    OrtMemoryInfo* info = nullptr;
    OrtStatus* status = Api().CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &info);
    if (status != nullptr) Api().ReleaseStatus(status);
    return info;
  }();
  return memory;
}

/// Releases a value unless it was handed on.
class ValueGuard {
 public:
  explicit ValueGuard(OrtValue* value) : value_(value) {}
  ~ValueGuard() {
    if (value_ != nullptr) Api().ReleaseValue(value_);
  }
  ValueGuard(const ValueGuard&) = delete;
  ValueGuard& operator=(const ValueGuard&) = delete;
  OrtValue* get() const { return value_; }
  OrtValue* Release() { return std::exchange(value_, nullptr); }

 private:
  OrtValue* value_;
};

/// Memory of a run's result. The value goes before the session that allocated it.
class OrtOrigin final : public TensorOrigin {
 public:
  OrtOrigin(OrtValue* value, uint64_t bytes, Ref<RefCounted> owner)
      : TensorOrigin(bytes), owner_(std::move(owner)), value_(value) {}
  ~OrtOrigin() override { Api().ReleaseValue(value_); }

 private:
  const Ref<RefCounted> owner_;
  OrtValue* const value_;
};

absl::StatusOr<OrtValue*> NewStringValue(const Tensor& tensor) {
  OrtAllocator* allocator = nullptr;
  RETURN_IF_ERROR(Check(Api().GetAllocatorWithDefaultOptions(&allocator)));
  OrtValue* made = nullptr;
  RETURN_IF_ERROR(Check(Api().CreateTensorAsOrtValue(allocator, tensor.shape().data(), tensor.shape().size(),
                                                     ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &made)));
  ValueGuard value(made);
  const uint64_t elements = tensor.num_elements();
  for (uint64_t i = 0; i < elements; ++i) {
    // FillStringTensor would end each element at its first zero byte.
    const absl::string_view text = tensor.StringAt(i);
    char* buffer = nullptr;
    RETURN_IF_ERROR(Check(Api().GetResizedStringTensorElementBuffer(value.get(), i, text.size(), &buffer)));
    if (!text.empty()) std::memcpy(buffer, text.data(), text.size());
  }
  return value.Release();
}

absl::StatusOr<Tensor> CopyStrings(const OrtValue* value, Shape shape) {
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  size_t text = 0;
  RETURN_IF_ERROR(Check(Api().GetStringTensorDataLength(value, &text)));
  const size_t table = (elements + 1) * sizeof(uint64_t);
  Tensor block = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(table + text)});
  auto* offsets = reinterpret_cast<size_t*>(block.mutable_bytes());
  static_assert(sizeof(size_t) == sizeof(uint64_t));
  if (elements > 0) {
    RETURN_IF_ERROR(Check(Api().GetStringTensorContent(value, block.mutable_bytes() + table, text, offsets, elements)));
  }
  offsets[elements] = text;
  return Tensor::View(DType::kString, std::move(shape), block.bytes(), block.origin());
}

}  // namespace

absl::StatusOr<OrtValue*> NewOrtValue(const Tensor& tensor) {
  if (tensor.dtype() == DType::kString) return NewStringValue(tensor);
  // ONNX Runtime wants an address even where there are no bytes.
  static char nothing[64];
  const absl::string_view bytes = tensor.bytes();
  void* data = bytes.empty() ? nothing : const_cast<char*>(bytes.data());
  OrtValue* value = nullptr;
  RETURN_IF_ERROR(Check(Api().CreateTensorWithDataAsOrtValue(
      CpuMemory(), data, bytes.size(), tensor.shape().data(), tensor.shape().size(),
      static_cast<ONNXTensorElementDataType>(tensor.dtype()), &value)));
  return value;
}

absl::StatusOr<Tensor> TakeOrtValue(OrtValue* taken, const Ref<RefCounted>& owner) {
  ValueGuard value(taken);
  OrtTensorTypeAndShapeInfo* info = nullptr;
  RETURN_IF_ERROR(Check(Api().GetTensorTypeAndShape(value.get(), &info)));
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  size_t rank = 0;
  Shape shape;
  absl::Status status = Check(Api().GetTensorElementType(info, &type));
  if (status.ok()) status = Check(Api().GetDimensionsCount(info, &rank));
  if (status.ok()) {
    shape.resize(rank);
    status = Check(Api().GetDimensions(info, shape.data(), rank));
  }
  Api().ReleaseTensorTypeAndShapeInfo(info);
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(const DType dtype, DTypeFromNumber(type));
  if (dtype == DType::kString) return CopyStrings(value.get(), std::move(shape));

  void* data = nullptr;
  RETURN_IF_ERROR(Check(Api().GetTensorMutableData(value.get(), &data)));
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  const uint64_t size = BytesFor(dtype, elements);
  Ref<TensorOrigin> origin(new OrtOrigin(value.Release(), size, owner));
  return Tensor::View(dtype, std::move(shape), {static_cast<const char*>(data), size}, std::move(origin));
}

}  // namespace portico
