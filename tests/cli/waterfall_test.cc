#include "cli/waterfall.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/terminal_text.h"
#include "cli/time_shares.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string SpanJson(const char* name, const char* node, const char* id, const char* parent, int start, double took,
                     const char* more = "") {
  return absl::StrCat("{\"name\":\"", name, "\",\"node\":\"", node, "\",\"span_id\":\"", id, "\",\"parent_span_id\":\"",
                      parent, "\",\"start_us\":", start, ",\"duration_us\":", took, more, "}");
}

std::string Trace(const std::vector<std::string>& spans) {
  return absl::StrCat("{\"traces\":[{\"trace_id\":\"1\",\"sampled\":true,\"slow\":false,\"spans\":[",
                      absl::StrJoin(spans, ","), "]}]}");
}

std::vector<std::string> Lines(const std::string& json, WaterfallStyle style = {.columns = 95}) {
  const auto text = Waterfall(json, style);
  EXPECT_TRUE(text.ok()) << text.status();
  return absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty());
}

/// A request of 1 ms: a portal from 200 to 700, of which the peer had 100, and a run of its own.
std::string Request() {
  return Trace(
      {SpanJson("model m", "hub/0", "c", "b", 1400, 100, R"(,"attributes":{"clock_skew_us":-2500})"),
       SpanJson("queue", "hub/0", "d", "c", 1400, 20),
       SpanJson("batch of 2 rows, 2 calls", "hub/0", "e", "c", 1420, 80,
                R"(,"attributes":{"rows":2,"calls":2,"products":"digit 1 row, parity 1 row","shared_with":"aa,bb"})"),
       SpanJson("request", "apps/0", "a", "9", 1000, 1000),
       SpanJson("portal m", "apps/0", "b", "a", 1200, 500, R"(,"attributes":{"wire_us":400,"endpoint":"x://y"})"),
       SpanJson("batch of 1 rows, 1 calls", "apps/0", "f", "a", 1800, 200,
                R"(,"attributes":{"rows":1,"calls":1,"products":"digit 1 row"})")});
}

TEST(WaterfallTest, SpansStandBelowWhatCausedThemWithABarThatSaysWhatTheTimeWas) {
  const std::vector<std::string> lines = Lines(Request());
  ASSERT_EQ(lines.size(), 11u) << absl::StrJoin(lines, "\n");
  EXPECT_THAT(lines[0], ContainsRegex("^ +at µs +took µs  node    what$"));
  EXPECT_THAT(lines[1], ContainsRegex("^ +0.0 +1000.0  apps/0  request +(─)+$"));
  EXPECT_THAT(lines[2], ContainsRegex("^ +200.0 +500.0  apps/0    portal m, wire 400.0 +(┄)+(─)+(┄)+$"));
  EXPECT_THAT(lines[3], ContainsRegex("^ +400.0 +100.0  hub/0       model m \\[1\\] +(─)+$"));
  EXPECT_THAT(lines[4], ContainsRegex("^ +400.0 +20.0  hub/0         queue +░$"));
  EXPECT_THAT(lines[5], ContainsRegex("^ +420.0 +80.0  hub/0         batch of 2 rows, 2 calls \\[2\\] \\[3\\] +(█)+$"));
  EXPECT_THAT(lines[6], ContainsRegex("^ +800.0 +200.0  apps/0    batch of 1 rows, 1 calls +(█)+$"));
  EXPECT_EQ(
      lines[7],
      "1000.0 µs = █ batch 280.0 µs (28 %) + ░ queue 20.0 µs (2 %) + ┄ wire 400.0 µs (40 %) + ─ rest 300.0 µs (30 %)");
  EXPECT_EQ(
      lines[8],
      "[1] the clock of hub/0 seems 2500.0 µs behind: its spans are as long as it says, put into the middle of the "
      "call");
  EXPECT_EQ(lines[9], "[2] of products digit 1 row, parity 1 row");
  EXPECT_EQ(lines[10], "[3] shared with traces aa bb");
}

TEST(WaterfallTest, BarsFillTheTerminalAndBeginWhereAllDo) {
  for (const size_t columns : {60, 95, 200}) {
    const std::vector<std::string> lines = Lines(Request(), {.columns = columns});
    size_t longest = 0;
    for (size_t i = 1; i < 7; ++i) longest = std::max(longest, ColumnsOf(lines[i]));
    EXPECT_LE(longest, std::max<size_t>(columns, 72));
    EXPECT_EQ(ColumnsOf(lines[1]), longest) << "the request's bar ends at the edge";
    if (columns >= 95) {
      EXPECT_EQ(longest, columns);
    }
  }
}

TEST(WaterfallTest, LongNamesAreCutSoThatBarsKeepTheirRoom) {
  const std::string name(300, 'x');
  const std::vector<std::string> lines = Lines(Trace({SpanJson(name.c_str(), "n", "a", "9", 0, 1000)}));
  EXPECT_EQ(ColumnsOf(lines[1]), 95u);
  EXPECT_THAT(lines[1], ContainsRegex("xxx… (─){20}$"));
}

TEST(WaterfallTest, ColoursAreOnlyThereWhenAskedFor) {
  EXPECT_THAT(absl::StrJoin(Lines(Request()), ""), Not(HasSubstr("\x1b")));
  EXPECT_THAT(absl::StrJoin(Lines(Request(), {.columns = 95, .color = true}), ""), HasSubstr("\x1b[32m█"));
}

TEST(WaterfallTest, LongRequestsAreToldInMilliseconds) {
  const std::vector<std::string> lines = Lines(Trace({SpanJson("request", "n", "a", "9", 0, 123456)}));
  EXPECT_THAT(lines[0], HasSubstr("took ms"));
  EXPECT_THAT(lines[1], HasSubstr(" 123.456  n "));
}

TEST(WaterfallTest, WhatFailedSaysSo) {
  const auto lines = Lines(Trace({SpanJson("request", "n", "1", "0", 0, 1, ",\"error\":\"HTTP 504\"")}));
  EXPECT_THAT(lines[1], HasSubstr("request: HTTP 504 "));
}

TEST(WaterfallTest, NamesOfOtherNodesDoNotControlTheTerminal) {
  const auto lines = Lines(Trace({SpanJson("portal \\u001b[2J\\u009b", "n\\r", "1", "0", 0, 1)}));
  EXPECT_THAT(lines[1], HasSubstr("n?    portal ?[2J??"));
}

TEST(WaterfallTest, IdsThatGoRoundDoNotHang) {
  const auto lines = Lines(Trace(
      {SpanJson("a", "n", "1", "2", 0, 1), SpanJson("b", "n", "2", "1", 0, 1), SpanJson("c", "n", "3", "3", 0, 1)}));
  EXPECT_EQ(lines.size(), 5u) << "each once";
}

TEST(WaterfallTest, ChainsAsDeepAsAPeerLikesDoNotOverflowTheStack) {
  std::vector<std::string> spans;
  for (int i = 0; i < 5000; ++i) {
    spans.push_back(SpanJson("x", "n", absl::StrCat(i + 1).c_str(), absl::StrCat(i).c_str(), i, 1));
  }
  EXPECT_EQ(Lines(Trace(spans)).size(), 5002u);
}

TEST(WaterfallTest, NothingAndNonsenseAreErrors) {
  EXPECT_TRUE(absl::IsNotFound(Waterfall("{\"traces\":[]}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Waterfall("{}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Waterfall("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Waterfall("{\"traces\":[{\"trace_id\":\"1\",\"sampled\":true,\"slow\":true,\"spans\":[{\"name\":1}]}]}")
          .status()));
}

TEST(TimeSharesTest, OfBranchesAtTheSameTimeEachMomentCountsOnce) {
  const auto traces = ParseTraces(
      Trace({SpanJson("request", "n", "a", "", 0, 100), SpanJson("batch of 1 rows, 1 calls", "n", "b", "a", 10, 30),
             SpanJson("queue", "n", "c", "a", 20, 40), SpanJson("batch of 1 rows, 1 calls", "n", "d", "a", 20, 10)}));
  ASSERT_TRUE(traces.ok()) << traces.status();
  const TimeShares shares = SharesOf(traces->front());
  EXPECT_EQ(shares.batch_us, 30);
  EXPECT_EQ(shares.queue_us, 20);
  EXPECT_EQ(shares.wire_us, 0);
  EXPECT_EQ(shares.rest_us, 50);
}

TEST(TimeSharesTest, APortalWhosePeerToldNothingIsNotAllWire) {
  const auto traces =
      ParseTraces(Trace({SpanJson("request", "n", "a", "", 0, 100), SpanJson("portal x", "n", "b", "a", 0, 100)}));
  EXPECT_EQ(SharesOf(traces->front()).wire_us, 0);
  EXPECT_EQ(SharesOf(traces->front()).rest_us, 100);
}

}  // namespace
}  // namespace portico
