#include "base/thread_schedule.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <thread>

#include "gtest/gtest.h"

namespace portico {
namespace {

/// Runs for 100 ms of a core's time; returns how often the thread gave its core up meanwhile.
int64_t SwitchesWhileBusy() {
  rusage before, after;
  getrusage(RUSAGE_THREAD, &before);
  timespec used, end;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  const int64_t end_ms = end.tv_sec * 1000 + end.tv_nsec / 1'000'000 + 100;
  do {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  } while (used.tv_sec * 1000 + used.tv_nsec / 1'000'000 < end_ms);
  getrusage(RUSAGE_THREAD, &after);
  return after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw;
}

TEST(ThreadScheduleTest, BackgroundThreadsAreNiced) {
  std::thread([] {
    YieldToServing(7);
    EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))), 7);
  }).join();
}

TEST(ThreadScheduleTest, ThreadsOfAThreadWithShortSlicesHaveThemToo) {
  const auto slice = [] {
    // struct sched_attr, first version: sched_runtime stands at 24.
    uint64_t attributes[6] = {};
    EXPECT_EQ(syscall(SYS_sched_getattr, 0, attributes, sizeof(attributes), 0), 0);
    return attributes[3];
  };
  std::thread([&] {
    AskForShortSlices(absl::Microseconds(700));
    if (slice() != 700'000) GTEST_SKIP() << "this kernel gives no slices by wish (Linux 6.12)";
    std::thread([&] { EXPECT_EQ(slice(), 700'000u); }).join();
    std::thread([&] {
      YieldToServing(1);
      EXPECT_NE(slice(), 700'000u);
    }).join();
  }).join();
}

TEST(ThreadScheduleTest, BackgroundWorkGivesItsCoreUpOftenAndOnlyUntilItsEnd) {
  // On this core alone, where somebody else wants it, too: a core that is given up is taken.
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over) {
    }
  });
  // A busy machine takes cores from everybody: then it may take several looks.
  int64_t often = 0, after = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int look = 0; look < 100 && often <= 2 * after; ++look) {
    if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(60)) break;
    std::thread([&] {
      const YieldOften yield;
      often = SwitchesWhileBusy();
    }).join();
    std::thread([&] {
      { const YieldOften yield; }
      after = SwitchesWhileBusy();
    }).join();
  }
  over = true;
  busy.join();
  sched_setaffinity(0, sizeof(before), &before);
  EXPECT_GT(often, 2 * after);
}

TEST(ThreadScheduleTest, BlockedCallsGoOn) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread reader([&] {
    const YieldOften yield;
    char byte = 0;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  reader.join();
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace portico
