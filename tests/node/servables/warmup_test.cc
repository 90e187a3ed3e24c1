#include "node/servables/warmup.h"

#include "base/wire.h"
#include "gmock/gmock.h"
#include "node/observe/tf_record.h"
#include "tensorflow_serving/predict.pb.h"
#include "tests/node/servables/servables_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TfRecordTest, WhatIsWrittenIsReadBack) {
  std::string file;
  AppendTfRecord("first", &file);
  AppendTfRecord("", &file);
  TfRecordReader reader(file);
  EXPECT_EQ(**reader.Next(), "first");
  EXPECT_EQ(**reader.Next(), "");
  EXPECT_FALSE(reader.Next()->has_value());
}

TEST(TfRecordTest, DamageIsSeen) {
  std::string file;
  AppendTfRecord("record", &file);
  for (size_t i = 0; i < file.size(); ++i) {
    std::string damaged = file;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_EQ(TfRecordReader(damaged).Next().status().code(), absl::StatusCode::kDataLoss) << i;
    const std::string cut = file.substr(0, std::max<size_t>(i, 1));
    EXPECT_EQ(TfRecordReader(cut).Next().status().code(), absl::StatusCode::kDataLoss) << i;
  }
}

/// "123456789" has a known CRC-32C, 0xe3069283.
TEST(TfRecordTest, TheChecksumIsTheFormats) {
  std::string file;
  AppendTfRecord("123456789", &file);
  const uint32_t crc = 0xe3069283u;
  const uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  EXPECT_EQ(file.substr(file.size() - 4), std::string(reinterpret_cast<const char*>(&masked), 4));
}

class WarmUpTest : public ServablesFixture {
 protected:
  /// A PredictionLog of a Predict request with `rows` rows of `columns`.
  static std::string Log(int rows, int columns = 64) {
    tensorflow::serving::PredictRequest request;
    request.mutable_model_spec()->set_name("recorded under another name");
    tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
    x.set_dtype(tensorflow::DT_FLOAT);
    x.mutable_tensor_shape()->add_dim()->set_size(rows);
    x.mutable_tensor_shape()->add_dim()->set_size(columns);
    x.set_tensor_content(std::string(static_cast<size_t>(rows * columns) * 4, '\0'));
    std::string predict_log, log;
    WireWriter(&predict_log).Bytes(1, request.SerializeAsString());
    WireWriter(&log).Bytes(6, predict_log);
    return log;
  }
  void Record(const std::string& name, const std::vector<std::string>& logs) {
    std::string file;
    for (const std::string& log : logs) AppendTfRecord(log, &file);
    folder_.Write(name, file);
  }
};

TEST_F(WarmUpTest, RecordedRequestsAreReplayedBeforeAVersionServes) {
  Publish("m", 1);
  Record("m/1/assets.extra/tf_serving_warmup_requests", {Log(1), Log(3), "", Log(2)});
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_warmup_requests_total{model=\"m\",result=\"ok\"} 3"));
  // They ran: each was a batch.
  EXPECT_THAT(
      metrics_->Expose(),
      HasSubstr(
          "portico_batch_rows_sum{model=\"m\",segment=\"segment_0\",signature=\"serving_default\",version=\"1\"}"));
  EXPECT_THAT(metrics_->Expose(), Not(HasSubstr("portico_batch_rows_count{model=\"m\",segment=\"segment_0\",signature="
                                                "\"serving_default\",version=\"1\"} 0")));
}

TEST_F(WarmUpTest, RequestsThatFailAreCounted) {
  Publish("m", 1);
  Record("m/1/warmup/requests", {Log(1), Log(1, 63)});
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_warmup_requests_total{model=\"m\",result=\"failed\"} 1"));
}

TEST_F(WarmUpTest, RequestsThatMustSucceedKeepTheVersionOut) {
  options_.warmup.must_succeed = true;
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  const std::string away = folder_.Folder("away");
  PublishVersion(VersionModel(2), away, 2);
  Record("away/2/warmup/requests", {Log(1, 63)});
  std::filesystem::rename(away + "/2", folder_.path() + "/m/2");
  ASSERT_TRUE(Eventually([&] { return StateOf("m", 2) == Servables::State::kEnd; }));
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  const auto status = servables_->Status({.name = "m", .version = 2});
  EXPECT_THAT(std::string((*status)[0].status.message()), HasSubstr("recorded request 1: "));
}

TEST_F(WarmUpTest, NoMoreThanSoManyAreReplayed) {
  options_.warmup.max_requests = 2;
  Publish("m", 1);
  Record("m/1/warmup/requests", {Log(1), Log(1), Log(1)});
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_THAT(metrics_->Expose(), HasSubstr("result=\"ok\"} 2"));
}

TEST_F(WarmUpTest, ADamagedFileIsToldAndDoesNoHarm) {
  Publish("m", 1);
  folder_.Write("m/1/warmup/requests", "this is no TFRecord file");
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
}

}  // namespace
}  // namespace portico
