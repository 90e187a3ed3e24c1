#include "result_cache/row_digests.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::Optional;

Digest Model(uint8_t number) {
  Digest digest;
  digest.bytes[0] = number;
  return digest;
}

Tensor Texts(Shape shape, const std::vector<std::string>& values) {
  return Tensor::OfStrings(std::move(shape), absl::MakeConstSpan(values));
}

absl::InlinedVector<Digest, 1> Rows(const std::vector<Tensor>& inputs, std::vector<bool> row_inputs = {true},
                                    const Digest& model = Model(1), absl::string_view signature = "serving_default") {
  const RowDigests digests(model, signature, std::move(row_inputs));
  const std::optional<int64_t> rows = digests.RowsOf(inputs);
  EXPECT_TRUE(rows.has_value());
  return digests.Of(inputs, *rows);
}

TEST(RowDigestsTest, EqualRowsAreKnownAlikeWhereverTheyStand) {
  const auto two = Rows({Tensor::Of<float>({3, 2}, {1, 2, 3, 4, 1, 2})});
  EXPECT_EQ(two[0], two[2]);
  EXPECT_NE(two[0], two[1]);
  EXPECT_EQ(Rows({Tensor::Of<float>({1, 2}, {3, 4})})[0], two[1]);
}

TEST(RowDigestsTest, EverythingThatAnAnswerDependsOnCounts) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto of = [&](Shape shape) { return Tensor::Of<float>(std::move(shape), absl::MakeConstSpan(values)); };
  std::set<Digest> seen;
  const auto add = [&](const Digest& digest) { EXPECT_TRUE(seen.insert(digest).second); };
  add(Rows({of({1, 2, 3})})[0]);
  add(Rows({of({1, 3, 2})})[0]);
  add(Rows({of({1, 6})})[0]);
  add(Rows({of({1, 6, 1})})[0]);
  add(Rows({Tensor::CopyOf(DType::kInt32, {1, 6}, of({6}).bytes())})[0]);
  add(Rows({of({1, 6})}, {true}, Model(2))[0]);
  add(Rows({of({1, 6})}, {true}, Model(1), "other")[0]);
  // Inputs that swap a piece of their rows.
  const auto part = [](std::vector<uint8_t> bytes) {
    return Tensor::Of<uint8_t>({1, static_cast<int64_t>(bytes.size())}, absl::MakeConstSpan(bytes));
  };
  add(Rows({part({1, 2}), part({3})}, {true, true})[0]);
  add(Rows({part({1}), part({2, 3})}, {true, true})[0]);
}

TEST(RowDigestsTest, SharedInputsCountAsAWhole) {
  const Tensor rows = Tensor::Of<float>({2, 1}, {1, 1});
  const auto with = [&](Tensor shared) { return Rows({rows, std::move(shared)}, {true, false}); };
  const auto one = with(Tensor::Of<float>({2}, {7, 8}));
  EXPECT_EQ(one[0], one[1]);
  EXPECT_NE(one[0], with(Tensor::Of<float>({2}, {7, 9}))[0]);
  EXPECT_NE(one[0], with(Tensor::Of<float>({2, 1}, {7, 8}))[0]);
  EXPECT_NE(one[0], with(Tensor::Of<float>({1, 2}, {7, 8}))[0]);
}

TEST(RowDigestsTest, StringsAreKnownByTheirText) {
  const auto rows = Rows({Texts({3, 2}, {"ab", "c", "a", "bc", "ab", "c"})});
  EXPECT_EQ(rows[0], rows[2]);
  EXPECT_NE(rows[0], rows[1]);
  // The same text behind other rows, where offsets differ.
  EXPECT_EQ(Rows({Texts({1, 2}, {"a", "bc"})})[0], rows[1]);
}

TEST(RowDigestsTest, RowsThatCannotBeToldApart) {
  const RowDigests two(Model(1), "s", {true, true});
  const Tensor three = Tensor::Of<float>({3}, {1, 2, 3});
  EXPECT_THAT(two.RowsOf({three, three}), Optional(3));
  EXPECT_EQ(two.RowsOf({three, Tensor::Of<float>({2}, {1, 2})}), std::nullopt);
  EXPECT_EQ(two.RowsOf({three, Tensor::Of<float>({}, {1})}), std::nullopt);
  const RowDigests one(Model(1), "s", {true});
  EXPECT_EQ(one.RowsOf({Tensor::CopyOf(DType::kInt4, {3, 1}, "ab")}), std::nullopt);
  EXPECT_THAT(one.RowsOf({Tensor::CopyOf(DType::kInt4, {3, 2}, "abc")}), Optional(3));
  EXPECT_THAT(one.RowsOf({Tensor::Of<float>({0, 4}, std::initializer_list<float>{})}), Optional(0));
}

TEST(RowDigestsTest, RowsOfNoBytesAreNotCounted) {
  const auto empty = [](int64_t rows) { return Tensor::Of<float>({rows, 0}, std::initializer_list<float>{}); };
  const RowDigests one(Model(1), "s", {true});
  EXPECT_EQ(one.RowsOf({empty(int64_t{1} << 40)}), std::nullopt);
  EXPECT_EQ(one.RowsOf({empty(1)}), std::nullopt);
  EXPECT_EQ(one.RowsOf({Texts({5, 0}, {})}), std::nullopt);
  const RowDigests two(Model(1), "s", {true, true});
  EXPECT_THAT(two.RowsOf({empty(2), Tensor::Of<float>({2}, {1, 2})}), Optional(2));
}

TEST(RowDigestsTest, SoManyRowsAndNoMore) {
  const RowDigests one(Model(1), "s", {true});
  const auto rows = [](int64_t count) { return Tensor::Allocate(DType::kUint8, {count, 1}); };
  EXPECT_THAT(one.RowsOf({rows(RowDigests::kMaxRows)}), Optional(RowDigests::kMaxRows));
  EXPECT_EQ(one.RowsOf({rows(RowDigests::kMaxRows + 1)}), std::nullopt);
}

}  // namespace
}  // namespace portico
