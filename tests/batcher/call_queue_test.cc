#include "batcher/call_queue.h"

#include <algorithm>
#include <map>
#include <utility>

#include "gtest/gtest.h"

namespace portico {
namespace {

WaitingCall Call(uint64_t ticket) {
  WaitingCall call;
  call.context = MakeRef<RequestContext>();
  call.ticket = ticket;
  return call;
}

TEST(CallQueueTest, GoesByTicketsAndLetsAnyBeTaken) {
  CallQueue queue;
  for (const uint64_t ticket : {4, 2, 9, 7}) queue.Push(Call(ticket));
  EXPECT_EQ(queue.Take(7)->ticket, 7);
  EXPECT_FALSE(queue.Take(7).has_value());
  EXPECT_FALSE(queue.Take(3).has_value());
  EXPECT_EQ(queue.Take(2)->ticket, 2);
  EXPECT_EQ(queue.front().ticket, 4);
  EXPECT_EQ(queue.PopFront().ticket, 4);
  EXPECT_EQ(queue.PopFront().ticket, 9);
  EXPECT_TRUE(queue.empty());
}

/// Beside a plain map.
TEST(CallQueueTest, AnyOrderComesToTheSame) {
  CallQueue queue;
  std::map<uint64_t, bool> expected;
  uint64_t random = 5, last = 100;
  const auto draw = [&](uint64_t below) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % below;
  };
  for (int step = 0; step < 60'000; ++step) {
    // Long phases in which it grows, and others in which it is emptied.
    const bool grows = (step / 3000) % 2 == 0;
    if (draw(3) < (grows ? 2u : 1u)) {
      const uint64_t ticket = draw(10) == 0 ? last - draw(50) : (last += 1 + draw(3));
      if (expected.emplace(ticket, true).second) queue.Push(Call(ticket));
    } else if (draw(3) == 0 && !expected.empty()) {
      ASSERT_EQ(queue.PopFront().ticket, expected.begin()->first);
      expected.erase(expected.begin());
    } else if (!expected.empty()) {
      const uint64_t wanted = expected.begin()->first + draw(last - expected.begin()->first + 1);
      const auto taken = queue.Take(wanted);
      ASSERT_EQ(taken.has_value(), expected.erase(wanted) == 1);
      ASSERT_TRUE(!taken.has_value() || taken->ticket == wanted);
    }
    ASSERT_EQ(queue.empty(), expected.empty());
    if (!expected.empty()) {
      ASSERT_EQ(queue.front().ticket, expected.begin()->first);
      ASSERT_TRUE(queue.front().context);
    }
  }
}

}  // namespace
}  // namespace portico
