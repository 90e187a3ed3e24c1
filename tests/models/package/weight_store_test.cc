#include "models/package/weight_store.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(WeightStoreTest, EqualTensorsShareMemory) {
  WeightStore store;
  const WeightStore::Interned first = store.Intern(Tensor::Of<float>({2}, {1, 2}));
  const WeightStore::Interned second = store.Intern(Tensor::Of<float>({2}, {1, 2}));
  EXPECT_EQ(first.tensor.bytes().data(), second.tensor.bytes().data());
  EXPECT_EQ(first.digest, second.digest);
  EXPECT_EQ(store.bytes(), 8u);
}

TEST(WeightStoreTest, ShapeAndDtypeTellTensorsApart) {
  WeightStore store;
  const auto flat = store.Intern(Tensor::Of<float>({2}, {0, 0}));
  const auto row = store.Intern(Tensor::Of<float>({1, 2}, {0, 0}));
  const auto ints = store.Intern(Tensor::Of<int32_t>({2}, {0, 0}));
  EXPECT_NE(flat.digest, row.digest);
  EXPECT_NE(flat.digest, ints.digest);
  EXPECT_EQ(row.tensor.shape(), (Shape{1, 2}));
  EXPECT_EQ(ints.tensor.dtype(), DType::kInt32);
  EXPECT_EQ(store.bytes(), 24u);
}

TEST(WeightStoreTest, WeightGoesWithItsLastTensor) {
  WeightStore store;
  Tensor first = store.Intern(Tensor::Of<float>({2}, {1, 2})).tensor;
  Tensor second = store.Intern(Tensor::Of<float>({2}, {1, 2})).tensor;
  first = Tensor();
  EXPECT_EQ(store.bytes(), 8u);
  second = Tensor();
  EXPECT_EQ(store.bytes(), 0u);
  EXPECT_EQ(store.Intern(Tensor::Of<float>({2}, {1, 2})).tensor.data<float>()[1], 2.0f);
}

TEST(WeightStoreTest, TensorsMayOutliveTheStore) {
  auto store = std::make_unique<WeightStore>();
  const Tensor tensor = store->Intern(Tensor::OfStrings({1}, std::vector<std::string>{"kept"})).tensor;
  store.reset();
  EXPECT_EQ(tensor.StringAt(0), "kept");
}

// Threads take and drop the same few weights all the time, so that last releases and new ones meet.
TEST(WeightStoreTest, ThreadsShareWeightsWhileOthersDropThem) {
  WeightStore store;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, &wrong] {
      for (int i = 0; i < 2000; ++i) {
        const auto value = static_cast<float>(i % 3);
        const Tensor tensor = store.Intern(Tensor::Of<float>({4}, {value, value, value, value})).tensor;
        if (tensor.data<float>()[3] != value) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store.bytes(), 0u);
  const Tensor kept = store.Intern(Tensor::Of<float>({1}, {1})).tensor;
  const Tensor same = store.Intern(Tensor::Of<float>({1}, {1})).tensor;
  EXPECT_EQ(kept.bytes().data(), same.bytes().data());
}

}  // namespace
}  // namespace portico
