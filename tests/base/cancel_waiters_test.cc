#include "base/cancel_waiters.h"

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

class Hook final : public CancelHook {
 public:
  explicit Hook(std::function<void()> then = nullptr) : then_(std::move(then)) {}
  void OnCancel() override {
    told.fetch_add(1);
    if (then_) then_();
  }
  std::atomic<int> told{0};

 private:
  const std::function<void()> then_;
};

class Waiter final : public CancelWaiters::Waiter {
 public:
  void OnCancel(uint64_t ticket, uint64_t) override { tickets.push_back(ticket); }
  std::vector<uint64_t> tickets;
};

TEST(CancelWaitersTest, HooksAndWaitersAreToldOnce) {
  CancelWaiters waiters;
  Waiter waiter;
  const auto hook = MakeRef<Hook>();
  waiters.Add(&waiter, 7, 0);
  waiters.Add(hook);
  waiters.NotifyAll();
  waiters.NotifyAll();
  EXPECT_THAT(waiter.tickets, ElementsAre(7u));
  EXPECT_EQ(hook->told, 1);
}

TEST(CancelWaitersTest, AHookThatWasRemovedIsNotTold) {
  CancelWaiters waiters;
  const auto first = MakeRef<Hook>(), second = MakeRef<Hook>(), third = MakeRef<Hook>();
  for (const auto& hook : {first, second, third}) waiters.Add(hook);
  waiters.Remove(*second);
  waiters.Remove(*second);
  waiters.NotifyAll();
  EXPECT_EQ(first->told, 1);
  EXPECT_EQ(second->told, 0);
  EXPECT_EQ(third->told, 1);
}

TEST(CancelWaitersTest, AHookMayAddAndRemove) {
  CancelWaiters waiters;
  const auto other = MakeRef<Hook>();
  const auto hook = MakeRef<Hook>([&] {
    waiters.Remove(*other);
    waiters.Add(other);
  });
  waiters.Add(hook);
  waiters.NotifyAll();
  EXPECT_EQ(hook->told, 1);
  waiters.Remove(*other);
}

TEST(CancelWaitersTest, ThreadsMayMeet) {
  for (int round = 0; round < 200; ++round) {
    CancelWaiters waiters;
    const auto hook = MakeRef<Hook>();
    std::thread adds([&] {
      waiters.Add(hook);
      waiters.Remove(*hook);
    });
    waiters.NotifyAll();
    adds.join();
    EXPECT_LE(hook->told, 1);
  }
}

}  // namespace
}  // namespace portico
