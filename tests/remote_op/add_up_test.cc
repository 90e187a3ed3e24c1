#include "remote_op/add_up.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AddUpTest : public ::testing::Test {
 protected:
  void Run(Executor* workers, uint64_t numbers) {
    AddUp(workers, numbers, context_, [this](const absl::Status& status) { said_.push_back(status.code()); });
  }

  const Ref<RequestContext> context_ = MakeRef<RequestContext>();
  std::vector<absl::StatusCode> said_;
};

TEST_F(AddUpTest, LittleIsDoneAtOnceAndMuchByAWorker) {
  ManualExecutor workers;
  Run(&workers, kNumbersInPlace - 1);
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kOk));
  Run(&workers, kNumbersInPlace);
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kOk));
  workers.RunAll();
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kOk, absl::StatusCode::kOk));
  Run(nullptr, 10 * kNumbersInPlace);
  EXPECT_EQ(said_.size(), 3u);
}

TEST_F(AddUpTest, ARequestThatIsCancelledMeanwhileIsNotAddedUp) {
  ManualExecutor workers;
  Run(&workers, kNumbersInPlace);
  context_->Cancel();
  EXPECT_THAT(said_, IsEmpty());
  workers.RunAll();
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kCancelled));
}

TEST_F(AddUpTest, WorkThatIsDroppedSaysSo) {
  auto workers = std::make_unique<ManualExecutor>();
  Run(workers.get(), kNumbersInPlace);
  workers.reset();
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kCancelled));
  {
    ThreadPool pool({.threads = 1});
    pool.Stop();
    Run(&pool, kNumbersInPlace);
  }
  EXPECT_THAT(said_, ElementsAre(absl::StatusCode::kCancelled, absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace portico
