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

Tensor Outputs(float value, int64_t floats = 8) {
  Tensor tensor = Tensor::Allocate(DType::kFloat, {1, floats});
  std::fill_n(reinterpret_cast<float*>(tensor.mutable_bytes()), floats, value);
  return tensor;
}

Ref<const RowAnswer> Put(AnswerStore& store, uint64_t row, float value, int64_t floats = 8) {
  return store.Put(Row(row), {Outputs(value, floats)}, 0);
}

float ValueOf(const Ref<const RowAnswer>& answer) { return (*RowAnswer::Join({answer}))[0].data<float>()[0]; }

TEST(AnswerStoreTest, WhatWasPutIsFound) {
  AnswerStore store(AnswerStore::kMinBytes);
  EXPECT_FALSE(store.Get(Row(1)));
  Put(store, 1, 1);
  Put(store, 1, 2);
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
      Put(store, row, 1, 1 + random() % 500);
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
  Put(store, 1, 1);
  Put(store, 2, 2, (AnswerStore::kMinBytes / 2) / 4);
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
    for (uint64_t row = 0; row < 60'000; ++row) Put(store, row, 1, floats);
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
      if (!store.Get(Row(row))) Put(store, row, static_cast<float>(row));
    }
  }
  uint64_t hits = 0;
  for (uint64_t once = 0; once < 100'000; ++once) {
    Put(store, 1'000'000 + once, 0);
    hits += bool{store.Get(Row(once % kHot))};
    if (!store.Get(Row(once % kHot))) Put(store, once % kHot, static_cast<float>(once % kHot));
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
  Put(store, 1, 3);
  EXPECT_EQ(ValueOf(store.Get(Row(1))), 3);
  EXPECT_LT(resident(), before + (uint64_t{8} << 20));
}

TEST(AnswerStoreTest, WhatAnAnswerTakesIsKnownBefore) {
  AnswerStore store(AnswerStore::kMinBytes);
  for (const int64_t floats : {0, 1, 1000, 60'000, 70'000, 1'000'000}) {
    const Tensor rows = Tensor::Allocate(DType::kFloat, {2, floats});
    const auto answer = RowAnswer::Of({rows}, 1);
    EXPECT_EQ(RowAnswer::BytesFor({rows}, 1), answer->bytes());
    EXPECT_GE(answer->bytes(), static_cast<uint64_t>(floats) * sizeof(float));
    EXPECT_LE(answer->bytes(), static_cast<uint64_t>(floats) * sizeof(float) + 256);
    const Digest row = Row(static_cast<uint64_t>(floats));
    const uint64_t before = store.bytes();
    EXPECT_EQ(bool{store.Put(row, {rows}, 1)}, floats < 65'000) << floats;
    EXPECT_EQ(bool{store.Get(row)}, floats < 65'000) << floats;
    if (store.TakeEvictions() == 0) {
      EXPECT_EQ(store.bytes() - before, store.Get(row) ? answer->bytes() : 0) << floats;
    }
  }
  const std::vector<std::string> texts = {"a", "bc", std::string(1000, 'x'), ""};
  const Tensor strings = Tensor::OfStrings({2, 2}, absl::MakeConstSpan(texts));
  EXPECT_EQ(RowAnswer::BytesFor({strings}, 1) - RowAnswer::BytesFor({strings}, 0), 1008 - 16);
}

/// One output more than a row holds inline: of each kind, an empty one, and one of many extents.
TEST(AnswerStoreTest, OutputsOfAnyKindComeBackBitByBit) {
  const std::vector<std::string> texts = {"a", "", "long text", "", "", ""};
  const std::vector<Tensor> outputs = {
      Tensor::OfStrings({3, 2}, absl::MakeConstSpan(texts)),
      Tensor::CopyOf(DType::kBool, {3}, absl::string_view("\1\0\1", 3)),
      Tensor::CopyOf(DType::kInt4, {3, 2}, "abc"),
      Tensor::Of<double>({3, 1, 1, 1, 1, 2}, {0.1, -0.0, 1, 2, 3, 4}),
      Tensor::Of<float>({3, 0}, std::initializer_list<float>{}),
      Tensor::OfStrings({3, 0}, absl::Span<const std::string>()),
  };
  AnswerStore store(AnswerStore::kMinBytes);
  std::vector<Ref<const RowAnswer>> rows;
  for (int64_t row = 0; row < 3; ++row) {
    rows.push_back(store.Put(Row(static_cast<uint64_t>(row)), outputs, row));
    const auto alone = RowAnswer::Join({rows.back()});
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ((*alone)[i].dtype(), outputs[i].dtype());
      EXPECT_EQ((*alone)[i].shape(), outputs[i].Slice(row, 1).shape());
      EXPECT_EQ((*alone)[i].bytes(), outputs[i].Slice(row, 1).bytes()) << i;
      EXPECT_TRUE((*alone)[i].aligned());
    }
  }
  const auto joined = RowAnswer::Join(rows);
  for (size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_EQ((*joined)[i].shape(), outputs[i].shape());
    EXPECT_EQ((*joined)[i].bytes(), outputs[i].bytes()) << i;
  }
}

TEST(AnswerStoreTest, AnAnswerThatMakesRoomGivesItsMemoryUnlessSomebodyHoldsIt) {
  AnswerStore store(AnswerStore::kMinBytes);
  uint64_t row = 0;
  while (store.TakeEvictions() == 0) Put(store, ++row, 0, 250);
  // The next to go, in the order in which they came.
  const Ref<const RowAnswer> held = store.Get(Row(2));
  ASSERT_TRUE(held);
  const void* const memory = store.Get(Row(3)).get();
  const uint64_t bytes = store.bytes();
  EXPECT_NE(Put(store, ++row, 1, 250).get(), held.get());
  EXPECT_FALSE(store.Get(Row(2)));
  EXPECT_EQ(Put(store, ++row, 2, 250).get(), memory);
  EXPECT_FALSE(store.Get(Row(3)));
  EXPECT_EQ(store.bytes(), bytes);
  EXPECT_EQ(store.TakeEvictions(), 2);
  EXPECT_EQ(ValueOf(held), 0);
  EXPECT_EQ(ValueOf(store.Get(Row(row))), 2);
  // Of another size: in memory of its own.
  const Ref<const RowAnswer> smaller = Put(store, ++row, 3, 125);
  EXPECT_EQ(ValueOf(smaller), 3);
  EXPECT_EQ(store.bytes(), bytes + smaller->bytes() - store.TakeEvictions() * held->bytes());
}

TEST(AnswerStoreTest, TellsWhetherAnythingHasCome) {
  AnswerStore store(AnswerStore::kMinBytes);
  const uint64_t before = store.Puts(Row(1));
  EXPECT_FALSE(store.Get(Row(1)));
  EXPECT_EQ(store.Puts(Row(1)), before);
  Put(store, 1, 1);
  EXPECT_NE(store.Puts(Row(1)), before);
}

/// More at once than there is room for, each as large as may be: what does not fit is not kept.
TEST(AnswerStoreTest, ManyLargeAnswersAtOnce) {
  AnswerStore store(AnswerStore::kMinBytes);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&store, t] {
      for (uint64_t i = 0; i < 200; ++i) {
        const Tensor outputs = Outputs(static_cast<float>(t), 60'000);
        const auto answer = store.Put(Row(t * 1000 + i), {outputs}, 0);
        if (answer) {
          ASSERT_EQ(ValueOf(answer), static_cast<float>(t));
        }
        ASSERT_LE(store.bytes(), store.max_bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
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
          Put(store, row, static_cast<float>(row), 50);
        }
        ASSERT_LE(store.bytes(), store.max_bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace portico
