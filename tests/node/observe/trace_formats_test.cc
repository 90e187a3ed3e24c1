#include "node/observe/trace_formats.h"

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simdjson.h"

namespace portico {
namespace {

using simdjson::dom::element;

Span Make(uint64_t id, uint64_t parent, const char* name, const char* node, int64_t start_us, int64_t took_ns) {
  return {id, parent, name, node, absl::FromUnixMicros(start_us), absl::Nanoseconds(took_ns), ""};
}

std::shared_ptr<const Trace> Portal() {
  auto trace = std::make_shared<Trace>();
  trace->context = {.trace_id_high = 0xab, .trace_id_low = 1, .parent_span_id = 2, .sampled = true};
  trace->state = "vendor=x";
  trace->slow = true;
  trace->spans = {Make(2, 9, "request", "apps/0", 1000, 1'000'000),
                  Make(3, 2, "segment \"a\"", "apps/0", 1100, 300'000),
                  Make(4, 2, "segment b", "apps/0", 1200, 300'000), Make(5, 2, "portal hub/x", "apps/0", 1600, 400'000),
                  Make(6, 5, "model x", "hub/0", 1700, 200'500),
                  // Sent with whole microseconds: sticks out of its parent.
                  Make(7, 6, "segment c", "hub/0", 1700, 200'900)};
  trace->spans[3].error = "UNAVAILABLE";
  return trace;
}

TEST(TraceFormatsTest, OwnFormTellsEachSpan) {
  auto trace = std::make_shared<Trace>();
  trace->context.trace_id_low = 1;
  trace->spans = {Make(1, 2, "one", "n", 7, 1500)};
  const std::vector<std::shared_ptr<const Trace>> traces = {trace};
  EXPECT_EQ(TracesJson(traces),
            R"({"traces":[{"trace_id":"00000000000000000000000000000001","sampled":false,"slow":false,"spans":[)"
            R"({"name":"one","node":"n","span_id":"0000000000000001","parent_span_id":"0000000000000002",)"
            R"("start_us":7,"duration_us":1.500}]}]})");
  trace->spans[0].error = "HTTP 404";
  EXPECT_THAT(TracesJson(traces), testing::HasSubstr(R"("duration_us":1.500,"error":"HTTP 404"})"));
  trace->spans[0].attributes = {{"rows", 3}, {"endpoint", "x\"y"}};
  EXPECT_THAT(TracesJson(traces),
              testing::HasSubstr(R"("error":"HTTP 404","attributes":{"rows":3,"endpoint":"x\"y"}}])"));
  EXPECT_THAT(ChromeTraceJson(traces), testing::HasSubstr(R"("error":"HTTP 404","rows":3,"endpoint":"x\"y"}})"));
  EXPECT_THAT(OtlpJson(traces), testing::HasSubstr(R"("attributes":[{"key":"portico.rows","value":{"intValue":"3"}},)"
                                                   R"({"key":"portico.endpoint","value":{"stringValue":"x\"y"}}])"));
  EXPECT_EQ(TracesJson({}), R"({"traces":[]})");
}

TEST(TraceFormatsTest, ChromeEventsOfOneRowFollowOrHoldEachOther) {
  const std::vector<std::shared_ptr<const Trace>> traces = {Portal(), Portal()};
  simdjson::dom::parser parser;
  const std::string json = ChromeTraceJson(traces);
  const element root = parser.parse(json);
  std::map<int64_t, std::string> processes;
  // Row → start and end of its events, in nanoseconds.
  std::map<std::pair<int64_t, int64_t>, std::vector<std::pair<int64_t, int64_t>>> rows;
  for (const element event : root["traceEvents"].get_array()) {
    const int64_t process = event["pid"].get_int64();
    const std::string_view phase = event["ph"].get_string();
    if (phase == "M") {
      if (std::string_view(event["name"].get_string()) == "process_name") {
        processes[process] = std::string(std::string_view(event["args"]["name"].get_string()));
      }
      continue;
    }
    ASSERT_EQ(phase, "X");
    const auto start = static_cast<int64_t>(event["ts"].get_double() * 1000 + 0.5);
    rows[{process, event["tid"].get_int64()}].emplace_back(
        start, start + static_cast<int64_t>(event["dur"].get_double() * 1000 + 0.5));
  }
  EXPECT_THAT(json, testing::HasSubstr(R"("begin":"1970-01-01T00:00:00.001+00:00")"));
  EXPECT_THAT(json, testing::HasSubstr(R"("ts":100.000,"dur":300.000)"));
  EXPECT_THAT(json, testing::HasSubstr(R"(,"error":"UNAVAILABLE"}})"));
  EXPECT_EQ(processes, (std::map<int64_t, std::string>{{1, "apps/0"}, {2, "hub/0"}}));
  // Of each trace: two rows at apps/0, where segments overlap, one at hub/0.
  EXPECT_EQ(rows.size(), 6u);
  for (const auto& [row, events] : rows) {
    for (const auto& a : events) {
      for (const auto& b : events) {
        const bool apart = a.second <= b.first || b.second <= a.first;
        const bool nested =
            (a.first <= b.first && b.second <= a.second) || (b.first <= a.first && a.second <= b.second);
        EXPECT_TRUE(apart || nested) << a.first << " " << a.second << " " << b.first << " " << b.second;
      }
    }
  }
}

TEST(TraceFormatsTest, OtlpHasAResourcePerNodeAndNumbersAsText) {
  const std::vector<std::shared_ptr<const Trace>> traces = {Portal()};
  const std::string json = OtlpJson(traces);
  simdjson::dom::parser parser;
  const element root = parser.parse(json);
  ASSERT_EQ(root["resourceSpans"].get_array().size(), 2u);
  const element apps = root["resourceSpans"].at(0);
  const auto attribute = [&](size_t i) {
    return std::string(std::string_view(apps["resource"]["attributes"].at(i)["value"]["stringValue"].get_string()));
  };
  EXPECT_EQ(attribute(0), "portico");
  EXPECT_EQ(attribute(1), "apps/0");
  const element spans = apps["scopeSpans"].at(0)["spans"];
  ASSERT_EQ(spans.get_array().size(), 4u);
  const element request = spans.at(0);
  const auto text = [](element of, const char* key) { return std::string(std::string_view(of[key].get_string())); };
  EXPECT_EQ(text(request, "traceId"), "00000000000000ab0000000000000001");
  EXPECT_EQ(text(request, "spanId"), "0000000000000002");
  EXPECT_EQ(text(request, "parentSpanId"), "0000000000000009");
  EXPECT_EQ(text(request, "traceState"), "vendor=x");
  EXPECT_EQ(text(request, "startTimeUnixNano"), "1000000");
  EXPECT_EQ(text(request, "endTimeUnixNano"), "2000000");
  EXPECT_EQ(int64_t{request["kind"].get_int64()}, 2);
  EXPECT_TRUE(bool{request["attributes"].at(0)["value"]["boolValue"].get_bool()});
  EXPECT_EQ(text(spans.at(1), "name"), "segment \"a\"");
  EXPECT_EQ(int64_t{spans.at(1)["kind"].get_int64()}, 1);
  EXPECT_EQ(int64_t{spans.at(3)["kind"].get_int64()}, 3);
  EXPECT_EQ(int64_t{spans.at(3)["status"]["code"].get_int64()}, 2);
  EXPECT_EQ(text(spans.at(3)["status"], "message"), "UNAVAILABLE");
}

}  // namespace
}  // namespace portico
