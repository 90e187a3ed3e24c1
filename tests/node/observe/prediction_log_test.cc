#include "node/observe/prediction_log.h"

#include "base/wire.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/frontend/tfs_codec.h"
#include "tensorflow_serving/predict.pb.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PredictionRecord Sample() {
  PredictionRecord record;
  record.model = "digit";
  record.version = 7;
  record.signature = "serving_default";
  record.inputs.push_back({"x", Tensor::Of<float>({2, 2}, {1, -2, 3, 4})});
  record.inputs.push_back({"words", Tensor::OfStrings({2}, std::vector<std::string>{"a", ""})});
  record.outputs.push_back({"y", Tensor::Of<int64_t>({2}, {5, -6})});
  record.outputs.push_back({"big", Tensor::CopyOf(DType::kUint8, {100'000}, std::string(100'000, 'b'))});
  record.start = absl::FromUnixMicros(1'700'000'000'123'456);
  record.latency = absl::Microseconds(789);
  return record;
}

/// Field `field` of a message, by protobuf's rules.
absl::string_view FieldOf(absl::string_view message, uint32_t field) {
  absl::string_view found;
  for (WireReader in(message); in.Next();) {
    if (in.field() == field) found = in.Bytes();
  }
  return found;
}

TEST(PredictionLogTest, GeneratedClassesReadWhatIsWritten) {
  const auto log = EncodePredictionLog(Sample());
  ASSERT_TRUE(log.ok()) << log.status();
  const absl::string_view predict_log = FieldOf(*log, 6);
  tensorflow::serving::PredictRequest request;
  ASSERT_TRUE(request.ParseFromString(std::string(FieldOf(predict_log, 1))));
  EXPECT_EQ(request.model_spec().name(), "digit");
  EXPECT_FALSE(request.model_spec().has_version());
  EXPECT_EQ(request.model_spec().signature_name(), "serving_default");
  EXPECT_EQ(request.inputs().at("x").tensor_shape().dim(1).size(), 2);
  EXPECT_EQ(request.inputs().at("x").tensor_content().size(), 16u);
  EXPECT_THAT(request.inputs().at("words").string_val(), ElementsAre("a", ""));
  tensorflow::serving::PredictResponse response;
  ASSERT_TRUE(response.ParseFromString(std::string(FieldOf(predict_log, 2))));
  EXPECT_EQ(response.model_spec().version().value(), 7);
  EXPECT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs().at("big").tensor_content(), std::string(100'000, 'b'));
  tensorflow::serving::ModelSpec spec;
  ASSERT_TRUE(spec.ParseFromString(std::string(FieldOf(FieldOf(*log, 1), 1))));
  EXPECT_EQ(spec.version().value(), 7);
}

TEST(PredictionLogTest, WhatIsWrittenIsReadBack) {
  const PredictionRecord sample = Sample();
  const std::string log = *EncodePredictionLog(sample);
  const auto view = ReadPredictionLog(log);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_TRUE(view->has_request && view->has_response);
  EXPECT_EQ(view->code, absl::StatusCode::kOk);
  EXPECT_EQ(view->start, sample.start);
  EXPECT_EQ(view->latency, sample.latency);
  const auto request = ReadPredictRequest(view->request);
  ASSERT_TRUE(request.ok());
  const auto inputs = ReadPredictInputs(*request, nullptr, 1 << 20);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ((*inputs)[0].tensor.bytes(), sample.inputs[0].tensor.bytes());
  EXPECT_EQ((*inputs)[1].tensor.bytes(), sample.inputs[1].tensor.bytes());
  const auto answer = ReadPredictResponse(view->response, nullptr, 1 << 20);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->version, 7);
  ASSERT_EQ(answer->outputs.size(), 2u);
  EXPECT_EQ(answer->outputs[0].name, "big");
  EXPECT_EQ(answer->outputs[1].tensor.shape(), Shape({2}));
  EXPECT_EQ(answer->outputs[1].tensor.bytes(), sample.outputs[0].tensor.bytes());
}

TEST(PredictionLogTest, AnErrorHasItsCodeAndNoResponse) {
  PredictionRecord record = Sample();
  record.outputs.clear();
  record.status = absl::ResourceExhaustedError("too much");
  const std::string log = *EncodePredictionLog(record);
  const auto view = ReadPredictionLog(log);
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(view->has_request);
  EXPECT_FALSE(view->has_response);
  EXPECT_EQ(view->code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(view->message, "too much");
}

TEST(PredictionLogTest, LogsOfOthersHaveNoTime) {
  std::string metadata, predict_log, log;
  AppendModelSpec(1, "m", 3, "", &metadata);
  WireWriter(&predict_log).Bytes(1, "");
  WireWriter writer(&log);
  writer.Bytes(1, metadata);
  writer.Bytes(6, predict_log);
  auto view = ReadPredictionLog(log);
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(view->has_request);
  EXPECT_EQ(view->start, absl::InfinitePast());
  std::string classify;
  WireWriter(&classify).Bytes(2, "x");
  view = ReadPredictionLog(classify);
  ASSERT_TRUE(view.ok());
  EXPECT_FALSE(view->has_request);
}

TEST(PredictionLogTest, EveryCutIsRefusedOrRead) {
  const std::string log = *EncodePredictionLog(Sample());
  for (size_t cut = 1; cut < 300; ++cut) {
    const auto view = ReadPredictionLog(absl::string_view(log).substr(0, cut));
    if (view.ok()) {
      // Between its two fields.
      EXPECT_FALSE(view->has_request) << cut;
    }
  }
  EXPECT_EQ(ReadPredictionLog("\xff").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PredictionLogTest, ResponsesAreBounded) {
  const std::string log = *EncodePredictionLog(Sample());
  const absl::string_view response = ReadPredictionLog(log)->response;
  EXPECT_EQ(ReadPredictResponse(response.substr(0, 50), nullptr, 1 << 20).status().code(),
            absl::StatusCode::kInvalidArgument);
  // An int64 value for each of 2^40 elements that the shape claims.
  std::string dim, shape, tensor, entry, claims;
  WireWriter(&dim).Int(1, int64_t{1} << 40);
  WireWriter(&shape).Bytes(2, dim);
  WireWriter tensor_writer(&tensor);
  tensor_writer.Int(1, 9);
  tensor_writer.Bytes(2, shape);
  tensor_writer.Bytes(10, "\x01");
  WireWriter entry_writer(&entry);
  entry_writer.Bytes(1, "y");
  entry_writer.Bytes(2, tensor);
  WireWriter(&claims).Bytes(1, entry);
  const absl::Status status = ReadPredictResponse(claims, nullptr, 1 << 20).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("output 'y'"));
  std::string many;
  for (int i = 0; i < 1025; ++i) {
    std::string one;
    const std::string name = std::to_string(i);
    WireWriter one_writer(&one);
    one_writer.Bytes(1, name);
    one_writer.Bytes(2, absl::string_view("\x08\x01", 2));
    WireWriter(&many).Bytes(1, one);
  }
  EXPECT_THAT(std::string(ReadPredictResponse(many, nullptr, 1 << 20).status().message()), HasSubstr("over 1024"));
}

TEST(PredictionLogTest, DtypesThatTensorFlowLacksAreRefused) {
  PredictionRecord record = Sample();
  record.inputs[0].tensor = Tensor::CopyOf(DType::kFloat4E2M1, {2}, "x");
  EXPECT_EQ(EncodePredictionLog(record).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace portico
