#include "cli/top_tables.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "cli/terminal_text.h"
#include "cli/text_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

NodeReading Reading(const std::string& node, int second, const std::string& text) {
  NodeReading reading;
  reading.node = node;
  reading.at = absl::FromUnixSeconds(second);
  reading.state = "ready";
  auto metrics = MetricsText::Parse(text);
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  reading.metrics = std::make_shared<const MetricsText>(*std::move(metrics));
  return reading;
}

/// A node with a model and a portal, after so many calls.
std::string Metrics(int calls, const std::string& state = "here") {
  const std::string n = std::to_string(calls), half = std::to_string(calls / 2);
  return "portico_requests_total{model=\"digit\",version=\"1\",api=\"tfs_grpc\",code=\"OK\"} " + n +
         "\nportico_requests_total{model=\"digit\",version=\"1\",api=\"tfs_grpc\",code=\"INTERNAL\"} " + half +
         "\nportico_requests_inside{model=\"digit\",version=\"1\"} 3\nportico_requests_in_flight 3\n"
         "portico_requests_inside{model=\"idle\",version=\"2\"} 0\n"
         "# TYPE portico_request_latency_seconds histogram\n"
         "portico_request_latency_seconds_bucket{model=\"digit\",version=\"1\",le=\"0.001\"} " +
         n + "\nportico_request_latency_seconds_bucket{model=\"digit\",version=\"1\",le=\"+Inf\"} " + n +
         "\n# TYPE portico_batch_rows histogram\n"
         "portico_batch_rows_bucket{model=\"digit\",version=\"1\",segment=\"s\",le=\"+Inf\"} " +
         half + "\nportico_batch_rows_sum{model=\"digit\",version=\"1\",segment=\"s\"} " + std::to_string(4 * calls) +
         "\nportico_batch_limit_rows{model=\"digit\",version=\"1\",segment=\"s\"} 32\n"
         "portico_portal_calls_total{target=\"hub/enc\",code=\"OK\"} " +
         n +
         "\nportico_portal_calls_in_flight{target=\"hub/enc\"} 2\nportico_portal_retries_total{target=\"hub/enc\"} " +
         half + "\nportico_portal_ejections_total{target=\"hub/enc\"} 1\n" +
         "portico_replica_state{target=\"hub/enc\",digest=\"d\",endpoint=\"x://a\",node=\"hub/0\",state=\"here\"} 1\n" +
         "portico_replica_state{target=\"hub/enc\",digest=\"d\",endpoint=\"x://b\",node=\"\",state=\"" + state +
         "\"} 1\n" + "portico_replica_ejected_seconds{target=\"hub/enc\",digest=\"d\",endpoint=\"x://b\"} 3.2\n" +
         "# TYPE portico_replica_latency_seconds histogram\n"
         "portico_replica_latency_seconds_bucket{target=\"hub/enc\",digest=\"d\",endpoint=\"x://a\",le=\"+Inf\"} " +
         n + "\n";
}

TEST(TopTablesTest, TellNodesModelsPortalsAndReplicas) {
  const std::string text = TopTables({Reading("apps/0", 10, Metrics(100))},
                                     {Reading("apps/0", 12, Metrics(300, "ejected"))}, TopOrder::kCalls, 160);
  EXPECT_THAT(text, ContainsRegex("\napps/0 +ready +150 +50.0 +500 µs +990 µs +3 +0\n"));
  EXPECT_THAT(text, ContainsRegex("\ndigit +1 +apps/0 +150 +50.0 +500 µs +990 µs +3 +8.0 +25 %\n"));
  EXPECT_THAT(text, ContainsRegex("\nidle +2 +apps/0 +0 +0 +0\n"));
  EXPECT_THAT(text, ContainsRegex("\napps/0 +hub/enc +2 replicas +100 +0 +2 +50.0 +0 +1\n"));
  EXPECT_THAT(text, ContainsRegex("\n +hub/0 +here +100 +0 "));
  EXPECT_THAT(text, ContainsRegex("\n +x://b +ejected 4 s +0 +0 "));
  EXPECT_LT(text.find("\ndigit"), text.find("\nidle"));
}

TEST(TopTablesTest, TargetsTellWhatBecameOfTheirCascades) {
  const std::string labels = "portal=\"c\",target=\"hub/enc\"";
  const auto state = [&](int escalated, const std::string& brown_out) {
    const std::string more = "portico_cascade_drifted{" + labels + ",what=\"escalated\"} " + std::to_string(escalated) +
                             "\nportico_cascade_drifted{" + labels + ",what=\"agreement\"} 0\n" +
                             "portico_cascade_brown_out_share{" + labels + "} " + brown_out + "\n";
    return TopTables({Reading("apps/0", 10, Metrics(100))}, {Reading("apps/0", 12, Metrics(300) + more)},
                     TopOrder::kCalls, 200);
  };
  EXPECT_THAT(state(1, "0.25"), HasSubstr("2 replicas, drifted: escalated, brown-out 25 %  "));
  EXPECT_THAT(state(0, "0"), HasSubstr("2 replicas  "));
}

TEST(TopTablesTest, TargetsThatAreGoneAreLeftOut) {
  // As a set of shards that was resharded away, which nobody serves any more.
  const auto text = [](int in_flight, int calls, int untold) {
    const auto reading = [&](int second, int more) {
      return Reading("apps/0", second,
                     Metrics(100) + "portico_portal_calls_in_flight{target=\"old/0\"} " + std::to_string(in_flight) +
                         "\nportico_portal_calls_total{target=\"old/0\",code=\"UNAVAILABLE\"} " +
                         std::to_string(7 + more) + "\nportico_replicas_untold " + std::to_string(untold) + "\n");
    };
    return TopTables({reading(10, 0)}, {reading(12, calls)}, TopOrder::kName, 160);
  };
  EXPECT_THAT(text(0, 0, 0), AllOf(HasSubstr("hub/enc"), Not(HasSubstr("old/0"))));
  EXPECT_THAT(text(0, 2, 0), ContainsRegex("\napps/0 +old/0 +0 replicas +1.0 +1.0 ")) << "calls of it fail";
  EXPECT_THAT(text(1, 0, 0), HasSubstr("old/0"));
  EXPECT_THAT(text(0, 0, 3), HasSubstr("old/0")) << "its replicas may be among those that are not told";
}

TEST(TopTablesTest, NodesThatComeAndGoHaveNoFigures) {
  NodeReading away;
  away.node = "hub/0";
  away.status = absl::UnavailableError("connect to 'h:1': Connection refused");
  const std::string text =
      TopTables({Reading("hub/0", 10, Metrics(1))}, {away, Reading("new/0", 12, Metrics(5))}, TopOrder::kName, 160);
  EXPECT_THAT(text, ContainsRegex("\nhub/0 +away: connect to 'h:1': Connection refused\n"));
  EXPECT_THAT(text, ContainsRegex("\nnew/0 +ready\n"));
  EXPECT_EQ(text.find("digit"), std::string::npos);
}

TEST(TopTablesTest, LinesFitTheTerminal) {
  const std::string text =
      TopTables({Reading("a-node-with-a-very-long-name-indeed/0", 10, Metrics(100))},
                {Reading("a-node-with-a-very-long-name-indeed/0", 12, Metrics(300))}, TopOrder::kCalls, 100);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) EXPECT_LE(ColumnsOf(line), 100u) << line;
}

TEST(TopTablesTest, NumbersAreShort) {
  EXPECT_EQ(RateText(0), "0");
  EXPECT_EQ(RateText(0.25), "0.2");
  EXPECT_EQ(RateText(12345.6), "12346");
  EXPECT_EQ(TimeText(85e-6), "85 µs");
  EXPECT_EQ(TimeText(1.25e-3), "1.2 ms");
  EXPECT_EQ(TimeText(0.25), "250 ms");
  EXPECT_EQ(TimeText(2.5), "2.5 s");
  EXPECT_EQ(TimeText(std::numeric_limits<double>::quiet_NaN()), "");
}

TEST(TextTableTest, TheWidestTextGivesWayFirst) {
  TextTable table({"A", "B", "N"}, 2);
  table.Add({"short", "a long piece of text", "12"});
  EXPECT_EQ(table.Print(80), "A      B                      N\nshort  a long piece of text  12\n");
  EXPECT_EQ(table.Print(20), "A      B           N\nshort  a long p…  12\n");
}

TEST(TerminalTextTest, CountsCharactersNotBytes) {
  EXPECT_EQ(ColumnsOf("µs ─"), 4u);
  EXPECT_EQ(FitLeft("─────", 3), "──…");
  EXPECT_EQ(FitRight("µs", 4), "  µs");
  EXPECT_EQ(FitLeft("x", 0), "");
  EXPECT_EQ(ForTerminal("a\x1b[0m\n\xc2\x9bü"), "a?[0m???ü");
}

}  // namespace
}  // namespace portico
