#include "models/package/tensor_proto.h"

#include <cstring>

#include "gtest/gtest.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

onnx::TensorProto Proto(DType dtype, std::vector<int64_t> dims) {
  onnx::TensorProto proto;
  proto.set_name("w");
  proto.set_data_type(static_cast<int>(dtype));
  for (const int64_t dim : dims) proto.add_dims(dim);
  return proto;
}

std::string Bytes(const onnx::TensorProto& proto) {
  const absl::StatusOr<Tensor> tensor = ReadTensor(proto);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  return tensor.ok() ? std::string(tensor->bytes()) : "";
}

template <typename T>
std::string BytesOf(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

TEST(TensorProtoTest, RawDataIsMovedNotCopied) {
  onnx::TensorProto proto = Proto(DType::kFloat, {64});
  proto.set_raw_data(std::string(256, '\1'));
  const char* const data = proto.raw_data().data();
  const absl::StatusOr<Tensor> tensor = TakeTensor(proto);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->bytes().data(), data);
  EXPECT_TRUE(tensor->aligned());
  EXPECT_FALSE(proto.has_raw_data());
  EXPECT_EQ(proto.name(), "w");
  EXPECT_EQ(proto.dims(0), 64);
  EXPECT_EQ(proto.data_type(), 1);
}

TEST(TensorProtoTest, SmallRawDataStaysAliveAndAligned) {
  onnx::TensorProto proto = Proto(DType::kInt64, {1});
  proto.set_raw_data(BytesOf<int64_t>({-5}));
  const absl::StatusOr<Tensor> tensor = TakeTensor(proto);
  proto.Clear();
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  ASSERT_TRUE(tensor->aligned());
  EXPECT_EQ(tensor->data<int64_t>()[0], -5);
}

TEST(TensorProtoTest, WideTypedFieldsAreRead) {
  onnx::TensorProto floats = Proto(DType::kFloat, {2});
  floats.add_float_data(1.5f);
  floats.add_float_data(-2);
  EXPECT_EQ(Bytes(floats), BytesOf<float>({1.5f, -2}));
  onnx::TensorProto complex = Proto(DType::kComplex64, {1});
  complex.add_float_data(1);
  complex.add_float_data(2);
  EXPECT_EQ(Bytes(complex), BytesOf<float>({1, 2}));
  onnx::TensorProto doubles = Proto(DType::kDouble, {1});
  doubles.add_double_data(2.5);
  EXPECT_EQ(Bytes(doubles), BytesOf<double>({2.5}));
  onnx::TensorProto wide_complex = Proto(DType::kComplex128, {1});
  wide_complex.add_double_data(1);
  wide_complex.add_double_data(2);
  EXPECT_EQ(Bytes(wide_complex), BytesOf<double>({1, 2}));
  onnx::TensorProto int64s = Proto(DType::kInt64, {1});
  int64s.add_int64_data(-7);
  EXPECT_EQ(Bytes(int64s), BytesOf<int64_t>({-7}));
  onnx::TensorProto uint64s = Proto(DType::kUint64, {1});
  uint64s.add_uint64_data(~uint64_t{0});
  EXPECT_EQ(Bytes(uint64s), BytesOf<uint64_t>({~uint64_t{0}}));
  onnx::TensorProto uint32s = Proto(DType::kUint32, {1});
  uint32s.add_uint64_data(0xfffffffe);
  EXPECT_EQ(Bytes(uint32s), BytesOf<uint32_t>({0xfffffffe}));
}

TEST(TensorProtoTest, NarrowTypesLiveInInt32Data) {
  onnx::TensorProto int32s = Proto(DType::kInt32, {1});
  int32s.add_int32_data(-3);
  EXPECT_EQ(Bytes(int32s), BytesOf<int32_t>({-3}));
  for (const DType dtype : {DType::kInt16, DType::kUint16, DType::kFloat16, DType::kBfloat16}) {
    onnx::TensorProto proto = Proto(dtype, {2});
    proto.add_int32_data(0x3c00);
    proto.add_int32_data(0xbc00);
    EXPECT_EQ(Bytes(proto), BytesOf<uint16_t>({0x3c00, 0xbc00})) << DTypeName(dtype);
  }
  for (const DType dtype : {DType::kInt8, DType::kUint8, DType::kBool, DType::kFloat8E4M3FN, DType::kFloat8E4M3FNUZ,
                            DType::kFloat8E5M2, DType::kFloat8E5M2FNUZ}) {
    onnx::TensorProto proto = Proto(dtype, {2});
    proto.add_int32_data(1);
    proto.add_int32_data(0);
    EXPECT_EQ(Bytes(proto), BytesOf<uint8_t>({1, 0})) << DTypeName(dtype);
  }
  for (const DType dtype : {DType::kInt4, DType::kUint4, DType::kFloat4E2M1}) {
    onnx::TensorProto proto = Proto(dtype, {3});
    proto.add_int32_data(0x21);
    proto.add_int32_data(0x03);
    EXPECT_EQ(Bytes(proto), BytesOf<uint8_t>({0x21, 0x03})) << DTypeName(dtype);
  }
}

TEST(TensorProtoTest, StringsAreRead) {
  onnx::TensorProto proto = Proto(DType::kString, {2});
  proto.add_string_data("");
  proto.add_string_data("two");
  const absl::StatusOr<Tensor> tensor = ReadTensor(proto);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->StringAt(1), "two");
}

TEST(TensorProtoTest, TensorWithoutElementsNeedsNoData) { EXPECT_EQ(Bytes(Proto(DType::kFloat, {0, 3})), ""); }

TEST(TensorProtoTest, DataThatDoesNotFitIsRefused) {
  onnx::TensorProto proto = Proto(DType::kFloat, {2, 2});
  proto.add_float_data(1);
  EXPECT_EQ(ReadTensor(proto).status().message(), "got 1 values in float_data, want 4 for float32[2,2]");
  proto.set_raw_data("12345");
  EXPECT_EQ(ReadTensor(proto).status().message(), "tensor: got 5 bytes, want 16 for float32[2,2]");
  EXPECT_EQ(TakeTensor(proto).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadTensor(Proto(DType::kFloat, {-1})).ok());
  EXPECT_FALSE(ReadTensor(Proto(DType::kFloat, {int64_t{1} << 40, int64_t{1} << 40})).ok());
  EXPECT_FALSE(ReadTensor(Proto(DType::kInvalid, {1})).ok());
  onnx::TensorProto strings = Proto(DType::kString, {1});
  strings.set_raw_data("x");
  EXPECT_EQ(ReadTensor(strings).status().message(), "got strings in raw_data, want string_data");
  onnx::TensorProto external = Proto(DType::kFloat, {1});
  external.set_data_location(onnx::TensorProto::EXTERNAL);
  EXPECT_FALSE(ReadTensor(external).ok());
}

// A claim of 2^59 elements must be refused by the length of what is there, not by running out of memory.
TEST(TensorProtoTest, ClaimedSizeTakesNoMemory) {
  onnx::TensorProto proto = Proto(DType::kInt64, {int64_t{1} << 59});
  proto.add_int64_data(1);
  EXPECT_EQ(ReadTensor(proto).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TensorProtoTest, WrittenTensorsReadBack) {
  const Tensor numbers = Tensor::Of<int16_t>({2}, {1, -1});
  const Tensor texts = Tensor::OfStrings({2}, std::vector<std::string>{"a", ""});
  for (const Tensor& tensor : {numbers, texts}) {
    onnx::TensorProto proto;
    PutTensor(tensor, proto);
    EXPECT_EQ(Bytes(proto), tensor.bytes());
  }
}

}  // namespace
}  // namespace portico
