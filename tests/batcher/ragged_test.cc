#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "batcher/batcher.h"
#include "batcher/rows.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

using Result = absl::StatusOr<std::vector<Tensor>>;

constexpr RowPartition kKinds[] = {RowPartition::kRowSplits, RowPartition::kRowStarts, RowPartition::kRowLengths,
                                   RowPartition::kSegmentIds};

/// Rows of values as `kind` writes them.
std::vector<int64_t> PartitionOf(RowPartition kind, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> numbers;
  int64_t end = 0;
  if (kind == RowPartition::kRowSplits) numbers.push_back(0);
  for (size_t row = 0; row < lengths.size(); ++row) {
    if (kind == RowPartition::kRowStarts) numbers.push_back(end);
    end += lengths[row];
    if (kind == RowPartition::kRowSplits) numbers.push_back(end);
    if (kind == RowPartition::kRowLengths) numbers.push_back(lengths[row]);
    if (kind != RowPartition::kSegmentIds) continue;
    numbers.insert(numbers.end(), static_cast<size_t>(lengths[row]), static_cast<int64_t>(row));
  }
  return numbers;
}

Tensor Numbers(DType dtype, const std::vector<int64_t>& numbers) {
  const Shape shape = {static_cast<int64_t>(numbers.size())};
  if (dtype == DType::kInt64) return Tensor::Of<int64_t>(shape, absl::MakeConstSpan(numbers));
  const std::vector<int32_t> narrow(numbers.begin(), numbers.end());
  return Tensor::Of<int32_t>(shape, absl::MakeConstSpan(narrow));
}

/// The lengths that a partition says; written apart from the code under test.
std::vector<int64_t> LengthsOf(RowPartition kind, const Tensor& partition, int64_t values, int64_t rows) {
  std::vector<int64_t> numbers, lengths(static_cast<size_t>(rows), 0);
  for (int64_t i = 0; i < partition.rows(); ++i) numbers.push_back(PartitionAt(partition, i));
  if (kind == RowPartition::kRowLengths) return numbers;
  if (kind == RowPartition::kSegmentIds) {
    for (const int64_t row : numbers) ++lengths.at(static_cast<size_t>(row));
    return lengths;
  }
  if (kind == RowPartition::kRowStarts) numbers.push_back(values);
  for (size_t row = 0; row < lengths.size(); ++row) lengths[row] = numbers.at(row + 1) - numbers.at(row);
  return lengths;
}

/// Inputs: dense[N,1], ids[V], weights[V,2], partition. Output [N,3]: dense, and ids times each weight, summed by row.
class RaggedTest : public ::testing::TestWithParam<std::tuple<RowPartition, DType>> {
 protected:
  RaggedTest() {
    options_.name = "m/segment_0";
    options_.row_inputs = {true, false, false, false};
    options_.ragged = {{1, 3, kind()}, {2, 3, kind()}};
    options_.row_outputs = true;
    options_.max_batch_rows = 32;
  }
  static RowPartition kind() { return std::get<0>(GetParam()); }
  static DType dtype() { return std::get<1>(GetParam()); }

  Result Run(absl::Span<const Tensor> inputs) {
    runs_.push_back(inputs[0].rows());
    const auto dense = inputs[0].data<float>();
    const auto ids = inputs[1].data<int64_t>();
    const auto weights = inputs[2].data<float>();
    std::vector<float> outputs;
    size_t at = 0;
    for (const int64_t length : LengthsOf(kind(), inputs[3], inputs[1].rows(), inputs[0].rows())) {
      outputs.push_back(dense[outputs.size() / 3]);
      float sums[2] = {};
      for (int64_t i = 0; i < length; ++i, ++at) {
        for (size_t w = 0; w < 2; ++w) sums[w] += static_cast<float>(ids[at]) * weights[2 * at + w];
      }
      outputs.insert(outputs.end(), {sums[0], sums[1]});
    }
    EXPECT_EQ(at, ids.size());
    return std::vector<Tensor>{Tensor::Of<float>({inputs[0].rows(), 3}, absl::MakeConstSpan(outputs))};
  }

  std::vector<Tensor> RandomCall(int64_t most_rows) {
    const auto up_to = [this](int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(random_); };
    std::vector<int64_t> lengths, ids;
    std::vector<float> dense, weights;
    for (int64_t rows = up_to(most_rows); rows > 0; --rows) {
      lengths.push_back(std::max<int64_t>(up_to(8) - 3, 0));  // Many are empty.
      dense.push_back(static_cast<float>(up_to(100)));
      for (int64_t i = 0; i < lengths.back(); ++i) {
        ids.push_back(up_to(1000));
        weights.insert(weights.end(), {static_cast<float>(up_to(9)), static_cast<float>(up_to(9))});
      }
    }
    const auto rows = static_cast<int64_t>(dense.size()), values = static_cast<int64_t>(ids.size());
    return {Tensor::Of<float>({rows, 1}, absl::MakeConstSpan(dense)),
            Tensor::Of<int64_t>({values}, absl::MakeConstSpan(ids)),
            Tensor::Of<float>({values, 2}, absl::MakeConstSpan(weights)),
            Numbers(dtype(), PartitionOf(kind(), lengths))};
  }

  /// Sends random calls that wait together, and compares each answer with that of the call alone.
  void ExpectJoinedEqualsAlone(int64_t most_rows) {
    for (int round = 0; round < 50; ++round) {
      Batcher batcher(
          options_, [this](absl::Span<const Tensor> inputs) { return Run(inputs); }, executor_, clock_,
          MetricRegistry::Null());
      std::vector<std::vector<Tensor>> calls;
      std::deque<std::optional<Result>> results;
      for (int i = 0; i < 12; ++i) {
        calls.push_back(RandomCall(most_rows));
        results.emplace_back();
        batcher.Submit(MakeRef<RequestContext>(), calls.back(),
                       [&result = results.back()](Result answer) { result = std::move(answer); });
      }
      runs_.clear();
      executor_.RunAll();
      all_runs_.insert(all_runs_.end(), runs_.begin(), runs_.end());
      for (size_t i = 0; i < calls.size(); ++i) {
        ASSERT_TRUE(results[i].has_value() && results[i]->ok());
        const Tensor& got = (**results[i])[0];
        const Tensor want = (*Run(calls[i]))[0];
        ASSERT_EQ(got.shape(), want.shape());
        ASSERT_EQ(got.bytes(), want.bytes());
      }
    }
  }

  std::mt19937_64 random_{17};
  FakeClock clock_;
  ManualExecutor executor_;
  Batcher::Options options_;
  std::vector<int64_t> runs_, all_runs_;
};

TEST_P(RaggedTest, JoinedCallsAnswerAsEachAlone) {
  ExpectJoinedEqualsAlone(8);
  EXPECT_LT(all_runs_.size(), 50 * 12 / 3);  // They were joined.
}

TEST_P(RaggedTest, PaddedRunsAnswerAsEachAlone) {
  options_.allowed_batch_rows = {4, 16, 32};
  ExpectJoinedEqualsAlone(8);
  EXPECT_THAT(all_runs_, ::testing::Each(::testing::AnyOf(0, 4, 16, 32)));
}

TEST_P(RaggedTest, LargeCallsRunInPiecesAndAnswerAsOne) {
  options_.max_batch_rows = 7;
  options_.split_large_calls = true;
  ExpectJoinedEqualsAlone(40);
  EXPECT_THAT(all_runs_, ::testing::Each(::testing::Le(7)));
}

TEST_P(RaggedTest, ACallAloneIsNotCopied) {
  const std::vector<Tensor> call = RandomCall(8);
  const char* seen = nullptr;
  Batcher batcher(
      options_,
      [&](absl::Span<const Tensor> inputs) {
        seen = inputs[3].bytes().data();
        return Run(inputs);
      },
      executor_, clock_, MetricRegistry::Null());
  batcher.Submit(MakeRef<RequestContext>(), call, [](Result) {});
  executor_.RunAll();
  EXPECT_EQ(seen, call[3].bytes().data());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RaggedTest, ::testing::Combine(::testing::ValuesIn(kKinds), ::testing::Values(DType::kInt32, DType::kInt64)),
    [](const auto& info) {
      return absl::StrCat(RowPartitionName(std::get<0>(info.param)), "_", DTypeName(std::get<1>(info.param)));
    });

JoinRule SplitsRule() {
  Batcher::Options options;
  options.row_inputs = {false, false};
  options.ragged = {{0, 1, RowPartition::kRowSplits}};
  return JoinRule::Of(options);
}

TEST(RaggedRuleTest, WrongPartitionsDoNotJoin) {
  const Tensor values = Tensor::Of<float>({3}, {1, 2, 3});
  const auto rows = [&](std::vector<int64_t> splits) {
    return JoinableRows({values, Numbers(DType::kInt64, splits)}, SplitsRule());
  };
  EXPECT_EQ(rows({0, 1, 3}), 2);
  EXPECT_EQ(rows({0, 4, 3}), std::nullopt);
  EXPECT_EQ(rows({0, 1, 2}), std::nullopt);
  EXPECT_EQ(rows({}), std::nullopt);
}

TEST(RaggedRuleTest, OffsetsThatCouldOverflowGoAlone) {
  const JoinRule rule = SplitsRule();
  EXPECT_EQ(rule.max_int32_values, std::numeric_limits<int32_t>::max() / 128);
  const auto many = static_cast<int32_t>(rule.max_int32_values + 1);
  const Tensor values = Tensor::Allocate(DType::kInt8, {many});
  EXPECT_EQ(JoinableRows({values, Tensor::Of<int32_t>({2}, {0, many})}, rule), std::nullopt);
  EXPECT_EQ(JoinableRows({values, Tensor::Of<int64_t>({2}, {0, many})}, rule), 1);
}

TEST(RaggedRuleTest, OffsetsGoOnWhereTheCallBeforeEnded) {
  const Tensor a = Tensor::Of<float>({3}, {1, 2, 3}), b = Tensor::Of<float>({1}, {4});
  const Tensor a_splits = Numbers(DType::kInt64, {0, 1, 3}), b_splits = Numbers(DType::kInt64, {0, 0, 1});
  const std::vector<Tensor> first = {a, a_splits}, second = {b, b_splits};
  const CallRows calls[] = {{first, 2}, {second, 2}};
  const std::vector<Tensor> joined = GatherRows(calls, SplitsRule(), 1);
  EXPECT_THAT(joined[0].data<float>(), ElementsAre(1, 2, 3, 4, 1));
  EXPECT_THAT(joined[1].data<int64_t>(), ElementsAre(0, 1, 3, 3, 4, 5));
}

}  // namespace
}  // namespace portico
