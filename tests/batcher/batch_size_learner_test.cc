#include "batcher/batch_size_learner.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

/// Runs as large as allowed, each of which takes `overhead` and `per_row` for each row.
void RunMany(BatchSizeLearner& learner, int runs, absl::Duration overhead, absl::Duration per_row) {
  for (int i = 0; i < runs; ++i) {
    const int64_t rows = learner.NextLimit();
    learner.Record(rows, overhead + per_row * static_cast<double>(rows));
  }
}

TEST(BatchSizeLearnerTest, SaysTheMostUntilItKnowsBetter) { EXPECT_EQ(BatchSizeLearner(100).best(), 100); }

TEST(BatchSizeLearnerTest, FindsTheSizeBeyondWhichARowCostsTheSame) {
  BatchSizeLearner learner(256);
  // 8 rows cost 18 us, 16 cost 26 (1.6 a row), 128 cost 138 (1.08), 256 cost 266 (1.04).
  RunMany(learner, 5000, absl::Microseconds(10), absl::Microseconds(1));
  EXPECT_GE(learner.best(), 64);
  EXPECT_LE(learner.best(), 128);
}

TEST(BatchSizeLearnerTest, RowsThatShareNothingAreRunAlone) {
  BatchSizeLearner learner(64);
  RunMany(learner, 5000, absl::ZeroDuration(), absl::Microseconds(50));
  EXPECT_EQ(learner.best(), 1);
}

TEST(BatchSizeLearnerTest, LargeFixedCostsWantTheLargestRuns) {
  BatchSizeLearner learner(100);
  RunMany(learner, 5000, absl::Milliseconds(10), absl::Microseconds(1));
  EXPECT_EQ(learner.best(), 100);
}

TEST(BatchSizeLearnerTest, FollowsAChange) {
  BatchSizeLearner learner(64);
  RunMany(learner, 5000, absl::ZeroDuration(), absl::Microseconds(50));
  RunMany(learner, 20000, absl::Milliseconds(10), absl::Microseconds(1));
  EXPECT_EQ(learner.best(), 64);
}

TEST(BatchSizeLearnerTest, TakesWhateverItIsTold) {
  BatchSizeLearner learner(1);
  learner.Record(0, absl::Seconds(1));
  learner.Record(1000, absl::ZeroDuration());
  EXPECT_EQ(learner.NextLimit(), 1);
}

}  // namespace
}  // namespace portico
