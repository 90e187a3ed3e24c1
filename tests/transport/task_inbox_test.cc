#include "transport/task_inbox.h"

#include <poll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace portico {
namespace {

/// Waits as a loop would, until a task stops it.
class Waiting {
 public:
  ~Waiting() {
    inbox.PostAndWait([this] { stopping_ = true; });
    thread_.join();
  }

  TaskInbox inbox;
  std::atomic<int> sleeps{0};

 private:
  void Run() {
    while (!stopping_) {
      inbox.FallAsleep();
      sleeps.fetch_add(1);
      pollfd state{.fd = inbox.fd(), .events = POLLIN, .revents = 0};
      if (poll(&state, 1, inbox.has_tasks() ? 0 : 30'000) > 0) inbox.ClearSignal();
      inbox.AwakeAgain();
      inbox.RunTasks();
    }
  }

  bool stopping_ = false;
  std::thread thread_{[this] { Run(); }};
};

TEST(TaskInboxTest, TasksOfManyThreadsRunInTheirOrderAndNoneIsLeftAsleep) {
  Waiting waiting;
  constexpr int kThreads = 4, kTasks = 2000;
  // Only on the waiting thread.
  std::vector<int> last(kThreads, -1);
  int out_of_order = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        const auto task = [&, t, i] {
          if (last[t] != i - 1) ++out_of_order;
          last[t] = i;
        };
        i % 100 == 0 ? waiting.inbox.PostAndWait(task) : waiting.inbox.Post(task);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  waiting.inbox.PostAndWait([&] {
    EXPECT_EQ(out_of_order, 0);
    for (const int seen : last) EXPECT_EQ(seen, kTasks - 1);
  });
}

TEST(TaskInboxTest, OneSignalIsEnoughForManyTasks) {
  TaskInbox inbox;
  inbox.FallAsleep();
  int ran = 0;
  for (int i = 0; i < 10; ++i) inbox.Post([&] { ++ran; });
  EXPECT_FALSE(inbox.asleep());
  pollfd state{.fd = inbox.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&state, 1, 0), 1);
  inbox.ClearSignal();
  EXPECT_EQ(poll(&state, 1, 0), 0);
  inbox.RunTasks();
  EXPECT_EQ(ran, 10);
  EXPECT_FALSE(inbox.has_tasks());
}

}  // namespace
}  // namespace portico
