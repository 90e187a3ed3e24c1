#include "node/frontend/v2_codec.h"

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.pb.h"
#include "router/request_key.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMaxBytes = 1 << 20;

class BytesOrigin final : public TensorOrigin {
 public:
  explicit BytesOrigin(std::string bytes) : TensorOrigin(bytes.size()), bytes_(std::move(bytes)) {}
  absl::string_view bytes() const { return bytes_; }

 private:
  const std::string bytes_;
};

/// Reads `request` as the frontend does.
absl::StatusOr<std::vector<NamedTensor>> Inputs(const inference::ModelInferRequest& request,
                                                uint64_t max_bytes = kMaxBytes) {
  auto origin = MakeRef<BytesOrigin>(request.SerializeAsString());
  V2InferRequestView view;
  if (absl::Status status = ReadV2InferRequest(origin->bytes(), &view); !status.ok()) return status;
  return ReadV2Inputs(view, origin, max_bytes);
}

inference::ModelInferRequest::InferInputTensor* AddInput(inference::ModelInferRequest* request, const std::string& name,
                                                         const std::string& datatype, std::vector<int64_t> shape) {
  auto* input = request->add_inputs();
  input->set_name(name);
  input->set_datatype(datatype);
  for (const int64_t extent : shape) input->add_shape(extent);
  return input;
}

template <typename T>
std::string Bytes(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A BYTES element as it travels raw.
std::string Element(const std::string& text) { return Bytes<uint32_t>({static_cast<uint32_t>(text.size())}) + text; }

std::string Message(const absl::Status& status) { return std::string(status.message()); }

std::string Joined(const SplicedMessage& message) {
  std::string out;
  size_t at = 0;
  for (const SplicedMessage::Splice& splice : message.splices) {
    out += message.bytes.substr(at, splice.at - at);
    out.append(splice.tensor.bytes().data(), splice.tensor.bytes().size());
    at = splice.at;
  }
  return out + message.bytes.substr(at);
}

TEST(V2CodecTest, RawContentsAreViewsOfTheMessage) {
  inference::ModelInferRequest request;
  AddInput(&request, "x", "FP32", {2, 2});
  AddInput(&request, "n", "INT64", {1});
  request.add_raw_input_contents(Bytes<float>({1, 2, 3, 4}));
  request.add_raw_input_contents(Bytes<int64_t>({7}));
  auto origin = MakeRef<BytesOrigin>(request.SerializeAsString());
  V2InferRequestView view;
  ASSERT_TRUE(ReadV2InferRequest(origin->bytes(), &view).ok());
  const auto inputs = ReadV2Inputs(view, origin, kMaxBytes);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  ASSERT_EQ(inputs->size(), 2u);
  EXPECT_EQ((*inputs)[0].name, "x");
  EXPECT_GE((*inputs)[0].tensor.bytes().data(), origin->bytes().data());
  EXPECT_LE((*inputs)[0].tensor.bytes().data(), origin->bytes().data() + origin->bytes().size());
  EXPECT_THAT((*inputs)[0].tensor.Aligned().data<float>(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT((*inputs)[1].tensor.Aligned().data<int64_t>(), ElementsAre(7));
}

TEST(V2CodecTest, EveryTypedContentIsRead) {
  inference::ModelInferRequest request;
  AddInput(&request, "bool", "BOOL", {2})->mutable_contents()->add_bool_contents(true);
  request.mutable_inputs(0)->mutable_contents()->add_bool_contents(false);
  AddInput(&request, "i8", "INT8", {1})->mutable_contents()->add_int_contents(-128);
  AddInput(&request, "i16", "INT16", {1})->mutable_contents()->add_int_contents(-32768);
  AddInput(&request, "i32", "INT32", {1})->mutable_contents()->add_int_contents(-5);
  AddInput(&request, "i64", "INT64", {1})->mutable_contents()->add_int64_contents(-6);
  AddInput(&request, "u8", "UINT8", {1})->mutable_contents()->add_uint_contents(255);
  AddInput(&request, "u16", "UINT16", {1})->mutable_contents()->add_uint_contents(65535);
  AddInput(&request, "u32", "UINT32", {1})->mutable_contents()->add_uint_contents(4294967295u);
  AddInput(&request, "u64", "UINT64", {1})->mutable_contents()->add_uint64_contents(~uint64_t{0});
  AddInput(&request, "f", "FP32", {1})->mutable_contents()->add_fp32_contents(1.5f);
  AddInput(&request, "d", "FP64", {1})->mutable_contents()->add_fp64_contents(2.5);
  AddInput(&request, "s", "BYTES", {1})->mutable_contents()->add_bytes_contents(std::string("a\0b", 3));
  AddInput(&request, "scalar", "INT32", {})->mutable_contents()->add_int_contents(9);
  AddInput(&request, "none", "FP32", {0, 3});
  const auto inputs = Inputs(request);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  size_t i = 0;
  const auto next = [&] { return (*inputs)[i++].tensor; };
  EXPECT_THAT(next().data<bool>(), ElementsAre(true, false));
  EXPECT_THAT(next().data<int8_t>(), ElementsAre(-128));
  EXPECT_THAT(next().data<int16_t>(), ElementsAre(-32768));
  EXPECT_THAT(next().data<int32_t>(), ElementsAre(-5));
  EXPECT_THAT(next().data<int64_t>(), ElementsAre(-6));
  EXPECT_THAT(next().data<uint8_t>(), ElementsAre(255));
  EXPECT_THAT(next().data<uint16_t>(), ElementsAre(65535));
  EXPECT_THAT(next().data<uint32_t>(), ElementsAre(4294967295u));
  EXPECT_THAT(next().data<uint64_t>(), ElementsAre(~uint64_t{0}));
  EXPECT_THAT(next().data<float>(), ElementsAre(1.5f));
  EXPECT_THAT(next().data<double>(), ElementsAre(2.5));
  EXPECT_EQ(next().StringAt(0), absl::string_view("a\0b", 3));
  EXPECT_THAT(next().data<int32_t>(), ElementsAre(9));
  EXPECT_EQ(next().num_elements(), 0u);
}

TEST(V2CodecTest, RawBytesCarryLengths) {
  inference::ModelInferRequest request;
  AddInput(&request, "s", "BYTES", {3});
  request.add_raw_input_contents(Element("one") + Element("") + Element("three"));
  const auto inputs = Inputs(request);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ((*inputs)[0].tensor.StringAt(0), "one");
  EXPECT_EQ((*inputs)[0].tensor.StringAt(1), "");
  EXPECT_EQ((*inputs)[0].tensor.StringAt(2), "three");
}

TEST(V2CodecTest, LyingLengthsAreRefused) {
  const auto refused = [](std::vector<int64_t> shape, const std::string& datatype, const std::string& raw,
                          uint64_t max_bytes = kMaxBytes) {
    inference::ModelInferRequest request;
    AddInput(&request, "s", datatype, std::move(shape));
    request.add_raw_input_contents(raw);
    const absl::Status status = Inputs(request, max_bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(Message(status), HasSubstr("input 's'"));
  };
  refused({1}, "BYTES", Bytes<uint32_t>({0xffffffff}) + "x");
  refused({2}, "BYTES", Element("only one"));
  refused({1}, "BYTES", Element("one") + "x");
  refused({1}, "BYTES", "abc");
  refused({int64_t{1} << 58}, "BYTES", Element("one"));
  refused({int64_t{1} << 62, 4}, "BYTES", Element("one"));
  refused({int64_t{1} << 62, 4}, "FP32", "");
  refused({-1}, "FP32", "");
  refused({3}, "FP32", "12345678");
  refused({1000}, "BYTES", std::string(4000, '\0'), /*max_bytes=*/4096);
}

TEST(V2CodecTest, TypedContentsMustFitTheShapeAndTheType) {
  const auto refused = [](const std::string& datatype, std::vector<int64_t> shape, const auto& fill,
                          const std::string& message) {
    inference::ModelInferRequest request;
    fill(AddInput(&request, "x", datatype, std::move(shape))->mutable_contents());
    const absl::Status status = Inputs(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(Message(status), HasSubstr(message));
  };
  using Contents = inference::InferTensorContents*;
  refused(
      "FP32", {2}, [](Contents c) { c->add_fp32_contents(1); }, "got 1 values");
  refused(
      "INT64", {1}, [](Contents c) { c->mutable_int64_contents()->Add(1), c->add_int64_contents(2); }, "over 1");
  refused(
      "FP32", {1}, [](Contents c) { c->add_fp64_contents(1); }, "fp64_contents, want them in fp32_contents");
  refused(
      "INT8", {1}, [](Contents c) { c->add_int_contents(128); }, "got value 128");
  refused(
      "UINT8", {1}, [](Contents c) { c->add_uint_contents(256); }, "got value 256");
  refused(
      "FP16", {1}, [](Contents c) { c->add_fp32_contents(1); }, "raw_input_contents");
  refused(
      "INT64", {int64_t{1} << 50}, [](Contents c) { c->add_int64_contents(2); }, "contents");
  refused(
      "BYTES", {2}, [](Contents c) { c->add_bytes_contents("a"); }, "got 1 values");
  refused(
      "COMPLEX", {1}, [](Contents c) {}, "datatype 'COMPLEX'");
}

TEST(V2CodecTest, RawAndTypedContentsExcludeEachOther) {
  inference::ModelInferRequest request;
  AddInput(&request, "x", "FP32", {1})->mutable_contents()->add_fp32_contents(1);
  AddInput(&request, "y", "FP32", {1});
  request.add_raw_input_contents(Bytes<float>({1}));
  EXPECT_THAT(Message(Inputs(request).status()), HasSubstr("got 1 of them, want 2"));
  request.add_raw_input_contents(Bytes<float>({1}));
  EXPECT_THAT(Message(Inputs(request).status()), HasSubstr("one of the two"));
  request.mutable_inputs(0)->clear_contents();
  EXPECT_TRUE(Inputs(request).ok());
}

TEST(V2CodecTest, ParametersAreRead) {
  inference::ModelInferRequest request;
  (*request.mutable_parameters())["signature"].set_string_param("other");
  (*request.mutable_parameters())["priority"].set_uint64_param(3);
  (*request.mutable_parameters())["timeout"].set_int64_param(1500);
  (*request.mutable_parameters())["sequence_id"].set_int64_param(0);
  (*request.mutable_parameters())["portico_key"].set_string_param("user 7");
  (*request.mutable_parameters())["something"].set_double_param(1);
  request.set_id("id");
  std::string bytes = request.SerializeAsString();
  V2InferRequestView view;
  ASSERT_TRUE(ReadV2InferRequest(bytes, &view).ok());
  EXPECT_EQ(view.parameters.signature, "other");
  EXPECT_EQ(view.parameters.priority, 3u);
  EXPECT_EQ(view.parameters.timeout, absl::Microseconds(1500));
  RequestContext context;
  context.priority = 1;
  ASSERT_TRUE(view.parameters.ApplyTo(Clock::Real(), &context).ok());
  EXPECT_EQ(context.priority, -1);
  EXPECT_FALSE(context.deadline.infinite());
  RequestContext by_header;
  ASSERT_TRUE(TakeRequestKey("user 7", &by_header).ok());
  EXPECT_EQ(context.key, by_header.key);
  view.parameters.key = std::string(257, 'k');
  EXPECT_TRUE(absl::IsInvalidArgument(view.parameters.ApplyTo(Clock::Real(), &context)));

  (*request.mutable_parameters())["sequence_id"].set_int64_param(5);
  bytes = request.SerializeAsString();
  V2InferRequestView refused;
  const absl::Status status = ReadV2InferRequest(bytes, &refused);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_EQ(refused.id, "id");
}

TEST(V2CodecTest, SharedMemoryAndClassificationAreRefused) {
  inference::ModelInferRequest request;
  (*AddInput(&request, "x", "FP32", {1})->mutable_parameters())["shared_memory_region"].set_string_param("r");
  EXPECT_EQ(Inputs(request).status().code(), absl::StatusCode::kUnimplemented);
  request.Clear();
  (*request.add_outputs()->mutable_parameters())["classification"].set_int64_param(3);
  EXPECT_EQ(Inputs(request).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(V2CodecTest, GarbageIsRefused) {
  inference::ModelInferRequest request;
  request.set_model_name("m");
  AddInput(&request, "x", "FP32", {2})->mutable_contents()->add_fp32_contents(1);
  (*request.mutable_parameters())["timeout"].set_int64_param(1500);
  request.add_raw_input_contents("12345678");
  const std::string bytes = request.SerializeAsString();
  // Every cut, and every byte changed, is read without harm.
  for (size_t i = 0; i < bytes.size(); ++i) {
    V2InferRequestView cut;
    const std::string prefix = bytes.substr(0, i);
    if (ReadV2InferRequest(prefix, &cut).ok()) ReadV2Inputs(cut, nullptr, kMaxBytes).IgnoreError();
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      V2InferRequestView view;
      if (ReadV2InferRequest(changed, &view).ok()) ReadV2Inputs(view, nullptr, kMaxBytes).IgnoreError();
    }
  }
  V2InferRequestView view;
  EXPECT_FALSE(ReadV2InferRequest("\xff\xff\xff", &view).ok());
  EXPECT_FALSE(ReadV2InferRequest("\x2a\x7f", &view).ok());
}

TEST(V2CodecTest, TooManyOfAnythingIsRefused) {
  inference::ModelInferRequest request;
  for (int i = 0; i < 1025; ++i) request.add_raw_input_contents("");
  V2InferRequestView view;
  std::string bytes = request.SerializeAsString();
  EXPECT_THAT(Message(ReadV2InferRequest(bytes, &view)), HasSubstr("over 1024"));
  request.Clear();
  AddInput(&request, "x", "FP32", std::vector<int64_t>(255, 1));
  bytes = request.SerializeAsString();
  V2InferRequestView deep;
  EXPECT_THAT(Message(ReadV2InferRequest(bytes, &deep)), HasSubstr("over 254 dimensions"));
}

TEST(V2CodecTest, ResponseIsWhatProtobufReads) {
  Signature signature;
  signature.outputs.resize(3);
  signature.outputs[0].name = "big";
  signature.outputs[1].name = "text";
  signature.outputs[2].name = "scalar";
  const std::vector<float> numbers(4096, 1.5f);
  const std::vector<Tensor> outputs = {Tensor::Of<float>({64, 64}, absl::Span<const float>(numbers)),
                                       Tensor::OfStrings({2}, std::vector<std::string>{"a", ""}),
                                       Tensor::Of<int64_t>({}, {-3})};
  const std::vector<int> selected = {2, 0, 1};
  auto message = WriteV2InferResponse({"m", 3, "id"}, signature, selected, outputs);
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_EQ(message->splices.size(), 1u);
  EXPECT_EQ(message->splices[0].tensor.bytes().data(), outputs[0].bytes().data());
  inference::ModelInferResponse response;
  ASSERT_TRUE(response.ParseFromString(Joined(*message)));
  EXPECT_EQ(response.model_name(), "m");
  EXPECT_EQ(response.model_version(), "3");
  EXPECT_EQ(response.id(), "id");
  ASSERT_EQ(response.outputs_size(), 3);
  EXPECT_EQ(response.outputs(0).name(), "scalar");
  EXPECT_EQ(response.outputs(0).shape_size(), 0);
  EXPECT_EQ(response.outputs(1).datatype(), "FP32");
  EXPECT_THAT(response.outputs(1).shape(), ElementsAre(64, 64));
  EXPECT_EQ(response.outputs(2).datatype(), "BYTES");
  EXPECT_EQ(response.raw_output_contents(0), Bytes<int64_t>({-3}));
  EXPECT_EQ(response.raw_output_contents(1), Bytes(numbers));
  EXPECT_EQ(response.raw_output_contents(2), Element("a") + Element(""));

  inference::ModelStreamInferResponse streamed;
  ASSERT_TRUE(streamed.ParseFromString(Joined(WrapV2StreamResponse(*std::move(message)))));
  EXPECT_EQ(streamed.infer_response().SerializeAsString(), response.SerializeAsString());
  ASSERT_TRUE(streamed.ParseFromString(Joined(WriteV2StreamError(absl::NotFoundError("gone"), "7"))));
  EXPECT_EQ(streamed.error_message(), "gone");
  EXPECT_EQ(streamed.infer_response().id(), "7");
}

TEST(V2CodecTest, OutputsWithoutADatatypeAreRefused) {
  Signature signature;
  signature.outputs.resize(1);
  signature.outputs[0].name = "z";
  const std::vector<Tensor> outputs = {Tensor::Allocate(DType::kComplex64, {1})};
  const auto message = WriteV2InferResponse({"m", 1, ""}, signature, {0}, outputs);
  EXPECT_EQ(message.status().code(), absl::StatusCode::kUnimplemented);
}

TEST(V2CodecTest, VersionsAreNumbers) {
  EXPECT_EQ(RefOfV2("m", "3")->version, 3);
  EXPECT_EQ(RefOfV2("m", "")->version, -1);
  for (const char* version : {"x", "-1", "1.0", " 1", "99999999999999999999"}) {
    EXPECT_EQ(RefOfV2("m", version).status().code(), absl::StatusCode::kInvalidArgument) << version;
  }
  EXPECT_EQ(RefOfV2("", "1").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
