#include "batcher/deadline_index.h"

#include <map>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

absl::Time At(int64_t ms) { return absl::FromUnixMillis(ms); }

TEST(DeadlineIndexTest, KnowsTheSoonestAndTakesWhatHasPassed) {
  DeadlineIndex index;
  EXPECT_EQ(index.soonest(), absl::InfiniteFuture());
  index.Add({At(30), 7, 1});
  const auto soon = index.Add({At(10), 8, 2});
  EXPECT_EQ(index.soonest(), At(10));
  EXPECT_THAT(index.TakePassed(At(9), 9), IsEmpty());
  const auto passed = index.TakePassed(At(10), 9);
  ASSERT_THAT(passed, SizeIs(1));
  EXPECT_EQ(std::make_pair(passed[0].lane, passed[0].ticket), std::make_pair(uint64_t{8}, uint64_t{2}));
  index.Drop(soon);
  EXPECT_EQ(index.soonest(), At(30));
  EXPECT_THAT(index.TakePassed(At(29), 9), IsEmpty()) << "each once";
}

TEST(DeadlineIndexTest, SaysThatMoreHasPassedThanItMayTake) {
  DeadlineIndex index;
  for (int64_t i = 0; i < 500; ++i) index.Add({At(i % 7), 0, static_cast<uint64_t>(i)});
  for (int takes = 0; takes < 5; ++takes) {
    EXPECT_LE(index.soonest(), At(10));
    EXPECT_THAT(index.TakePassed(At(10), 100), SizeIs(100));
  }
  EXPECT_THAT(index.TakePassed(At(10), 100), IsEmpty());
  EXPECT_EQ(index.soonest(), absl::InfiniteFuture());
}

/// Beside a plain map: nothing that waits is late for long, nothing is taken early or twice.
TEST(DeadlineIndexTest, AnyOrderComesToTheSame) {
  DeadlineIndex index;
  struct Call {
    int64_t deadline;
    DeadlineIndex::Place place;
    bool taken = false;
  };
  std::map<uint64_t, Call> waiting;
  uint64_t random = 11, tickets = 0;
  const auto draw = [&](uint64_t below) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % below;
  };
  int64_t late = 0;
  for (int64_t now = 0; now < 3000; ++now) {
    for (uint64_t i = draw(40); i > 0; --i) {
      const int64_t deadline = now + 1 + static_cast<int64_t>(draw(now % 2 == 0 ? 50 : 2000));
      const uint64_t ticket = ++tickets;
      waiting[ticket] = {deadline, index.Add({At(deadline), ticket * 3, ticket})};
    }
    // What runs: mostly the oldest.
    for (uint64_t i = draw(35); i > 0 && !waiting.empty(); --i) {
      auto one = waiting.begin();
      if (draw(4) == 0) one = waiting.lower_bound(draw(tickets + 1));
      if (one == waiting.end()) continue;
      index.Drop(one->second.place);
      waiting.erase(one);
    }
    for (const auto& [ticket, call] : waiting) {
      ASSERT_TRUE(call.taken || index.soonest() <= At(call.deadline));
    }
    const size_t most = now % 3 == 0 ? 20 : 10'000;
    const std::vector<DeadlineIndex::Entry> passed = index.TakePassed(At(now), most);
    ASSERT_LE(passed.size(), most);
    for (const DeadlineIndex::Entry& entry : passed) {
      ASSERT_LE(entry.deadline, At(now));
      ASSERT_EQ(entry.lane, entry.ticket * 3);
      const auto call = waiting.find(entry.ticket);
      if (call == waiting.end()) continue;
      ASSERT_FALSE(std::exchange(call->second.taken, true));
      if (draw(2) == 0) continue;  // Its caller takes it from the queue a little later.
      index.Drop(call->second.place);
      waiting.erase(call);
      ++late;
    }
    if (passed.size() < most) {
      ASSERT_GT(index.soonest(), At(now));
    }
  }
  EXPECT_GT(late, 1000);
}

}  // namespace
}  // namespace portico
