#include "node/servables/demand_queue.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DemandQueueTest : public ::testing::Test {
 protected:
  DemandQueue::Step Next() {
    return queue_.Next([this](const std::string& model, bool insisted) { return insisted || wanted_.contains(model); },
                       [this] { return resident_; });
  }
  void Add(const std::string& model, uint64_t bytes) {
    queue_.Add(model);
    queue_.Measured(model, bytes);
    wanted_.insert(model);
  }

  DemandQueue queue_{100};
  std::set<std::string> wanted_;
  std::vector<ResidentModel> resident_;
};

TEST_F(DemandQueueTest, FirstComeFirstServedButForThoseNotMeasured) {
  queue_.Add("slow");
  wanted_.insert("slow");
  Add("a", 10);
  Add("b", 20);
  EXPECT_TRUE(queue_.Unmeasured("slow"));
  EXPECT_EQ(Next().model, "a");
  EXPECT_EQ(Next().model, "b");
  EXPECT_EQ(Next().model, "");
  queue_.Measured("slow", 30);
  const DemandQueue::Step step = Next();
  EXPECT_EQ(step.model, "slow");
  EXPECT_EQ(step.bytes, 30u);
  EXPECT_FALSE(queue_.Has("slow"));
}

TEST_F(DemandQueueTest, WhatNobodyWantsAnyMoreIsDroppedUnlessInsistedOn) {
  Add("a", 10);
  Add("b", 10);
  Add("c", 10);
  wanted_ = {"c"};
  queue_.Insist("b");
  EXPECT_EQ(Next().model, "b");
  EXPECT_EQ(Next().model, "c");
  EXPECT_FALSE(queue_.Has("a"));
}

TEST_F(DemandQueueTest, OthersMakeRoomFirst) {
  resident_ = {{.name = "old", .bytes = 80, .idle = true, .last_used = 1}};
  Add("a", 50);
  DemandQueue::Step step = Next();
  EXPECT_EQ(step.model, "");
  EXPECT_THAT(step.unload, ElementsAre("old"));
  resident_ = {{.name = "old", .leaving_bytes = 80}};
  step = Next();
  EXPECT_EQ(step.model, "");
  EXPECT_THAT(step.unload, IsEmpty());
  resident_.clear();
  EXPECT_EQ(Next().model, "a");
}

TEST_F(DemandQueueTest, WhatWillNeverFitIsRefusedAndHoldsUpNobody) {
  Add("huge", 200);
  Add("a", 50);
  const DemandQueue::Step step = Next();
  EXPECT_EQ(step.model, "huge");
  EXPECT_EQ(step.possible.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(step.possible.message()), HasSubstr("huge"));
  const DemandQueue::Step next = Next();
  EXPECT_EQ(next.model, "a");
  EXPECT_TRUE(next.possible.ok());
}

}  // namespace
}  // namespace portico
