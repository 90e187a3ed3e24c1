#include "node/observe/request_log.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/inference.h"
#include "node/observe/metrics.h"
#include "node/observe/tf_record.h"
#include "tests/node/servables/servables_fixture.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// All records of a folder's files.
std::vector<std::string> RecordsOf(const std::string& folder) {
  std::vector<std::string> records;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string bytes = *ReadFile(entry.path().string(), 1 << 30);
    TfRecordReader reader(bytes);
    for (auto record = reader.Next(); record.ok() && record->has_value(); record = reader.Next()) {
      records.emplace_back(**record);
    }
  }
  return records;
}

PredictionRecord RecordOf(int64_t elements) {
  PredictionRecord record;
  record.model = "m";
  record.inputs.push_back({"x", Tensor::CopyOf(DType::kUint8, {elements}, std::string(elements, 'x'))});
  return record;
}

class RequestLogTest : public ::testing::Test {
 protected:
  RequestLogTest() : metrics_(PrometheusMetrics::Create()) {
    options_.files.folder = folder_.path() + "/log";
    options_.sample = 1;
  }
  void Start() {
    auto log = RequestLog::Create(options_, clock_, *metrics_);
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }
  std::string Count(const std::string& result) const {
    const std::string head = "portico_request_log_records_total{result=\"" + result + "\"} ";
    const std::string text = metrics_->Expose();
    const size_t at = text.find(head);
    if (at == std::string::npos) return "none";
    return text.substr(at + head.size(), text.find('\n', at) - at - head.size());
  }

  const TempFolder folder_;
  const std::unique_ptr<PrometheusMetrics> metrics_;
  FakeClock clock_;
  RequestLog::Options options_;
  std::unique_ptr<RequestLog> log_;
};

TEST_F(RequestLogTest, RecordsAreWritten) {
  Start();
  for (int i = 0; i < 10; ++i) log_->Add(RecordOf(i));
  log_->Flush();
  const std::vector<std::string> records = RecordsOf(options_.files.folder);
  ASSERT_EQ(records.size(), 10u);
  EXPECT_TRUE(ReadPredictionLog(records[9])->has_request);
  EXPECT_EQ(Count("written"), "10");
  EXPECT_THAT(metrics_->Expose(), Not(HasSubstr("portico_request_log_bytes 0\n")));
}

TEST_F(RequestLogTest, WhatIsQueuedIsWrittenBeforeItStops) {
  Start();
  for (int i = 0; i < 100; ++i) log_->Add(RecordOf(1000));
  log_->Stop();
  log_->Add(RecordOf(1));
  EXPECT_EQ(RecordsOf(options_.files.folder).size(), 100u);
  EXPECT_EQ(Count("queue_full"), "1");
}

TEST_F(RequestLogTest, SharesOfModelsGoBeforeTheNodes) {
  options_.sample = 0.25;
  Start();
  const auto share = [&](const std::string& model) {
    int sampled = 0;
    for (int i = 0; i < 20'000; ++i) sampled += log_->Sample(model) ? 1 : 0;
    return sampled / 20'000.0;
  };
  EXPECT_NEAR(share("m"), 0.25, 0.03);
  log_->SetShares({{"all", 1.0}, {"none", 0.0}, {"half", 0.5}});
  EXPECT_EQ(share("all"), 1);
  EXPECT_EQ(share("none"), 0);
  EXPECT_NEAR(share("half"), 0.5, 0.03);
  EXPECT_NEAR(share("m"), 0.25, 0.03);
  log_->SetShares({});
  EXPECT_NEAR(share("all"), 0.25, 0.03);
}

TEST_F(RequestLogTest, AFullQueueDropsAndCounts) {
  options_.queue_bytes = 1000;
  Start();
  log_->Add(RecordOf(1001));
  log_->Flush();
  EXPECT_EQ(Count("queue_full"), "1");
  EXPECT_EQ(Count("written"), "0");
  log_->Add(RecordOf(1000));
  log_->Flush();
  // What was written makes room again.
  log_->Add(RecordOf(1000));
  log_->Flush();
  EXPECT_EQ(Count("written"), "2");
}

TEST_F(RequestLogTest, WhatNoFileHoldsIsCounted) {
  options_.files.file_bytes = 4096;
  Start();
  log_->Add(RecordOf(5000));
  log_->Add(RecordOf(4090));
  log_->Flush();
  EXPECT_EQ(Count("too_large"), "2");
}

TEST_F(RequestLogTest, AFolderThatCannotBeWrittenIsTriedAgainAfterAWhile) {
  folder_.Write("log", "no folder");
  Start();
  log_->Add(RecordOf(1));
  log_->Flush();
  EXPECT_EQ(Count("unwritable"), "1");
  std::filesystem::remove(folder_.path() + "/log");
  // Not at once.
  log_->Add(RecordOf(1));
  log_->Flush();
  EXPECT_EQ(Count("unwritable"), "2");
  clock_.Advance(options_.retry_delay);
  log_->Add(RecordOf(1));
  log_->Flush();
  EXPECT_EQ(Count("written"), "1");
  EXPECT_EQ(RecordsOf(options_.files.folder).size(), 1u);
}

TEST_F(RequestLogTest, OptionsThatMakeNoSenseAreRefused) {
  const auto refused = [&](auto change) {
    RequestLog::Options options = options_;
    change(&options);
    return std::string(RequestLog::Create(options, clock_, *metrics_).status().message());
  };
  EXPECT_THAT(refused([](auto* o) { o->sample = 1.5; }), HasSubstr("sample: got 1.5"));
  EXPECT_THAT(refused([](auto* o) { o->files.folder = ""; }), HasSubstr("folder"));
  EXPECT_THAT(refused([](auto* o) { o->files.file_bytes = 1; }), HasSubstr("got 1, want at least 4096"));
  EXPECT_THAT(refused([](auto* o) { o->files.total_bytes = 5000; }), HasSubstr("want at least one file's"));
}

/// Requests through Inference, with a real model, and its log put beside a version as requests for warm-up.
class RecordedRequestsTest : public ServablesFixture {
 protected:
  RecordedRequestsTest() {
    log_options_.files.folder = folder_.path() + "/log";
    log_options_.sample = 1;
    log_options_.failures = true;
  }
  void SetUp() override {
    Publish("m", 1);
    ASSERT_TRUE(Configure({Model("m")}).ok());
    log_ = *RequestLog::Create(log_options_, Clock::Real(), *metrics_);
    Inference::Options options;
    options.request_log = log_.get();
    inference_ = std::make_unique<Inference>(options, *servables_, Clock::Real(), *metrics_);
  }
  absl::StatusOr<std::vector<Tensor>> Run(int64_t rows, Deadline deadline = {}) {
    Held servable = *servables_->Resolve({.name = "m"});
    auto context = MakeRef<RequestContext>();
    context->deadline = deadline;
    std::promise<absl::StatusOr<std::vector<Tensor>>> done;
    inference_->Run(RequestApi::kTfsGrpc, servable, *servable->FindSignature(""), context,
                    {Tensor::CopyOf(DType::kFloat, {rows, 64}, std::string(static_cast<size_t>(rows) * 256, '\0'))},
                    [&](absl::StatusOr<std::vector<Tensor>> outputs) { done.set_value(std::move(outputs)); });
    auto outputs = done.get_future().get();
    // It is recorded once it has left.
    EXPECT_TRUE(Eventually([&] { return inference_->in_flight() == 0; }));
    log_->Flush();
    return outputs;
  }

  RequestLog::Options log_options_;
  std::unique_ptr<RequestLog> log_;
  std::unique_ptr<Inference> inference_;
};

TEST_F(RecordedRequestsTest, ARequestIsRecordedWithItsAnswer) {
  const auto outputs = Run(3);
  ASSERT_TRUE(outputs.ok());
  const std::vector<std::string> records = RecordsOf(log_options_.files.folder);
  ASSERT_EQ(records.size(), 1u);
  const auto view = ReadPredictionLog(records[0]);
  EXPECT_GT(view->start, absl::Now() - absl::Minutes(5));
  const auto answer = ReadPredictResponse(view->response, nullptr, 1 << 20);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->version, 1);
  ASSERT_EQ(answer->outputs.size(), 1u);
  EXPECT_EQ(answer->outputs[0].name, "y");
  EXPECT_EQ(answer->outputs[0].tensor.bytes(), (*outputs)[0].bytes());
}

TEST_F(RecordedRequestsTest, RecordsHoldNoVersionBack) {
  const std::weak_ptr<const Servable> one = *servables_->Resolve({.name = "m"});
  ASSERT_TRUE(Run(1).ok());
  Publish("m", 2);
  EXPECT_TRUE(Eventually([&] { return one.expired(); }));
}

TEST_F(RecordedRequestsTest, TheFileIsAWarmUpFile) {
  ASSERT_TRUE(Run(1).ok());
  ASSERT_TRUE(Run(5).ok());
  // Failed: recorded with its error, and left out by warm-up.
  EXPECT_EQ(Run(1, Deadline::At(absl::InfinitePast())).status().code(), absl::StatusCode::kDeadlineExceeded);
  log_->Stop();
  const auto file = std::filesystem::directory_iterator(log_options_.files.folder)->path();
  EXPECT_EQ(RecordsOf(log_options_.files.folder).size(), 3u);

  const std::string away = folder_.Folder("away");
  PublishVersion(VersionModel(2), away, 2);
  const std::string extra = folder_.Folder("away/2/assets.extra");
  std::filesystem::copy_file(file, extra + "/tf_serving_warmup_requests");
  std::filesystem::rename(away + "/2", folder_.path() + "/m/2");
  ASSERT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_warmup_requests_total{model=\"m\",result=\"ok\"} 2"));
  EXPECT_THAT(metrics_->Expose(), Not(HasSubstr("portico_warmup_requests_total{model=\"m\",result=\"failed\"}")));
}

}  // namespace
}  // namespace portico
