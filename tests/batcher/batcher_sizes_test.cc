// How large runs are: limits, sizes that are allowed, padding, calls that are split.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST_F(BatcherTest, ARunHoldsAtMostTheLimitAndLargerCallsGoAlone) {
  options_.max_batch_rows = 3;
  Build();
  SubmitRows({1, 2});
  SubmitRows({3, 4});
  SubmitRows({5});
  SubmitRows({1, 2, 3, 4, 5});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 3, 5));
}

TEST_F(BatcherTest, RunsArePaddedToTheNextAllowedSizeAndOutputsAreCut) {
  options_.allowed_batch_rows = {4, 8};
  Build();
  SubmitRows({1});
  SubmitRows({2, 3});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4));
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(Values(0), ElementsAre(2));
  EXPECT_THAT(Values(1), ElementsAre(4, 6));
  SubmitRows({5, 6, 7, 8, 9});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4, 8));
  EXPECT_THAT(Values(2), ElementsAre(10, 12, 14, 16, 18));
  SubmitRows({1, 1, 1, 1});
  executor_.RunAll();
  EXPECT_EQ(runs_.back(), 4);
}

TEST_F(BatcherTest, TheLargestAllowedSizeLimitsJoinedRunsAndWhatIsLargerGoesAsItIs) {
  options_.allowed_batch_rows = {2, 4};
  Build();
  for (int i = 0; i < 3; ++i) SubmitRows({1, 2});
  SubmitRows({1, 2, 3, 4, 5});
  SubmitRows({});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4, 2, 5, 0));
}

TEST_F(BatcherTest, LargeCallsAreSplitWhereAskedFor) {
  options_.max_batch_rows = 2;
  options_.split_large_calls = true;
  Build();
  SubmitRows({1, 2, 3, 4, 5});
  SubmitRows({6});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 2, 2));
  EXPECT_THAT(Values(0), ElementsAre(2, 4, 6, 8, 10));
  EXPECT_THAT(Values(1), ElementsAre(12));
  // One bad piece fails the call, once, and the other caller of its run not at all.
  SubmitRows({1, 2, -1});
  SubmitRows({7});
  executor_.RunAll();
  EXPECT_EQ(Code(2), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Values(3), ElementsAre(14));
}

TEST_F(BatcherTest, ShorterRowsArePaddedWithTheirFirstElementWhereAskedFor) {
  options_.pad_inner = true;
  Build();
  Submit({Tensor::Of<float>({1, 2, 2}, {1, 2, 3, 4})});
  Submit({Tensor::Of<float>({2, 1, 3}, {5, 6, 7, 8, 9, 10})});
  executor_.RunAll();
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_THAT(seen_[0].shape(), ElementsAre(3, 2, 3));
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1, 2, 1, 3, 4, 1,  //
                                                  5, 6, 7, 5, 5, 5,  //
                                                  8, 9, 10, 5, 5, 5));
  EXPECT_THAT(Values(1), ElementsAre(10, 12, 14, 10, 10, 10, 16, 18, 20, 10, 10, 10));
}

TEST_F(BatcherTest, RowsOfDifferentExtentsDoNotJoinOtherwise) {
  Build();
  Submit({Tensor::Of<float>({1, 2}, {1, 2})});
  Submit({Tensor::Of<float>({1, 3}, {1, 2, 3})});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

}  // namespace
}  // namespace portico
