#include "node/observe/traces.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TraceContext Context(uint64_t id) {
  TraceContext context;
  context.trace_id_low = id;
  return context;
}

std::vector<Span> OneSpan(const std::string& name) {
  Span span;
  span.span_id = 1;
  span.parent_span_id = 2;
  span.name = name;
  span.node = "n";
  span.start = absl::FromUnixMicros(7);
  span.duration = absl::Nanoseconds(1500);
  return {span};
}

TEST(TraceRingTest, NewestComesFirstAndOldestIsForgotten) {
  TraceRing ring(2);
  EXPECT_EQ(ring.Json(""), R"({"traces":[]})");
  for (const char* name : {"a", "b", "c"}) ring.Add(Context(static_cast<uint64_t>(name[0])), OneSpan(name));
  const std::string json = ring.Json("");
  EXPECT_THAT(json, Not(HasSubstr("\"a\"")));
  EXPECT_LT(json.find("\"c\""), json.find("\"b\""));
}

TEST(TraceRingTest, IdNarrowsToOneTrace) {
  TraceRing ring;
  ring.Add(Context(1), OneSpan("one"));
  ring.Add(Context(2), OneSpan("two"));
  EXPECT_EQ(
      ring.Json("00000000000000000000000000000001"),
      R"({"traces":[{"trace_id":"00000000000000000000000000000001","spans":[{"name":"one","node":"n",)"
      R"("span_id":"0000000000000001","parent_span_id":"0000000000000002","start_us":7,"duration_us":1.500}]}]})");
  EXPECT_EQ(ring.Json("3"), R"({"traces":[]})");
}

}  // namespace
}  // namespace portico
