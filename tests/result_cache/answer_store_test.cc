#include "result_cache/answer_store.h"

#include <malloc.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace portico {
namespace {

Digest Row(uint64_t number) { return Hasher().Add(number).Finish(); }

Ref<const RowAnswer> Answer(float value, int64_t floats = 8) {
  Tensor tensor = Tensor::Allocate(DType::kFloat, {1, floats});
  std::fill_n(reinterpret_cast<float*>(tensor.mutable_bytes()), floats, value);
  return RowAnswer::Of({tensor}, 0);
}

float ValueOf(const Ref<const RowAnswer>& answer) { return (*RowAnswer::Join({answer}))[0].data<float>()[0]; }

TEST(AnswerStoreTest, WhatWasPutIsFound) {
  AnswerStore store(AnswerStore::kMinBytes);
  EXPECT_FALSE(store.Get(Row(1)));
  store.Put(Row(1), Answer(1));
  store.Put(Row(1), Answer(2));
  ASSERT_TRUE(store.Get(Row(1)));
  EXPECT_EQ(ValueOf(store.Get(Row(1))), 1);
  EXPECT_FALSE(store.Get(Row(2)));
}

TEST(AnswerStoreTest, NeverTakesMoreThanItsBytesAndGivesRoom) {
  std::mt19937 random(7);
  for (const uint64_t mib : {1, 3, 20}) {
    AnswerStore store(mib << 20);
    EXPECT_LE(store.bytes(), store.max_bytes());
    uint64_t evicted = 0;
    for (uint64_t row = 0; row < 4'000 * mib; ++row) {
      store.Put(Row(row), Answer(1, 1 + random() % 500));
      ASSERT_LE(store.bytes(), store.max_bytes());
    }
    evicted = store.TakeEvictions();
    EXPECT_GT(evicted, 0);
    EXPECT_EQ(store.TakeEvictions(), 0);
    EXPECT_GT(store.bytes(), store.max_bytes() * 9 / 10);
  }
}

TEST(AnswerStoreTest, AnAnswerThatIsTooLargeIsNotKept) {
  AnswerStore store(AnswerStore::kMinBytes);
  store.Put(Row(1), Answer(1));
  store.Put(Row(2), Answer(2, (AnswerStore::kMinBytes / 2) / 4));
  EXPECT_FALSE(store.Get(Row(2)));
  EXPECT_TRUE(store.Get(Row(1)));
  EXPECT_EQ(store.TakeEvictions(), 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(AnswerStoreTest, CountsNoLessThanTheHeapGives) {
  const auto used = [] { return static_cast<double>(mallinfo2().uordblks + mallinfo2().hblkhd); };
  for (const int64_t floats : {1, 10, 100, 300}) {
    const double before = used();
    AnswerStore store(8 << 20);
    for (uint64_t row = 0; row < 60'000; ++row) store.Put(Row(row), Answer(1, floats));
    const double counted = static_cast<double>(store.bytes()) / (used() - before);
    EXPECT_GT(counted, 0.99) << floats;
    EXPECT_LT(counted, 1.2) << floats;
  }
}
#endif

TEST(AnswerStoreTest, RowsThatComeOnceWashNothingOut) {
  AnswerStore store(AnswerStore::kMinBytes);
  constexpr uint64_t kHot = 500;
  for (int round = 0; round < 3; ++round) {
    for (uint64_t row = 0; row < kHot; ++row) {
      if (!store.Get(Row(row))) store.Put(Row(row), Answer(static_cast<float>(row)));
    }
  }
  uint64_t hits = 0;
  for (uint64_t once = 0; once < 100'000; ++once) {
    store.Put(Row(1'000'000 + once), Answer(0));
    hits += bool{store.Get(Row(once % kHot))};
    if (!store.Get(Row(once % kHot))) store.Put(Row(once % kHot), Answer(static_cast<float>(once % kHot)));
  }
  EXPECT_GT(hits, 95'000);
  for (uint64_t row = 0; row < kHot; ++row) {
    const auto answer = store.Get(Row(row));
    EXPECT_EQ(answer ? ValueOf(answer) : static_cast<float>(row), static_cast<float>(row));
  }
}

TEST(AnswerStoreTest, ALargeBudgetTakesNoMemoryUntilItIsUsed) {
  const auto resident = [] {
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  };
  const uint64_t before = resident();
  AnswerStore store(uint64_t{16} << 30);
  store.Put(Row(1), Answer(3));
  EXPECT_EQ(ValueOf(store.Get(Row(1))), 3);
  EXPECT_LT(resident(), before + (uint64_t{8} << 20));
}

TEST(AnswerStoreTest, SaysWhatIsTooLargeBeforeItIsCopied) {
  AnswerStore store(AnswerStore::kMinBytes);
  for (const int64_t floats : {1, 1000, 60'000, 70'000, 1'000'000}) {
    const Tensor rows = Tensor::Allocate(DType::kFloat, {2, floats});
    const auto answer = RowAnswer::Of({rows}, 1);
    EXPECT_LE(RowAnswer::LeastBytes({rows}, 1), answer->bytes());
    EXPECT_GE(RowAnswer::LeastBytes({rows}, 1), static_cast<uint64_t>(floats) * sizeof(float));
    const Digest row = Row(static_cast<uint64_t>(floats));
    store.Put(row, answer);
    EXPECT_EQ(store.MayKeep(answer->bytes()), bool{store.Get(row)}) << floats;
  }
  const std::vector<std::string> texts = {"a", "bc", std::string(1000, 'x'), ""};
  const Tensor strings = Tensor::OfStrings({2, 2}, absl::MakeConstSpan(texts));
  EXPECT_EQ(RowAnswer::LeastBytes({strings}, 0), 3);
  EXPECT_EQ(RowAnswer::LeastBytes({strings}, 1), 1000);
}

TEST(AnswerStoreTest, ManyThreads) {
  AnswerStore store(AnswerStore::kMinBytes);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      for (int i = 0; i < 5000; ++i) {
        const uint64_t row = random() % 4000;
        if (const auto answer = store.Get(Row(row))) {
          ASSERT_EQ(ValueOf(answer), static_cast<float>(row));
        } else {
          store.Put(Row(row), Answer(static_cast<float>(row), 50));
        }
        ASSERT_LE(store.bytes(), store.max_bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace portico
