#include "node/observe/traces.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Trace Named(const std::string& name, uint64_t id, bool slow) {
  Trace trace;
  trace.context.trace_id_low = id;
  trace.slow = slow;
  trace.spans.emplace_back().name = name;
  return trace;
}

std::vector<std::string> Names(const std::vector<std::shared_ptr<const Trace>>& traces) {
  std::vector<std::string> names;
  for (const auto& trace : traces) names.push_back(trace->spans[0].name);
  return names;
}

class Collector final : public TraceSink {
 public:
  void Add(std::shared_ptr<const Trace> trace) override { traces.push_back(std::move(trace)); }
  std::vector<std::shared_ptr<const Trace>> traces;
};

TEST(TracesTest, NewestComeFirstAndEachKindForgetsItsOwnOldest) {
  Traces::Options options;
  options.capacity = 2;
  Collector sink;
  Traces traces(options, MetricRegistry::Null(), &sink);
  EXPECT_THAT(Names(traces.Find("", false)), IsEmpty());
  traces.Add(Named("slow", 1, true));
  for (const char* name : {"a", "b", "c"}) traces.Add(Named(name, 2, false));
  EXPECT_THAT(Names(traces.Find("", false)), ElementsAre("c", "b", "slow"));
  EXPECT_THAT(Names(traces.Find("", true)), ElementsAre("slow"));
  for (const char* name : {"d", "e"}) traces.Add(Named(name, 3, true));
  EXPECT_THAT(Names(traces.Find("", false)), ElementsAre("e", "d", "c", "b"));
  EXPECT_THAT(Names(sink.traces), ElementsAre("slow", "a", "b", "c", "d", "e"));
}

TEST(TracesTest, IdNarrowsToOneTrace) {
  Traces traces({}, MetricRegistry::Null(), nullptr);
  traces.Add(Named("one", 1, false));
  traces.Add(Named("two", 2, false));
  EXPECT_THAT(Names(traces.Find("00000000000000000000000000000001", false)), ElementsAre("one"));
  EXPECT_THAT(traces.Find("3", false), IsEmpty());
}

TEST(TracesTest, TheShareThatIsAskedForIsSampled) {
  const auto drawn = [](double share) {
    Traces::Options options;
    options.sample = share;
    const Traces traces(options, MetricRegistry::Null(), nullptr);
    int count = 0;
    for (int i = 0; i < 10000; ++i) count += traces.DrawSampled();
    return count;
  };
  EXPECT_EQ(drawn(0), 0);
  EXPECT_EQ(drawn(1), 10000);
  // Twelve standard deviations around the mean.
  EXPECT_NEAR(drawn(0.25), 2500, 520);
}

TEST(TracesTest, SlowIsWhatTookLongEnough) {
  Traces::Options options;
  options.slow = absl::Milliseconds(20);
  const Traces traces(options, MetricRegistry::Null(), nullptr);
  EXPECT_TRUE(traces.IsSlow(absl::Milliseconds(20)));
  EXPECT_FALSE(traces.IsSlow(absl::Milliseconds(19)));
  EXPECT_EQ(traces.span_floor(), absl::Milliseconds(1));
  options.slow = absl::ZeroDuration();
  const Traces none(options, MetricRegistry::Null(), nullptr);
  EXPECT_FALSE(none.IsSlow(absl::Hours(1)));
  EXPECT_EQ(none.span_floor(), absl::InfiniteDuration());
}

TEST(TracesTest, SlowTracesAreKeptAtMostSoManyPerSecond) {
  Traces::Options options;
  options.slow_per_second = 10;
  Traces traces(options, MetricRegistry::Null(), nullptr);
  absl::Time now = absl::FromUnixSeconds(1000);
  const auto take = [&] {
    int taken = 0;
    for (int i = 0; i < 100; ++i) taken += traces.TakeSlowTurn(now);
    return taken;
  };
  EXPECT_EQ(take(), 10);
  now += absl::Milliseconds(500);
  EXPECT_EQ(take(), 5);
  now += absl::Hours(1);
  EXPECT_EQ(take(), 10);
}

}  // namespace
}  // namespace portico
