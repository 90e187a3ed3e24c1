#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/result_cache/result_cache_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(ResultCacheTest, RowsThatWereSeenAreNotRunAgain) {
  EXPECT_THAT(Values(SubmitRows({1, 2, 3})), ElementsAre(2, 4, 6));
  EXPECT_THAT(Values(SubmitRows({3, 1})), ElementsAre(6, 2));
  EXPECT_THAT(Values(SubmitRows({4, 2, 5, 1})), ElementsAre(8, 4, 10, 2));
  EXPECT_THAT(runs_, ElementsAre(3, 2));
  EXPECT_EQ(metrics_.rows("hit"), 4);
  EXPECT_EQ(metrics_.rows("miss"), 5);
  EXPECT_EQ(metrics_.rows("coalesced"), 0);
}

TEST_F(ResultCacheTest, EqualRowsOfOneCallRunOnce) {
  EXPECT_THAT(Values(SubmitRows({7, 8, 7, 7})), ElementsAre(14, 16, 14, 14));
  EXPECT_THAT(runs_, ElementsAre(2));
  EXPECT_EQ(metrics_.rows("miss"), 2);
  EXPECT_EQ(metrics_.rows("coalesced"), 2);
}

TEST_F(ResultCacheTest, NoRowsPassThrough) {
  EXPECT_THAT(Values(Submit({Tensor::Of<float>({0, 1}, std::initializer_list<float>{})})), IsEmpty());
  EXPECT_THAT(Values(Submit({Tensor::Of<float>({0, 1}, std::initializer_list<float>{})})), IsEmpty());
  EXPECT_THAT(runs_, ElementsAre(0, 0));
}

TEST_F(ResultCacheTest, WhatIsNotToldApartPassesThrough) {
  Build({false, true});
  // A shape can say any number of rows that take no bytes.
  const int64_t many = int64_t{1} << 40;
  const Tensor shared = Tensor::Of<float>({2, 1}, {5, 6});
  const size_t empty = Submit({shared, Tensor::Of<float>({many, 0}, std::initializer_list<float>{})});
  EXPECT_THAT(Values(empty), ElementsAre(10, 12));
  EXPECT_EQ(metrics_.rows("passed"), static_cast<double>(many));
  const size_t long_one = Submit({shared, Tensor::Allocate(DType::kUint8, {RowDigests::kMaxRows + 1, 1})});
  EXPECT_THAT(Values(long_one), ElementsAre(10, 12));
  EXPECT_EQ(metrics_.rows("passed"), static_cast<double>(many + RowDigests::kMaxRows + 1));
  EXPECT_EQ(metrics_.rows("miss"), 0);
  EXPECT_EQ(workers_.queued(), 0);
  EXPECT_THAT(looked_, IsEmpty());
}

TEST_F(ResultCacheTest, ExtentsCount) {
  EXPECT_TRUE(results_.empty());
  Submit({Tensor::Of<float>({1, 2, 3}, {1, 2, 3, 4, 5, 6})});
  Submit({Tensor::Of<float>({1, 3, 2}, {1, 2, 3, 4, 5, 6})});
  EXPECT_THAT(runs_, ElementsAre(1, 1));
  EXPECT_EQ((**results_[0])[0].shape(), (Shape{1, 2, 3}));
  EXPECT_EQ((**results_[1])[0].shape(), (Shape{1, 3, 2}));
}

TEST_F(ResultCacheTest, SharedInputsCount) {
  Build({true, false});
  Submit({Column({1}), Tensor::Of<float>({}, {1})});
  Submit({Column({1}), Tensor::Of<float>({}, {2})});
  Submit({Column({1}), Tensor::Of<float>({}, {2})});
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

TEST_F(ResultCacheTest, OutputsOfAnyKindComeBackBitByBit) {
  ResultCache::Options options;
  options.row_inputs = {true, true};
  int runs = 0;
  ResultCache cache(
      options, std::make_shared<AnswerStore>(AnswerStore::kMinBytes),
      [&](Ref<const RequestContext>, std::vector<Tensor> inputs, ResultCache::Done done) {
        ++runs;
        std::vector<bool> longer;
        Tensor is_long = Tensor::Allocate(DType::kBool, {inputs[0].rows()});
        for (int64_t row = 0; row < inputs[0].rows(); ++row) {
          is_long.mutable_bytes()[row] = inputs[0].StringAt(static_cast<uint64_t>(row)).size() > 2;
        }
        done(std::vector<Tensor>{inputs[0], is_long, inputs[1]});
      },
      workers_, timer_, clock_, metrics_);
  const std::vector<std::string> texts = {"a", "", "long text", "a", "xyz"};
  const Tensor text = Tensor::OfStrings({5, 1}, absl::MakeConstSpan(texts));
  const Tensor numbers = Tensor::Of<double>({5, 2}, {0.1, -0.0, 1, 2, 3, 4, 0.1, -0.0, 5, std::nan("")});
  std::vector<Result> results;
  const auto run = [&](std::vector<Tensor> inputs) {
    cache.Run(MakeRef<RequestContext>(), std::move(inputs),
              [&](Result result) { results.push_back(std::move(result)); });
  };
  run({text, numbers});
  run({text, numbers});
  run({text.Slice(2, 1), numbers.Slice(2, 1)});
  EXPECT_EQ(runs, 1);
  ASSERT_EQ(results.size(), 3);
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(results[i].ok());
    EXPECT_EQ((*results[i])[0].bytes(), text.bytes());
    EXPECT_EQ((*results[i])[1].bytes(), absl::string_view("\0\0\1\0\1", 5));
    EXPECT_EQ((*results[i])[2].bytes(), numbers.bytes());
    EXPECT_EQ((*results[i])[2].shape(), (Shape{5, 2}));
  }
  EXPECT_EQ((*results[2])[0].StringAt(0), "long text");
  EXPECT_EQ((*results[2])[2].bytes(), numbers.Slice(2, 1).bytes());
}

TEST_F(ResultCacheTest, OutputsThatDoNotFitTogetherAreRunWhole) {
  // Inner extents by the number of rows.
  ResultCache::Options options;
  options.row_inputs = {true};
  std::vector<int64_t> runs;
  ResultCache cache(
      options, std::make_shared<AnswerStore>(AnswerStore::kMinBytes),
      [&](Ref<const RequestContext>, std::vector<Tensor> inputs, ResultCache::Done done) {
        const int64_t rows = inputs[0].rows();
        runs.push_back(rows);
        Tensor out = Tensor::Allocate(DType::kUint8, {rows, rows});
        std::fill_n(out.mutable_bytes(), rows * rows, '\1');
        done(std::vector<Tensor>{out});
      },
      workers_, timer_, clock_, metrics_);
  std::vector<Result> results;
  for (const std::vector<float>& rows : {std::vector<float>{1, 2}, {1, 3}, {1, 3, 4}}) {
    cache.Run(MakeRef<RequestContext>(), {Column(rows)}, [&](Result result) { results.push_back(std::move(result)); });
  }
  EXPECT_THAT(runs, ElementsAre(2, 1, 2, 1, 3));
  ASSERT_EQ(results.size(), 3);
  EXPECT_EQ((*results[1])[0].shape(), (Shape{2, 2}));
  EXPECT_EQ((*results[2])[0].shape(), (Shape{3, 3}));
}

TEST_F(ResultCacheTest, LargeInputsAreHashedByAWorker) {
  std::vector<float> values(ResultCache::kInlineRows + 1, 3);
  const size_t call = SubmitRows(values);
  EXPECT_FALSE(results_[call].has_value());
  EXPECT_EQ(workers_.RunAll(), 1);
  EXPECT_EQ(Values(call).size(), values.size());
  EXPECT_THAT(runs_, ElementsAre(1));
  const Tensor wide = Tensor::Allocate(DType::kFloat, {1, ResultCache::kInlineBytes / sizeof(float) + 1});
  const size_t dropped = Submit({wide});
  workers_.DropAll();
  EXPECT_EQ(Code(dropped), absl::StatusCode::kUnavailable);
}

TEST_F(ResultCacheTest, ATraceSaysWhatWasFound) {
  SubmitRows({1, 2});
  const auto context = MakeRef<RequestContext>();
  context->trace.sampled = true;
  context->trace.parent_span_id = 7;
  SubmitRows({1, 2, 3, 3}, context);
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 1);
  EXPECT_EQ(spans[0].name, "result cache");
  EXPECT_EQ(spans[0].parent_span_id, 7);
  EXPECT_EQ(*spans[0].Number("rows"), 4);
  EXPECT_EQ(*spans[0].Number("hits"), 2);
  EXPECT_EQ(*spans[0].Number("coalesced"), 1);
}

}  // namespace
}  // namespace portico
