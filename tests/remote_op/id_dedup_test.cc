#include "remote_op/id_dedup.h"

#include <gtest/gtest.h>

#include <chrono>
#include <unordered_map>

namespace portico {
namespace {

bool Same(uint32_t) { return true; }

TEST(IdDedup, NumbersDistinctIdsInTheOrderTheyCome) {
  IdDedup dedup;
  for (int use = 0; use < 3; ++use) {
    dedup.Begin(1000);
    std::unordered_map<uint64_t, uint32_t> numbers;
    uint64_t id = 7;
    for (int i = 0; i < 5000; ++i) {
      id = id * 6364136223846793005ull + 1442695040888963407ull;
      const uint64_t key = (id >> 40) % 900;
      const uint32_t want = numbers.emplace(key, static_cast<uint32_t>(numbers.size())).first->second;
      ASSERT_EQ(dedup.Add(key, Same), want);
    }
    EXPECT_EQ(dedup.count(), numbers.size());
  }
}

TEST(IdDedup, SaysWhenThereAreMoreThanAskedFor) {
  IdDedup dedup;
  dedup.Begin(2);
  EXPECT_EQ(dedup.Add(5, Same), 0u);
  EXPECT_EQ(dedup.Add(6, Same), 1u);
  EXPECT_EQ(dedup.Add(5, Same), 0u);
  EXPECT_EQ(dedup.Add(7, Same), IdDedup::kFull);
}

TEST(IdDedup, NobodyCanChooseIdsThatStandAtOnePlace) {
  // Neighbours once multiplied by the number that Fibonacci hashing takes: with a public hash that were half a minute.
  constexpr uint64_t kInverse = 0xf1de83e19937733dull;
  static_assert(kInverse * 0x9e3779b97f4a7c15ull == 1);
  constexpr uint64_t kIds = 200'000;
  IdDedup dedup;
  dedup.Begin(kIds);
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < kIds; ++i) ASSERT_EQ(dedup.Add(kInverse * i, Same), i);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace portico
