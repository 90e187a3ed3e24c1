#include "transport/wire_span.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

/// What arrives at the caller.
std::vector<Span> SentOver(const std::vector<Span>& spans) {
  PeerHeader header;
  header.kind = PeerHeader::Kind::kReply;
  WireSpans wire;
  wire.Put(spans, "hub/0", &header);
  std::string bytes;
  EncodeHeader(header, &bytes);
  PeerHeader received;
  const absl::Status status = DecodeHeader(bytes, PeerLimits(), &received);
  EXPECT_TRUE(status.ok()) << status;
  std::vector<Span> result;
  for (const WireSpan& span : received.spans) result.push_back(SpanOf(span));
  return result;
}

TEST(WireSpanTest, SpansArriveAsTheyWereSent) {
  Span batch;
  batch.span_id = 7;
  batch.parent_span_id = 8;
  batch.name = "batch";
  batch.start = absl::FromUnixMicros(1'700'000'000'000'123);
  batch.duration = absl::Nanoseconds(1234);
  batch.error = "CANCELLED";
  batch.attributes = {{"rows", 12}, {"off", -3}, {"shared_with", "abc"}};
  Span inner;
  inner.name = "queue";
  inner.node = "deep/1";
  const std::vector<Span> spans = SentOver({batch, inner});
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].span_id, 7u);
  EXPECT_EQ(spans[0].parent_span_id, 8u);
  EXPECT_EQ(spans[0].name, "batch");
  EXPECT_EQ(spans[0].node, "hub/0");
  EXPECT_EQ(spans[0].start, batch.start);
  EXPECT_EQ(spans[0].duration, batch.duration);
  EXPECT_EQ(spans[0].error, "CANCELLED");
  ASSERT_EQ(spans[0].attributes.size(), 3u);
  EXPECT_EQ(*spans[0].Number("rows"), 12);
  EXPECT_EQ(*spans[0].Number("off"), -3);
  EXPECT_EQ(*spans[0].Text("shared_with"), "abc");
  EXPECT_EQ(spans[0].Number("shared_with"), nullptr);
  EXPECT_EQ(spans[1].node, "deep/1");
  EXPECT_TRUE(spans[1].attributes.empty());
}

TEST(WireSpanTest, MoreThanFitsIsLeftOutSoThatTheReplyGoes) {
  std::vector<Span> spans(SpanLog::kMaxSpans);
  for (Span& span : spans) span.attributes = {{"shared_with", std::string(1000, 'x')}};
  const size_t arrived = SentOver(spans).size();
  EXPECT_GT(arrived, 200u);
  EXPECT_LT(arrived * 1000, WireSpans::kMaxBytes);
}

TEST(WireSpanTest, AttributesThatCannotBeReadAreLeftOut) {
  Span span;
  for (int i = 0; i < 40; ++i) span.attributes.push_back({absl::StrCat("a", i), i});
  EXPECT_EQ(SentOver({span})[0].attributes.size(), 16u);
  span.attributes = {{"", 1}, {"good", 2}};
  EXPECT_EQ(SentOver({span})[0].attributes.size(), 1u);
  WireSpan wire;
  for (const char* nonsense : {"\x0a", "\x0a\x05", "\x0a\x02\x0a\x01", "\x08\x01", "nonsense", "\x0a\x03\x0a\x01n"}) {
    wire.attributes = nonsense;
    EXPECT_TRUE(SpanOf(wire).attributes.empty()) << nonsense;
  }
}

TEST(WireSpanTest, DurationsBeyondAnyClockAreCut) {
  WireSpan wire;
  wire.duration_ns = ~uint64_t{0};
  EXPECT_GT(SpanOf(wire).duration, absl::Hours(24 * 365 * 200));
}

}  // namespace
}  // namespace portico
