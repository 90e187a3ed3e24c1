#include "cli/waterfall.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;

std::string SpanJson(const char* name, const char* node, const char* id, const char* parent, int start, double took) {
  return absl::StrCat("{\"name\":\"", name, "\",\"node\":\"", node, "\",\"span_id\":\"", id, "\",\"parent_span_id\":\"",
                      parent, "\",\"start_us\":", start, ",\"duration_us\":", took, "}");
}

std::string Trace(const std::vector<std::string>& spans) {
  return absl::StrCat("{\"traces\":[{\"trace_id\":\"1\",\"spans\":[", absl::StrJoin(spans, ","), "]}]}");
}

TEST(WaterfallTest, SpansStandBelowWhatCausedThemInOrderOfTime) {
  const auto text = Waterfall(Trace(
      {SpanJson("segment", "hub/0", "c", "b", 1300, 200), SpanJson("late", "apps/0", "d", "a", 1900, 100),
       SpanJson("request", "apps/0", "a", "9", 1000, 1000), SpanJson("portal", "apps/0", "b", "a", 1250, 500.5)}));
  ASSERT_TRUE(text.ok()) << text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_THAT(lines[1], ContainsRegex("^ +0.000 +1.000  apps/0  request +(█){40}$"));
  EXPECT_THAT(lines[2], ContainsRegex("^ +0.250 +0.50[01]  apps/0    portal +(█){20}$"));
  EXPECT_THAT(lines[3], ContainsRegex("^ +0.300 +0.200  hub/0       segment +(█){8}$"));
  EXPECT_THAT(lines[4], ContainsRegex("^ +0.900 +0.100  apps/0    late +(█){4}$"));
}

TEST(WaterfallTest, BarsOfLongNamesBeginWhereAllDo) {
  const auto text = Waterfall(Trace({SpanJson("request", "n", "a", "9", 0, 1000),
                                     SpanJson("portal hub/an-encoder-with-a-long-name", "n", "b", "a", 0, 500)}));
  ASSERT_TRUE(text.ok()) << text.status();
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines[1].find("█"), lines[2].find("█"));
}

TEST(WaterfallTest, WhatFailedSaysSo) {
  const auto text = Waterfall(
      R"({"traces":[{"trace_id":"1","spans":[{"name":"request","node":"n","span_id":"1","parent_span_id":"0",)"
      R"("start_us":0,"duration_us":1,"error":"HTTP 504"}]}]})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, ContainsRegex("request: HTTP 504 "));
}

TEST(WaterfallTest, IdsThatGoRoundDoNotHang) {
  EXPECT_TRUE(Waterfall(Trace({SpanJson("a", "n", "1", "2", 0, 1), SpanJson("b", "n", "2", "1", 0, 1),
                               SpanJson("c", "n", "3", "3", 0, 1)}))
                  .ok());
}

TEST(WaterfallTest, NothingAndNonsenseAreErrors) {
  EXPECT_TRUE(absl::IsNotFound(Waterfall("{\"traces\":[]}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Waterfall("{}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Waterfall("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Waterfall("{\"traces\":[{\"spans\":[{\"name\":1}]}]}").status()));
}

}  // namespace
}  // namespace portico
