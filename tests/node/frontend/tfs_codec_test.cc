#include "node/frontend/tfs_codec.h"

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow_serving/predict.pb.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

Signature TestSignature() {
  Signature signature;
  signature.name = "serving_default";
  TensorSpec y, z;
  y.name = "y";
  z.name = "z";
  signature.outputs = {y, z};
  return signature;
}

/// The message as it goes out.
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

TEST(TfsCodecTest, RequestIsReadInPlace) {
  tensorflow::serving::PredictRequest request;
  request.mutable_model_spec()->set_name("m");
  request.mutable_model_spec()->mutable_version()->set_value(7);
  request.mutable_model_spec()->set_signature_name("sig");
  (*request.mutable_inputs())["x"].set_dtype(tensorflow::DT_FLOAT);
  request.add_output_filter("y");
  const std::string bytes = request.SerializeAsString();
  const auto view = ReadPredictRequest(bytes);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_TRUE(view->has_spec);
  EXPECT_EQ(view->spec.name, "m");
  EXPECT_EQ(view->spec.version, 7);
  EXPECT_EQ(view->spec.signature, "sig");
  ASSERT_EQ(view->inputs.size(), 1u);
  EXPECT_EQ(view->inputs[0].name, "x");
  EXPECT_THAT(view->output_filter, ElementsAre("y"));
  EXPECT_EQ(RefOfModelSpec(true, view->spec)->ToString(), "m:7");
}

TEST(TfsCodecTest, OfVersionAndLabelTheLastCounts) {
  tensorflow::serving::PredictRequest version, label;
  version.mutable_model_spec()->mutable_version()->set_value(0);
  label.mutable_model_spec()->set_version_label("stable");
  label.mutable_model_spec()->set_name("m");
  const std::string bytes = version.SerializeAsString() + label.SerializeAsString();
  const auto view = ReadPredictRequest(bytes);
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(RefOfModelSpec(true, view->spec)->ToString(), "m@stable");
}

TEST(TfsCodecTest, OfInputsWithOneNameTheLastCounts) {
  tensorflow::serving::PredictRequest first, second;
  (*first.mutable_inputs())["x"].set_dtype(tensorflow::DT_FLOAT);
  (*second.mutable_inputs())["x"].set_dtype(tensorflow::DT_INT64);
  const std::string bytes = first.SerializeAsString() + second.SerializeAsString();
  const auto view = ReadPredictRequest(bytes);
  ASSERT_TRUE(view.ok());
  ASSERT_EQ(view->inputs.size(), 1u);
  tensorflow::TensorProto tensor;
  ASSERT_TRUE(tensor.ParseFromString(std::string(view->inputs[0].tensor)));
  EXPECT_EQ(tensor.dtype(), tensorflow::DT_INT64);
}

TEST(TfsCodecTest, ModelSpecWithoutNameOrWithNegativeVersionIsRefused) {
  ModelSpecView spec;
  EXPECT_EQ(RefOfModelSpec(true, spec).status().message(), "ModelSpec has no name specified.");
  spec.name = "foo";
  spec.has_version = true;
  spec.version = -1;
  EXPECT_EQ(RefOfModelSpec(true, spec).status().message(), "Servable not found for request: Specific(foo, -1)");
}

TEST(TfsCodecTest, GarbageAndTooManyInputsAreRefused) {
  EXPECT_FALSE(ReadPredictRequest("\xff\xff\xff\xff").ok());
  EXPECT_FALSE(ReadPredictRequest("\x0a\x7f").ok());
  tensorflow::serving::PredictRequest request;
  for (int i = 0; i < 2000; ++i) (*request.mutable_inputs())[std::to_string(i)];
  EXPECT_FALSE(ReadPredictRequest(request.SerializeAsString()).ok());
}

TEST(TfsCodecTest, UnreadableTensorIsNamed) {
  tensorflow::serving::PredictRequest request;
  auto& x = (*request.mutable_inputs())["x"];
  x.set_dtype(tensorflow::DT_FLOAT);
  x.set_tensor_content("123");
  const std::string bytes = request.SerializeAsString();
  const auto inputs = ReadPredictInputs(*ReadPredictRequest(bytes), nullptr, 1 << 20);
  EXPECT_EQ(inputs.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StartsWith(inputs.status().message(), "tensor parsing error: x")) << inputs.status();
}

TEST(TfsCodecTest, SeveralFilledTensorsTogetherAreBounded) {
  tensorflow::serving::PredictRequest request;
  for (const char* name : {"a", "b", "c"}) {
    auto& tensor = (*request.mutable_inputs())[name];
    tensor.set_dtype(tensorflow::DT_FLOAT);
    tensor.mutable_tensor_shape()->add_dim()->set_size(100);
  }
  const std::string bytes = request.SerializeAsString();
  EXPECT_TRUE(ReadPredictInputs(*ReadPredictRequest(bytes), nullptr, 1200).ok());
  EXPECT_FALSE(ReadPredictInputs(*ReadPredictRequest(bytes), nullptr, 1199).ok());
}

TEST(TfsCodecTest, OutputFilterSelectsAndRefuses) {
  const Signature signature = TestSignature();
  EXPECT_THAT(*SelectOutputs(signature, {}), ElementsAre(0, 1));
  EXPECT_THAT(*SelectOutputs(signature, {"z"}), ElementsAre(1));
  EXPECT_EQ(SelectOutputs(signature, {"w"}).status().message(),
            "output tensor alias not found in signature: w Outputs expected to be in the set {y,z}.");
  EXPECT_EQ(SelectOutputs(signature, {"y", "y"}).status().message(), "duplicate output tensor alias: y");
}

TEST(TfsCodecTest, ResponseIsReadByProtobuf) {
  const Tensor outputs[] = {Tensor::Of<float>({2}, {1, 2}), Tensor::Of<int64_t>({}, {5})};
  const auto message = WritePredictResponse("m", 3, TestSignature(), {0, 1}, outputs);
  ASSERT_TRUE(message.ok());
  tensorflow::serving::PredictResponse response;
  ASSERT_TRUE(response.ParseFromString(Joined(*message)));
  EXPECT_EQ(response.model_spec().name(), "m");
  EXPECT_EQ(response.model_spec().version().value(), 3);
  EXPECT_EQ(response.model_spec().signature_name(), "serving_default");
  EXPECT_EQ(response.outputs().at("y").tensor_content().size(), 8u);
  EXPECT_EQ(response.outputs().at("z").dtype(), tensorflow::DT_INT64);
}

TEST(TfsCodecTest, LargeTensorsAreNotCopied) {
  const Tensor large = Tensor::Allocate(DType::kFloat, {1 << 20});
  const Tensor outputs[] = {large, Tensor::Of<float>({1}, {2})};
  const auto message = WritePredictResponse("m", 1, TestSignature(), {0, 1}, outputs);
  ASSERT_TRUE(message.ok());
  ASSERT_EQ(message->splices.size(), 1u);
  EXPECT_EQ(message->splices[0].tensor.bytes().data(), large.bytes().data());
  tensorflow::serving::PredictResponse response;
  ASSERT_TRUE(response.ParseFromString(Joined(*message)));
  EXPECT_EQ(response.outputs().at("y").tensor_content().size(), 4u << 20);
}

TEST(TfsCodecTest, OutputThatTensorFlowCannotExpressIsUnimplemented) {
  const Tensor outputs[] = {Tensor::Allocate(DType::kFloat4E2M1, {2}), Tensor::Of<float>({1}, {2})};
  const auto message = WritePredictResponse("m", 1, TestSignature(), {0}, outputs);
  EXPECT_EQ(message.status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace portico
