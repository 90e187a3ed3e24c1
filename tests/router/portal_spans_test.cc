#include "router/portal_spans.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr uint64_t kPortal = 77;

class PortalSpansTest : public ::testing::Test {
 protected:
  PortalSpansTest() {
    portal_.span_id = kPortal;
    portal_.name = "portal hub/enc";
    portal_.start = absl::FromUnixMicros(1'000'000);
    portal_.duration = absl::Microseconds(500);
  }

  static WireSpan Of(uint64_t id, uint64_t parent, int64_t start_us, int64_t us) {
    return {.span_id = id,
            .parent_span_id = parent,
            .name = "span",
            .node = "hub/0",
            .start_us = start_us,
            .duration_ns = static_cast<uint64_t>(us) * 1000};
  }
  std::vector<Span> Added(const std::vector<WireSpan>& from_peer) {
    SpanLog log;
    AddPortalSpans(portal_, from_peer, log);
    return log.Take();
  }
  int64_t StartUs(const Span& span) { return absl::ToInt64Microseconds(span.start - portal_.start); }

  Span portal_;
};

TEST_F(PortalSpansTest, TimesThatLieWithinTheCallAreBelieved) {
  const auto spans = Added({Of(1, kPortal, 1'000'300, 100), Of(2, 1, 1'000'310, 50)});
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].name, "portal hub/enc");
  EXPECT_EQ(*spans[0].Number("wire_us"), 400);
  EXPECT_EQ(StartUs(spans[1]), 300);
  EXPECT_EQ(StartUs(spans[2]), 310);
  EXPECT_EQ(spans[1].Number("clock_skew_us"), nullptr);
}

TEST_F(PortalSpansTest, APeerWhoseClockIsAheadIsMovedToTheMiddleAndSaysSo) {
  const auto spans = Added({Of(1, kPortal, 61'000'000, 100), Of(2, 1, 61'000'010, 50)});
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(*spans[0].Number("wire_us"), 400) << "of durations only";
  EXPECT_EQ(StartUs(spans[1]), 200);
  EXPECT_EQ(StartUs(spans[2]), 210) << "moved with it";
  EXPECT_EQ(*spans[1].Number("clock_skew_us"), 61'000'000 - 1'000'200);
  EXPECT_EQ(spans[2].Number("clock_skew_us"), nullptr) << "said once";
}

TEST_F(PortalSpansTest, APeerThatEndsAfterTheReplyIsMovedToo) {
  const auto spans = Added({Of(1, kPortal, 1'000'450, 100)});
  EXPECT_EQ(StartUs(spans[1]), 200);
  EXPECT_EQ(*spans[1].Number("clock_skew_us"), 250);
}

TEST_F(PortalSpansTest, APeerThatSaysItTookLongerThanTheCallBeginsWithIt) {
  const auto spans = Added({Of(1, kPortal, 5'000'000, 900)});
  EXPECT_EQ(*spans[0].Number("wire_us"), 0);
  EXPECT_EQ(StartUs(spans[1]), 0);
}

TEST_F(PortalSpansTest, WithoutTheTopmostSpanOfThePeerTheWireIsNotKnown) {
  EXPECT_EQ(Added({})[0].Number("wire_us"), nullptr);
  const auto spans = Added({Of(2, 1, 9'000'000, 100)});
  EXPECT_EQ(spans[0].Number("wire_us"), nullptr);
  EXPECT_EQ(StartUs(spans[1]), 200);
}

TEST_F(PortalSpansTest, TimesAtTheEndOfTimeDoNotOverflow) {
  const auto spans =
      Added({{.span_id = 1, .parent_span_id = kPortal, .start_us = INT64_MAX, .duration_ns = ~uint64_t{0}},
             {.span_id = 2, .parent_span_id = 1, .start_us = INT64_MIN}});
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(*spans[0].Number("wire_us"), 0);
}

}  // namespace
}  // namespace portico
