#include "codec/tensor_proto.h"

#include <cmath>
#include <limits>

#include "codec/tf_dtype.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMaxBytes = 1 << 20;

/// Keeps a serialised message for the tensors that view it.
class TextOrigin final : public TensorOrigin {
 public:
  explicit TextOrigin(std::string text) : TensorOrigin(text.size()), text(std::move(text)) {}
  const std::string text;
};

tensorflow::TensorProto Proto(tensorflow::DataType dtype, std::initializer_list<int64_t> shape) {
  tensorflow::TensorProto proto;
  proto.set_dtype(dtype);
  for (const int64_t extent : shape) proto.mutable_tensor_shape()->add_dim()->set_size(extent);
  return proto;
}

absl::StatusOr<Tensor> ReadText(std::string text, uint64_t max_bytes = kMaxBytes) {
  const auto origin = MakeRef<TextOrigin>(std::move(text));
  return ReadTensorProto(origin->text, origin, max_bytes);
}

absl::StatusOr<Tensor> Read(const tensorflow::TensorProto& proto, uint64_t max_bytes = kMaxBytes) {
  return ReadText(proto.SerializeAsString(), max_bytes);
}

template <typename T>
std::vector<T> Values(const absl::StatusOr<Tensor>& tensor) {
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  const Tensor aligned = tensor->Aligned();
  const auto data = aligned.data<T>();
  return {data.begin(), data.end()};
}

/// What EncodeTensorProto() wrote, read by protobuf.
tensorflow::TensorProto Encoded(const Tensor& tensor) {
  const absl::StatusOr<EncodedTensor> encoded = EncodeTensorProto(tensor);
  EXPECT_TRUE(encoded.ok()) << encoded.status();
  tensorflow::TensorProto proto;
  EXPECT_TRUE(proto.ParseFromString(encoded->head + std::string(encoded->content.bytes())));
  return proto;
}

TEST(TensorProtoTest, ContentBecomesViewOfTheMessage) {
  auto proto = Proto(tensorflow::DT_FLOAT, {2, 2});
  const float values[] = {1, 2, 3, 4};
  proto.set_tensor_content(values, sizeof(values));
  const auto origin = MakeRef<TextOrigin>(proto.SerializeAsString());
  const auto tensor = ReadTensorProto(origin->text, origin, kMaxBytes);
  EXPECT_THAT(Values<float>(tensor), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(tensor->shape(), (Shape{2, 2}));
  EXPECT_GE(tensor->bytes().data(), origin->text.data());
  EXPECT_LT(tensor->bytes().data(), origin->text.data() + origin->text.size());
}

TEST(TensorProtoTest, TypedValuesOfEachFieldAreRead) {
  auto f = Proto(tensorflow::DT_FLOAT, {2});
  f.add_float_val(1.5f), f.add_float_val(-2);
  EXPECT_THAT(Values<float>(Read(f)), ElementsAre(1.5f, -2));
  auto d = Proto(tensorflow::DT_DOUBLE, {2});
  d.add_double_val(1.5), d.add_double_val(-2);
  EXPECT_THAT(Values<double>(Read(d)), ElementsAre(1.5, -2));
  auto i32 = Proto(tensorflow::DT_INT32, {2});
  i32.add_int_val(-7), i32.add_int_val(std::numeric_limits<int32_t>::max());
  EXPECT_THAT(Values<int32_t>(Read(i32)), ElementsAre(-7, std::numeric_limits<int32_t>::max()));
  auto i16 = Proto(tensorflow::DT_INT16, {2});
  i16.add_int_val(-7), i16.add_int_val(300);
  EXPECT_THAT(Values<int16_t>(Read(i16)), ElementsAre(-7, 300));
  auto u16 = Proto(tensorflow::DT_UINT16, {1});
  u16.add_int_val(65535);
  EXPECT_THAT(Values<uint16_t>(Read(u16)), ElementsAre(65535));
  auto i8 = Proto(tensorflow::DT_INT8, {2});
  i8.add_int_val(-128), i8.add_int_val(127);
  EXPECT_THAT(Values<int8_t>(Read(i8)), ElementsAre(-128, 127));
  auto u8 = Proto(tensorflow::DT_UINT8, {1});
  u8.add_int_val(255);
  EXPECT_THAT(Values<uint8_t>(Read(u8)), ElementsAre(255));
  auto i64 = Proto(tensorflow::DT_INT64, {2});
  i64.add_int64_val(std::numeric_limits<int64_t>::min()), i64.add_int64_val((int64_t{1} << 53) + 1);
  EXPECT_THAT(Values<int64_t>(Read(i64)), ElementsAre(std::numeric_limits<int64_t>::min(), (int64_t{1} << 53) + 1));
  auto u32 = Proto(tensorflow::DT_UINT32, {1});
  u32.add_uint32_val(4294967295u);
  EXPECT_THAT(Values<uint32_t>(Read(u32)), ElementsAre(4294967295u));
  auto u64 = Proto(tensorflow::DT_UINT64, {1});
  u64.add_uint64_val(std::numeric_limits<uint64_t>::max());
  EXPECT_THAT(Values<uint64_t>(Read(u64)), ElementsAre(std::numeric_limits<uint64_t>::max()));
  auto b = Proto(tensorflow::DT_BOOL, {3});
  b.add_bool_val(true), b.add_bool_val(false), b.add_bool_val(true);
  EXPECT_EQ(Read(b)->bytes(), absl::string_view("\1\0\1", 3));
}

TEST(TensorProtoTest, BitsOfHalfAndBfloat16AreKept) {
  for (const auto dtype : {tensorflow::DT_HALF, tensorflow::DT_BFLOAT16}) {
    auto proto = Proto(dtype, {2});
    proto.add_half_val(0x3c00), proto.add_half_val(0xc000);
    const auto tensor = Read(proto);
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(tensor->bytes(), absl::string_view("\x00\x3c\x00\xc0", 4));
  }
}

TEST(TensorProtoTest, ComplexValuesComeInPairs) {
  auto proto = Proto(tensorflow::DT_COMPLEX64, {2});
  for (const float part : {1.f, 2.f, 3.f, 4.f}) proto.add_scomplex_val(part);
  const auto tensor = Read(proto);
  ASSERT_TRUE(tensor.ok());
  const float want[] = {1, 2, 3, 4};
  EXPECT_EQ(tensor->bytes(), absl::string_view(reinterpret_cast<const char*>(want), sizeof(want)));
  proto.mutable_scomplex_val()->RemoveLast();
  EXPECT_FALSE(Read(proto).ok());
}

TEST(TensorProtoTest, OneValueFillsTheShape) {
  auto proto = Proto(tensorflow::DT_INT64, {2, 3});
  proto.add_int64_val(9);
  EXPECT_THAT(Values<int64_t>(Read(proto)), ElementsAre(9, 9, 9, 9, 9, 9));
  auto complex = Proto(tensorflow::DT_COMPLEX128, {2});
  complex.add_dcomplex_val(1), complex.add_dcomplex_val(2);
  const double want[] = {1, 2, 1, 2};
  EXPECT_EQ(Read(complex)->bytes(), absl::string_view(reinterpret_cast<const char*>(want), sizeof(want)));
  auto text = Proto(tensorflow::DT_STRING, {3});
  text.add_string_val("ab");
  const auto strings = Read(text);
  ASSERT_TRUE(strings.ok());
  EXPECT_EQ(strings->StringAt(2), "ab");
}

TEST(TensorProtoTest, MissingValuesRepeatTheLastAndNoneMeansZeros) {
  auto proto = Proto(tensorflow::DT_FLOAT, {4});
  EXPECT_THAT(Values<float>(Read(proto)), ElementsAre(0, 0, 0, 0));
  proto.add_float_val(1), proto.add_float_val(2);
  EXPECT_THAT(Values<float>(Read(proto)), ElementsAre(1, 2, 2, 2));
}

TEST(TensorProtoTest, MoreValuesThanTheShapeTakesAreRefused) {
  auto proto = Proto(tensorflow::DT_FLOAT, {1});
  proto.add_float_val(1), proto.add_float_val(2);
  EXPECT_FALSE(Read(proto).ok());
  auto text = Proto(tensorflow::DT_STRING, {});
  text.add_string_val("a"), text.add_string_val("b");
  EXPECT_FALSE(Read(text).ok());
}

TEST(TensorProtoTest, UnpackedValuesAreReadLikePackedOnes) {
  auto proto = Proto(tensorflow::DT_FLOAT, {2});
  const float one = 1, two = 2;
  std::string text = proto.SerializeAsString();
  for (const float value : {one, two})
    text.append("\x2d").append(reinterpret_cast<const char*>(&value), 4);  // 5, fixed32
  EXPECT_THAT(Values<float>(ReadText(text)), ElementsAre(1, 2));
  text = Proto(tensorflow::DT_INT64, {2}).SerializeAsString() + "\x50\x05\x50\x06";  // 10, varint
  EXPECT_THAT(Values<int64_t>(ReadText(text)), ElementsAre(5, 6));
}

TEST(TensorProtoTest, ValuesOutsideTheDtypeAreRefused) {
  auto proto = Proto(tensorflow::DT_INT8, {1});
  proto.add_int_val(128);
  EXPECT_FALSE(Read(proto).ok());
  auto half = Proto(tensorflow::DT_HALF, {1});
  half.add_half_val(65536);
  EXPECT_FALSE(Read(half).ok());
}

TEST(TensorProtoTest, FourBitTypesTravelOneToAByte) {
  auto proto = Proto(tensorflow::DT_INT4, {3});
  proto.set_tensor_content(std::string("\x01\xfe\x07", 3));
  const auto tensor = Read(proto);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->bytes(), absl::string_view("\xe1\x07", 2));
  EXPECT_EQ(Encoded(*tensor).tensor_content(), std::string("\x01\xfe\x07", 3));
  auto values = Proto(tensorflow::DT_UINT4, {2});
  values.add_int_val(15), values.add_int_val(2);
  EXPECT_EQ(Read(values)->bytes(), absl::string_view("\x2f", 1));
}

TEST(TensorProtoTest, StringsAreReadFromBothForms) {
  auto proto = Proto(tensorflow::DT_STRING, {2});
  proto.set_tensor_content(std::string("\x02\x00hi", 4));
  const auto content = Read(proto);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->StringAt(0), "hi");
  EXPECT_EQ(content->StringAt(1), "");
  proto.clear_tensor_content();
  proto.add_string_val(""), proto.add_string_val(std::string("a\0b", 3));
  EXPECT_EQ(Read(proto)->StringAt(1), absl::string_view("a\0b", 3));
  proto.set_tensor_content(std::string("\x7f\x00hi", 4));
  EXPECT_FALSE(Read(proto).ok());
}

TEST(TensorProtoTest, HugeShapeWithOneValueIsRefusedBeforeMemoryIsTaken) {
  auto proto = Proto(tensorflow::DT_FLOAT, {int64_t{1} << 40});
  proto.add_float_val(1);
  EXPECT_THAT(std::string(Read(proto).status().message()), HasSubstr("want at most 1048576"));
  auto text = Proto(tensorflow::DT_STRING, {int64_t{1} << 59});
  text.add_string_val("x");
  EXPECT_FALSE(Read(text).ok());
  auto bomb = Proto(tensorflow::DT_STRING, {1 << 16});
  bomb.add_string_val(std::string(1 << 10, 'x'));
  EXPECT_FALSE(Read(bomb).ok());
  auto overflow = Proto(tensorflow::DT_FLOAT, {int64_t{1} << 40, int64_t{1} << 40});
  EXPECT_FALSE(Read(overflow).ok());
}

TEST(TensorProtoTest, BadShapesAndDtypesAreRefused) {
  EXPECT_FALSE(Read(Proto(tensorflow::DT_FLOAT, {-1})).ok());
  EXPECT_FALSE(Read(Proto(tensorflow::DT_INVALID, {1})).ok());
  EXPECT_FALSE(Read(Proto(static_cast<tensorflow::DataType>(20), {1})).ok());   // resource
  EXPECT_FALSE(Read(Proto(static_cast<tensorflow::DataType>(101), {1})).ok());  // a reference
  auto unknown = Proto(tensorflow::DT_FLOAT, {});
  unknown.mutable_tensor_shape()->set_unknown_rank(true);
  EXPECT_FALSE(Read(unknown).ok());
  auto deep = Proto(tensorflow::DT_FLOAT, {});
  for (int i = 0; i < 300; ++i) deep.mutable_tensor_shape()->add_dim()->set_size(1);
  EXPECT_FALSE(Read(deep).ok());
  auto content = Proto(tensorflow::DT_FLOAT, {2});
  content.set_tensor_content("1234567");
  EXPECT_THAT(std::string(Read(content).status().message()), HasSubstr("got 7 bytes, want 8"));
}

TEST(TensorProtoTest, EveryTruncationIsRefusedOrReadWithinBounds) {
  auto proto = Proto(tensorflow::DT_INT64, {3});
  for (const int64_t value : {1000000, -1, 3}) proto.add_int64_val(value);
  const std::string whole = proto.SerializeAsString();
  for (size_t length = 0; length < whole.size(); ++length) {
    // A heap block of exactly that size: reading past it is seen by the sanitizers.
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<long>(length));
    const auto tensor = ReadTensorProto({cut.data(), cut.size()}, nullptr, kMaxBytes);
    if (tensor.ok()) {
      EXPECT_LE(tensor->num_elements(), 3u);
    }
  }
}

TEST(TensorProtoTest, EncodingIsReadBackByProtobuf) {
  const auto numbers = Encoded(Tensor::Of<float>({2, 1}, {1, 2}));
  EXPECT_EQ(numbers.dtype(), tensorflow::DT_FLOAT);
  ASSERT_EQ(numbers.tensor_shape().dim_size(), 2);
  EXPECT_EQ(numbers.tensor_shape().dim(0).size(), 2);
  EXPECT_THAT(Values<float>(Read(numbers)), ElementsAre(1, 2));
  const auto empty = Encoded(Tensor::Of<float>({0, 2}, {}));
  ASSERT_EQ(empty.tensor_shape().dim_size(), 2);
  EXPECT_EQ(empty.tensor_shape().dim(0).size(), 0);
  const std::string text[] = {"a", "", "bc"};
  const auto strings = Encoded(Tensor::OfStrings({3}, absl::Span<const std::string>(text)));
  EXPECT_THAT(strings.string_val(), ElementsAre("a", "", "bc"));
  EXPECT_TRUE(strings.tensor_content().empty());
}

TEST(TfDtypeTest, EveryDtypeRoundTripsOrIsRefused) {
  for (int number = 1; number <= kMaxDType; ++number) {
    const auto dtype = static_cast<DType>(number);
    const absl::StatusOr<int> tf = TfDataType(dtype);
    if (dtype == DType::kFloat4E2M1) {
      EXPECT_EQ(tf.status().code(), absl::StatusCode::kUnimplemented);
      continue;
    }
    ASSERT_TRUE(tf.ok()) << tf.status();
    EXPECT_EQ(*DTypeFromTf(*tf), dtype);
  }
  EXPECT_EQ(*TfDataType(DType::kBfloat16), static_cast<int>(tensorflow::DT_BFLOAT16));
  EXPECT_EQ(*TfDataType(DType::kFloat16), static_cast<int>(tensorflow::DT_HALF));
  EXPECT_EQ(*TfDataType(DType::kUint4), static_cast<int>(tensorflow::DT_UINT4));
}

}  // namespace
}  // namespace portico
