#include "cli/replay_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ReplayReportTest : public ::testing::Test {
 protected:
  static PredictionRecord RecordOf(std::vector<NamedTensor> outputs, absl::Status status = absl::OkStatus()) {
    PredictionRecord record;
    record.model = "m";
    record.inputs = {{"x", Tensor::Of<float>({1}, {1})}};
    record.outputs = std::move(outputs);
    record.status = std::move(status);
    record.start = absl::FromUnixSeconds(1);
    record.latency = absl::Milliseconds(5);
    return record;
  }
  /// Opens a log of these records.
  RecordedRequests Log(const std::vector<PredictionRecord>& records, const std::string& more = "") {
    std::string file;
    for (const PredictionRecord& record : records) AppendTfRecord(*EncodePredictionLog(record), &file);
    folder_.Write("log/one.tfrecord", file + more);
    auto requests = RecordedRequests::Open({folder_.path() + "/log"});
    EXPECT_TRUE(requests.ok()) << requests.status();
    return *std::move(requests);
  }
  /// One record against one answer.
  void Compare(const PredictionRecord& record, const absl::StatusOr<TfsClient::Prediction>& got) {
    RecordedRequests requests = Log({record});
    report_.Add(**requests.Next(), got, absl::Milliseconds(10));
  }
  static TfsClient::Prediction Answer(std::vector<NamedTensor> outputs) { return {.outputs = std::move(outputs)}; }
  static NamedTensor Y(float value) { return {"y", Tensor::Of<float>({1}, {value})}; }

  const TempFolder folder_;
  ReplayReport report_{{.tolerance = {.absolute = 0.1}, .shown = 3}};
};

TEST_F(ReplayReportTest, AnswersAreCounted) {
  RecordedRequests requests = Log(std::vector<PredictionRecord>(4, RecordOf({Y(1)})));
  report_.Add(**requests.Next(), Answer({Y(1)}), absl::Milliseconds(10));
  report_.Add(**requests.Next(), Answer({Y(1.05f)}), absl::Milliseconds(10));
  report_.Add(**requests.Next(), Answer({Y(2)}), absl::Milliseconds(10));
  report_.Add(**requests.Next(), absl::UnavailableError("gone"), absl::Milliseconds(10));
  EXPECT_EQ(report_.counts().equal, 1u);
  EXPECT_EQ(report_.counts().within, 1u);
  EXPECT_EQ(report_.counts().different, 1u);
  EXPECT_EQ(report_.counts().failed, 1u);
  const std::string text = report_.Text();
  EXPECT_THAT(text, HasSubstr("equal 1, within tolerance 1, different 1, failed 1"));
  EXPECT_THAT(text, HasSubstr("output 'y': largest difference 1, relative 1; beyond tolerance in 1 records"));
  EXPECT_THAT(text, HasSubstr("record 2 (one.tfrecord, number 2): output 'y': element 0: got 2, want 1"));
  EXPECT_THAT(text, HasSubstr("latency p50 9.9"));
  EXPECT_THAT(text, HasSubstr("inside the node that recorded: p50 4.9"));
}

TEST_F(ReplayReportTest, MissingAndSurplusOutputsDiffer) {
  Compare(RecordOf({Y(1)}), Answer({{"z", Y(1).tensor}}));
  EXPECT_THAT(report_.Text(), HasSubstr("output 'y': got none, want it"));
  EXPECT_THAT(report_.Text(), HasSubstr("output 'z'"));
  EXPECT_EQ(report_.counts().different, 1u);
}

TEST_F(ReplayReportTest, RecordedErrorsWantTheSameCode) {
  Compare(RecordOf({}, absl::InternalError("bad")), absl::InternalError("other words"));
  Compare(RecordOf({}, absl::InternalError("bad")), Answer({Y(1)}));
  EXPECT_EQ(report_.counts().equal, 1u);
  EXPECT_EQ(report_.counts().different, 1u);
  EXPECT_THAT(report_.Text(), HasSubstr("got an answer, want INTERNAL: bad"));
}

TEST_F(ReplayReportTest, ErrorsOfCircumstancesMayBecomeAnswers) {
  Compare(RecordOf({}, absl::DeadlineExceededError("late")), Answer({Y(1)}));
  EXPECT_EQ(report_.counts().uncompared, 1u);
  Compare(RecordOf({}, absl::DeadlineExceededError("late")), absl::InternalError("bad"));
  EXPECT_EQ(report_.counts().different, 1u);
}

TEST_F(ReplayReportTest, TheFirstRecordsAreShownInOrder) {
  std::vector<PredictionRecord> records(6, RecordOf({Y(1)}));
  RecordedRequests requests = Log(records);
  std::vector<RecordedRequest> read;
  for (int i = 0; i < 6; ++i) read.push_back(**requests.Next());
  for (const int i : {5, 3, 1, 4, 0, 2}) report_.Add(read[static_cast<size_t>(i)], Answer({Y(9)}), absl::Seconds(1));
  const std::string text = report_.Text();
  EXPECT_LT(text.find("record 0 "), text.find("record 1 "));
  EXPECT_THAT(text, HasSubstr("record 2 "));
  EXPECT_THAT(text, Not(HasSubstr("record 3 ")));
  EXPECT_THAT(text, HasSubstr("and 3 more"));
}

TEST_F(ReplayReportTest, LogsAreReadFileByFileAndDamageIsTold) {
  folder_.Write("log/two.tfrecord", "damaged");
  RecordedRequests requests = Log({RecordOf({Y(1)}), RecordOf({Y(2)})}, "half a record");
  EXPECT_EQ((*requests.Next())->index, 0u);
  EXPECT_EQ((*requests.Next())->index_in_file, 1u);
  const absl::Status first = requests.Next().status();
  EXPECT_EQ(first.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(first.message()), HasSubstr("one.tfrecord': record at byte"));
  EXPECT_THAT(std::string(requests.Next().status().message()), HasSubstr("two.tfrecord"));
  EXPECT_FALSE(requests.Next()->has_value());
  EXPECT_EQ(requests.progress(), 1);
  EXPECT_EQ(RecordedRequests::Open({folder_.path() + "/nowhere"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(RecordedRequests::Open({folder_.Folder("empty")}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
