#include "base/turn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/capped_executor.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(TurnTest, RunsWhatWasAddedInOrderAndWhatThatAdds) {
  std::vector<std::string> ran;
  Turn turn;
  turn.Add([&] {
    ran.push_back("a");
    turn.Add([&] { ran.push_back("a's"); });
  });
  turn.Add([&] { ran.push_back("b"); });
  EXPECT_TRUE(ran.empty());
  turn.Finish();
  EXPECT_THAT(ran, ElementsAre("a", "b", "a's"));
  turn.Finish();
  EXPECT_EQ(ran.size(), 3u);
}

TEST(TurnTest, AsksOnceARound) {
  int asked = 0;
  Turn turn([&] { ++asked; });
  turn.Add([] {});
  turn.Add([&] { turn.Add([] {}); });
  EXPECT_EQ(asked, 1);
  turn.Finish();
  EXPECT_EQ(asked, 1);
  turn.Add([] {});
  EXPECT_EQ(asked, 2);
}

TEST(TurnTest, IsOfItsThreadWhileItLives) {
  EXPECT_EQ(Turn::Current(), nullptr);
  {
    const Turn turn;
    EXPECT_EQ(Turn::Current(), &turn);
    std::thread([] { EXPECT_EQ(Turn::Current(), nullptr); }).join();
  }
  EXPECT_EQ(Turn::Current(), nullptr);
}

TEST(TurnTest, WhatIsLeftIsDroppedUnrun) {
  struct Task {
    explicit Task(int& dropped) : dropped(&dropped) {}
    Task(Task&& other) noexcept : dropped(std::exchange(other.dropped, nullptr)) {}
    ~Task() { dropped == nullptr ? 0 : ++*dropped; }
    void operator()() { FAIL(); }
    int* dropped;
  };
  int dropped = 0;
  {
    Turn turn;
    turn.Add(Task(dropped));
  }
  EXPECT_EQ(dropped, 1);
}

TEST(TurnTest, AShareOfTheWorkersIsNotLeftForATurn) {
  ThreadPool pool({.threads = 2});
  CappedExecutor capped(1, pool);
  const Turn turn;
  EXPECT_EQ(pool.TurnHere(), &turn);
  EXPECT_EQ(capped.TurnHere(), nullptr);
}

}  // namespace
}  // namespace portico
