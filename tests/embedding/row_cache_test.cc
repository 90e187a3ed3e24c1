#include "embedding/row_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "embedding/id_hash.h"
#include "gtest/gtest.h"
#include "tests/testing/memory.h"

namespace portico {
namespace {

using Key = RowCache::Key;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr RowType kType = RowType::kInt8;

std::shared_ptr<RowCache> Make(uint64_t bytes) {
  auto cache = RowCache::Create(bytes);
  EXPECT_TRUE(cache.ok()) << cache.status();
  return *std::move(cache);
}

/// A row that says of which table, id and origin it is, all through.
std::string RowOf(uint32_t table, uint64_t id, uint64_t origin, size_t bytes) {
  std::string row(bytes, '\0');
  uint64_t state = HashId(id, origin << 24 | table);
  for (char& one : row) {
    state = HashId(state, 1);
    one = static_cast<char>(state);
  }
  return row;
}

void Put(RowCache& cache, const Key& key, uint64_t origin, size_t bytes, uint32_t now = 1) {
  cache.Put(key, origin, kType, bytes, RowOf(key.table, key.id, origin, bytes).data(), now);
}
/// Whether the row is there, and then right.
bool Has(const RowCache& cache, const Key& key, uint64_t origin, size_t bytes) {
  std::string row(bytes + 1, '?');
  const RowCache::Place place = cache.Locate(key, kType, bytes);
  cache.Fetch(place);
  if (!cache.Read(place, key, origin, row.data())) return false;
  EXPECT_EQ(row.substr(0, bytes), RowOf(key.table, key.id, origin, bytes));
  EXPECT_EQ(row.back(), '?') << "written behind the row";
  return true;
}

TEST(RowCacheTest, GivesBackRowsOfAllLengthsAsTheyWere) {
  const auto cache = Make(32 * kMiB);
  std::vector<std::string> texts;
  for (size_t bytes : {1, 7, 8, 9, 72, 100, 256, 513, 4096, 65536}) {
    for (uint64_t id = 0; id < 4; ++id) {
      const std::string text(id * 7, static_cast<char>('a' + id));
      const Key number{3, id, {}}, string{4, id, text};
      EXPECT_FALSE(Has(*cache, number, 9, bytes));
      Put(*cache, number, 9, bytes);
      EXPECT_TRUE(Has(*cache, number, 9, bytes)) << bytes;
      Put(*cache, string, 9, bytes);
      EXPECT_TRUE(Has(*cache, string, 9, bytes)) << bytes;
    }
  }
}

TEST(RowCacheTest, WhatIsAskedForOtherwiseIsNotFound) {
  const auto cache = Make(kMiB);
  Put(*cache, {1, 5, {}}, 7, 64);
  Put(*cache, {2, 5, "five"}, 7, 64);
  EXPECT_TRUE(Has(*cache, {1, 5, {}}, 7, 64));
  EXPECT_FALSE(Has(*cache, {1, 5, {}}, 8, 64));
  EXPECT_FALSE(Has(*cache, {1, 5, {}}, 0, 64));
  EXPECT_FALSE(Has(*cache, {3, 5, {}}, 7, 64));
  EXPECT_FALSE(Has(*cache, {1, 6, {}}, 7, 64));
  EXPECT_FALSE(Has(*cache, {1, 5, {}}, 7, 63));
  // Strings of one hash.
  EXPECT_TRUE(Has(*cache, {2, 5, "five"}, 7, 64));
  EXPECT_FALSE(Has(*cache, {2, 5, "four"}, 7, 64));
  EXPECT_FALSE(Has(*cache, {2, 5, "fiver"}, 7, 64));
  EXPECT_FALSE(Has(*cache, {2, 5, absl::string_view("five\0", 5)}, 7, 64));
  char row[64];
  const Key key{1, 5, {}};
  EXPECT_FALSE(cache->Read(cache->Locate(key, RowType::kFloat16, 64), key, 7, row));
}

TEST(RowCacheTest, ARowOfAnotherOriginTakesThePlaceOfTheOneBeforeAndTheLastOneIsKnown) {
  const auto cache = Make(kMiB);
  const Key key{1, 5, {}};
  char row[64];
  EXPECT_EQ(cache->Last(cache->Locate(key, kType, 64), key, row).origin, 0u);
  for (uint64_t origin = 1; origin < 50; ++origin) {
    Put(*cache, key, origin, 64, 100 + static_cast<uint32_t>(origin));
    EXPECT_TRUE(Has(*cache, key, origin, 64));
    EXPECT_FALSE(Has(*cache, key, origin - 1, 64));
    const RowCache::Known last = cache->Last(cache->Locate(key, kType, 64), key, row);
    EXPECT_EQ(last.origin, origin);
    EXPECT_EQ(last.learned, 100 + origin);
    EXPECT_EQ(std::string(row, 64), RowOf(1, 5, origin, 64));
  }
  EXPECT_EQ(cache->TakeEvictions(), 0u);
}

TEST(RowCacheTest, NeverTakesMoreThanItsBudgetWhateverRowsCome) {
  const auto cache = Make(8 * kMiB);
  const int64_t before = ResidentBytes();
  std::mt19937_64 random(1);
  uint64_t evicted = 0;
  for (int i = 0; i < 200'000; ++i) {
    const size_t bytes = 1 + random() % 2000;
    const Key key{static_cast<uint32_t>(random() % 30), random() % 5000, {}};
    if (!Has(*cache, key, 3, bytes)) Put(*cache, key, 3, bytes);
    ASSERT_LE(cache->bytes(), 8 * kMiB);
    evicted += cache->TakeEvictions();
  }
  EXPECT_GT(cache->bytes(), 7 * kMiB);
  EXPECT_GT(evicted, 0u);
  if (!kSanitized) {
    EXPECT_LT(ResidentBytes() - before, static_cast<int64_t>(9 * kMiB));
  }
}

TEST(RowCacheTest, RowsThatAreTooLargeForItAreNotKept) {
  const auto cache = Make(kMiB);
  Put(*cache, {1, 1, {}}, 1, 60'000);
  EXPECT_FALSE(Has(*cache, {1, 1, {}}, 1, 60'000));
  EXPECT_EQ(cache->bytes(), 0u);
}

TEST(RowCacheTest, ALateSizeFindsRoomWhereAnotherHasFilledIt) {
  const auto cache = Make(kMiB);
  for (uint64_t id = 0; id < 100'000; ++id) Put(*cache, {1, id, {}}, 1, 64);
  Put(*cache, {2, 1, {}}, 1, 400);
  EXPECT_TRUE(Has(*cache, {2, 1, {}}, 1, 400));
}

TEST(RowCacheTest, IdsThatComeOnceWashNothingOut) {
  const auto cache = Make(4 * kMiB);
  constexpr uint64_t kHot = 8000;
  const auto ask = [&](uint64_t id) {
    const bool has = Has(*cache, {1, id, {}}, 1, 64);
    if (!has) Put(*cache, {1, id, {}}, 1, 64);
    return has;
  };
  for (int round = 0; round < 6; ++round) {
    for (uint64_t id = 0; id < kHot; ++id) ask(id);
  }
  const auto held = [&] {
    uint64_t count = 0;
    for (uint64_t id = 0; id < kHot; ++id) count += ask(id);
    return count;
  };
  const uint64_t before = held();
  EXPECT_GT(before, kHot * 9 / 10);
  // Ten times what fits, once each, between two rounds of the hot ones.
  uint64_t cold = 1'000'000;
  for (int i = 0; i < 300'000; ++i) {
    ask(cold++);
    if (i % 10 == 0) ask(static_cast<uint64_t>(i / 10) % kHot);
  }
  EXPECT_GT(held(), before * 9 / 10);
}

TEST(RowCacheTest, KeepsNearlyTheRowsThatAreAskedForMost) {
  constexpr int kIds = 200'000, kAsked = 1'000'000;
  const auto cache = Make(4 * kMiB);
  std::vector<double> below;
  double sum = 0;
  for (int i = 0; i < kIds; ++i) below.push_back(sum += std::pow(i + 1, -0.99));
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(0, sum);
  int hits = 0, counted = 0;
  for (int i = 0; i < kAsked; ++i) {
    const auto rank = std::lower_bound(below.begin(), below.end(), uniform(random)) - below.begin();
    const Key key{1, HashId(static_cast<uint64_t>(rank), 4), {}};
    const bool has = Has(*cache, key, 1, 72);
    if (!has) Put(*cache, key, 1, 72);
    if (i < kAsked / 2) continue;
    ++counted;
    hits += has;
  }
  // What the same number of slots would give if they held the rows that are asked for most, forever.
  const size_t slots = cache->bytes() / (128 + 16);
  const double best = below[slots - 1] / sum;
  const double share = static_cast<double>(hits) / counted;
  EXPECT_GT(share, 0.9 * best) << share << " of " << best;
}

TEST(RowCacheTest, ReadersNeverSeeHalfARowNorAnotherOnes) {
  const auto cache = Make(kMiB);
  constexpr uint64_t kIds = 300;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> hits{0};
  std::vector<std::thread> threads;
  // Few ids, and more that push them out; origins change all the time.
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 40'000; ++i) {
        const uint64_t id = random() % (i % 8 == 0 ? 100 * kIds : kIds), origin = 1 + random() % 3;
        const size_t bytes = id % 3 == 0 ? 200 : 72;
        const Key key{static_cast<uint32_t>(id % 2), id, {}};
        if (Has(*cache, key, origin, bytes)) {
          hits.fetch_add(1, std::memory_order_relaxed);
        } else {
          Put(*cache, key, origin, bytes);
        }
        char row[200];
        const RowCache::Known last = cache->Last(cache->Locate(key, kType, bytes), key, row);
        if (last.origin != 0 && std::string(row, bytes) != RowOf(key.table, id, last.origin, bytes)) stop = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(stop);
  EXPECT_GT(hits, 1000u);
}

}  // namespace
}  // namespace portico
