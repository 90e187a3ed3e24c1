#include "node/observe/otlp_exporter.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/observe/metrics.h"
#include "tests/node/observe/otlp_collector.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

/// Of so many spans, "root", "child 1", …
std::shared_ptr<const Trace> MakeTrace(uint64_t id, size_t spans) {
  auto trace = std::make_shared<Trace>();
  trace->context = {.trace_id_low = id, .parent_span_id = id << 16, .sampled = true};
  for (size_t i = 0; i < spans; ++i) {
    Span& span = trace->spans.emplace_back();
    span.span_id = (id << 16) + i;
    span.parent_span_id = i == 0 ? 0 : id << 16;
    span.name = i == 0 ? "root" : absl::StrCat("child ", i);
    span.node = i == 0 ? "apps/0" : "hub/0";
    span.start = absl::FromUnixMicros(5);
    span.duration = absl::Nanoseconds(7);
  }
  return trace;
}

class OtlpExporterTest : public ::testing::Test {
 protected:
  OtlpExporterTest() {
    options_.interval = absl::Milliseconds(20);
    options_.retry_delay = absl::Milliseconds(10);
    options_.longest_retry_delay = absl::Milliseconds(20);
  }

  void Start(const std::string& endpoint) {
    options_.endpoint = endpoint;
    auto exporter = OtlpExporter::Create(options_, *metrics_);
    ASSERT_TRUE(exporter.ok()) << exporter.status();
    exporter_ = *std::move(exporter);
  }

  /// An address where nobody listens now.
  static std::string FreeAddress() { return OtlpCollector().address(); }

  OtlpExporter::Options options_;
  const std::unique_ptr<PrometheusMetrics> metrics_ = PrometheusMetrics::Create();
  std::unique_ptr<OtlpExporter> exporter_;
};

TEST_F(OtlpExporterTest, SpansArriveAsTheyWereRecorded) {
  OtlpCollector collector;
  Start(collector.endpoint());
  exporter_->Add(MakeTrace(1, 2));
  const std::vector<OtlpCollector::Received> spans = collector.Await(2);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "root");
  EXPECT_EQ(spans[0].node, "apps/0");
  EXPECT_EQ(spans[0].trace_id, "00000000000000000000000000000001");
  EXPECT_EQ(spans[0].span_id, "0000000000010000");
  EXPECT_EQ(spans[0].parent_span_id, "");
  EXPECT_EQ(spans[0].start_ns, 5000);
  EXPECT_EQ(spans[0].end_ns, 5007);
  EXPECT_EQ(spans[1].name, "child 1");
  EXPECT_EQ(spans[1].node, "hub/0");
  EXPECT_EQ(spans[1].parent_span_id, "0000000000010000");
  exporter_->Stop();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_exported_total 2\n"));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 0\n"));
}

TEST_F(OtlpExporterTest, StopSendsWhatWaitsInBatchesOfWholeTraces) {
  OtlpCollector collector;
  options_.interval = absl::Hours(1);
  options_.max_batch_spans = 4;
  Start(collector.endpoint());
  // 3 + 3 > 4, 9 > 4, 1 + 1: four batches.
  for (const size_t spans : {3, 3, 9, 1, 1}) exporter_->Add(MakeTrace(spans, spans));
  exporter_->Stop();
  EXPECT_EQ(collector.Await(17).size(), 17u);
  EXPECT_EQ(collector.requests(), 4);
}

TEST_F(OtlpExporterTest, WhatDoesNotFitIsDroppedAndCountedAndNobodyWaits) {
  OtlpCollector collector;
  collector.AnswerWith(0);
  options_.max_queued_spans = 10;
  options_.max_batch_spans = 1;
  options_.timeout = absl::Milliseconds(300);
  Start(collector.endpoint());
  exporter_->Add(MakeTrace(1, 1));
  collector.AwaitRequests(1);
  const absl::Time start = absl::Now();
  for (int i = 0; i < 1000; ++i) exporter_->Add(MakeTrace(2, 5));
  // Far less than one attempt; generous for a busy machine.
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 4990\n"));
  exporter_->Stop();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 5001\n"));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_exported_total 0\n"));
}

TEST_F(OtlpExporterTest, ACollectorThatComesLaterGetsWhatWaitedAndEachChangeIsLoggedOnce) {
  const std::string address = FreeAddress();
  ::testing::internal::CaptureStderr();
  Start(absl::StrCat("http://", address, "/otel/"));
  exporter_->Stop();
  Start(absl::StrCat("http://", address));
  exporter_->Add(MakeTrace(1, 1));
  absl::SleepFor(absl::Milliseconds(200));  // Some attempts fail.
  OtlpCollector collector(address);
  collector.Await(1);
  exporter_->Add(MakeTrace(2, 1));
  EXPECT_EQ(collector.Await(2).size(), 2u);
  exporter_->Stop();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, ContainsRegex("W OTLP endpoint 'http://[0-9.:]+': connect to [0-9.:]+: Connection refused"));
  EXPECT_THAT(log, ContainsRegex("I OTLP endpoint 'http://[0-9.:]+': takes spans again"));
  EXPECT_THAT(log, Not(ContainsRegex("refused.*\n.*refused"))) << log;
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 0\n"));
}

TEST_F(OtlpExporterTest, WhatIsRefusedIsDroppedAndWhatIsNotTakenNowIsSentAgain) {
  OtlpCollector collector;
  collector.AnswerWith(400);
  options_.max_batch_spans = 1;
  Start(collector.endpoint());
  exporter_->Add(MakeTrace(1, 1));
  collector.AwaitRequests(1);
  collector.AnswerWith(503);
  exporter_->Add(MakeTrace(2, 1));
  collector.AwaitRequests(3);
  collector.AnswerWith(200);
  const std::vector<OtlpCollector::Received> spans = collector.Await(1);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].trace_id, "00000000000000000000000000000002");
  exporter_->Stop();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 1\n"));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_exported_total 1\n"));
}

TEST_F(OtlpExporterTest, AtTheEndACollectorThatIsAwayHoldsNobodyUp) {
  Start(absl::StrCat("http://", FreeAddress()));
  options_.retry_delay = absl::Hours(1);
  for (int i = 0; i < 3; ++i) exporter_->Add(MakeTrace(1, 2));
  exporter_->Stop();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 6\n"));
  exporter_->Add(MakeTrace(1, 2));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_trace_spans_dropped_total 8\n"));
}

TEST(HttpTargetTest, PiecesOfAUrl) {
  const auto parsed = [](const char* url) {
    const auto target = HttpTarget::Parse(url);
    return target.ok() ? absl::StrCat(target->host, " ", target->port, " ", target->path)
                       : std::string(target.status().message());
  };
  EXPECT_EQ(parsed("http://collector:4318"), "collector 4318 ");
  EXPECT_EQ(parsed("http://collector"), "collector 80 ");
  EXPECT_EQ(parsed("http://10.0.0.1:1/a/b//"), "10.0.0.1 1 /a/b");
  EXPECT_EQ(parsed("http://[::1]:4318/x"), "::1 4318 /x");
  EXPECT_EQ(parsed("http://[::1]"), "::1 80 ");
  for (const char* url : {"", "collector:4318", "https://h:1", "http://", "http://:1", "http://h:0", "http://h:99999",
                          "http://h:x", "http://h /", "http://h\r\n", "http://u@h", "http://[::1:4318"}) {
    EXPECT_THAT(parsed(url), HasSubstr("want http://HOST:PORT")) << url;
  }
}

}  // namespace
}  // namespace portico
