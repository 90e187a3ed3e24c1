#include "base/tensor.h"

#include <cstring>

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(TensorTest, AllocatedMemoryIsAlignedAndShared) {
  Tensor tensor = Tensor::Allocate(DType::kFloat, {2, 3});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes().data()) % 64, 0u);
  EXPECT_EQ(tensor.bytes().size(), 24u);
  const Tensor copy = tensor;
  EXPECT_EQ(copy.bytes().data(), tensor.bytes().data());
}

TEST(TensorTest, ViewRefusesLengthThatDoesNotFit) {
  const char bytes[8] = {};
  EXPECT_TRUE(Tensor::View(DType::kFloat, {2}, {bytes, 8}, nullptr).ok());
  const auto bad = Tensor::View(DType::kFloat, {3}, {bytes, 8}, nullptr);
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(bad.status().message(), "tensor: got 8 bytes, want 12 for float32[3]");
}

TEST(TensorTest, FourBitElementsPackTwoToAByte) { EXPECT_EQ(Tensor::Allocate(DType::kInt4, {3}).bytes().size(), 2u); }

TEST(TensorTest, ShapeWithTooManyElementsIsRefused) {
  EXPECT_FALSE(NumElements(Shape{int64_t{1} << 40, int64_t{1} << 40}).ok());
  EXPECT_FALSE(NumElements(Shape{0, int64_t{1} << 40, int64_t{1} << 40}).ok());
  EXPECT_EQ(*NumElements(Shape{0, 5}), 0u);
  EXPECT_FALSE(NumElements(Shape{-1}).ok());
}

TEST(TensorTest, StringsAreReadBack) {
  const std::string values[] = {"a", "", "hello"};
  const Tensor tensor = Tensor::OfStrings({3}, absl::Span<const std::string>(values, 3));
  EXPECT_EQ(tensor.StringAt(0), "a");
  EXPECT_EQ(tensor.StringAt(1), "");
  EXPECT_EQ(tensor.StringAt(2), "hello");
  EXPECT_EQ(tensor.Slice(1, 2).StringAt(1), "hello");
}

TEST(TensorTest, StringOffsetsThatLieAreRefused) {
  std::string bytes(24 + 5, 'x');
  const auto set = [&](int i, uint64_t v) { std::memcpy(bytes.data() + 8 * i, &v, 8); };
  set(0, 0), set(1, 3), set(2, 5);
  EXPECT_TRUE(Tensor::View(DType::kString, {2}, bytes, nullptr).ok());
  set(1, 6);
  EXPECT_FALSE(Tensor::View(DType::kString, {2}, bytes, nullptr).ok());
  set(1, 3), set(2, 4);
  EXPECT_FALSE(Tensor::View(DType::kString, {2}, bytes, nullptr).ok());
  set(0, 1), set(2, 5);
  EXPECT_FALSE(Tensor::View(DType::kString, {2}, bytes, nullptr).ok());
}

TEST(TensorTest, SmallViewOfLargeOriginIsCopied) {
  const Tensor large = Tensor::Allocate(DType::kFloat, {1 << 20});
  const Tensor slice = large.Slice(0, 4);
  EXPECT_EQ(slice.bytes().data(), large.bytes().data());
  EXPECT_NE(slice.Unpinned().bytes().data(), large.bytes().data());
  EXPECT_EQ(large.Unpinned().bytes().data(), large.bytes().data());
}

TEST(TensorTest, ConcatJoinsRowsInOrder) {
  const Tensor joined = ConcatRows({Tensor::Of<int32_t>({1, 2}, {1, 2}), Tensor::Of<int32_t>({0, 2}, {}),
                                    Tensor::Of<int32_t>({2, 2}, {3, 4, 5, 6})});
  EXPECT_EQ(joined.shape(), (Shape{3, 2}));
  EXPECT_EQ(joined.data<int32_t>()[5], 6);
}

TEST(TensorTest, UnalignedViewIsCopiedOnDemand) {
  alignas(8) char bytes[17] = {};
  const auto view = Tensor::View(DType::kDouble, {2}, {bytes + 1, 16}, nullptr);
  ASSERT_TRUE(view.ok());
  EXPECT_FALSE(view->aligned());
  EXPECT_TRUE(view->Aligned().aligned());
}

}  // namespace
}  // namespace portico
