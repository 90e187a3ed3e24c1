#include "base/span.h"

#include "base/deadline.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(SpanTest, TraceparentIsReadAndWritten) {
  TraceContext context;
  ASSERT_TRUE(ParseTraceparent(kHeader, &context));
  EXPECT_TRUE(context.sampled);
  EXPECT_EQ(context.parent_span_id, 0x00f067aa0ba902b7u);
  EXPECT_EQ(FormatTraceparent(context), kHeader);
  EXPECT_EQ(TraceIdHex(context), "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST(SpanTest, MalformedTraceparentIsIgnored) {
  TraceContext context;
  context.trace_id_low = 7;
  for (const char* bad : {"", "00", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                          "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"}) {
    EXPECT_FALSE(ParseTraceparent(bad, &context)) << bad;
  }
  EXPECT_EQ(context.trace_id_low, 7u);
}

TEST(SpanLogTest, KeepsABoundedNumberAndCountsTheRest) {
  SpanLog log;
  for (size_t i = 0; i < SpanLog::kMaxSpans + 3; ++i) log.Add(Span());
  EXPECT_EQ(log.dropped(), 3u);
  EXPECT_EQ(log.Take().size(), SpanLog::kMaxSpans);
  EXPECT_TRUE(log.Take().empty());
}

TEST(DeadlineTest, RemainingTimeIsNeverNegative) {
  const Deadline past = Deadline::At(Clock::Real().Now() - absl::Seconds(1));
  EXPECT_TRUE(past.Expired(Clock::Real()));
  EXPECT_EQ(past.Remaining(Clock::Real()), absl::ZeroDuration());
  EXPECT_TRUE(Deadline().infinite());
  EXPECT_FALSE(Deadline().Expired(Clock::Real()));
  EXPECT_EQ(Deadline().Sooner(past).at(), past.at());
}

}  // namespace
}  // namespace portico
