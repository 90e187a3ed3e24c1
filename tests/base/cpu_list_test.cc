#include "base/cpu_list.h"

#include <sched.h>

#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CpuListTest, NumbersAndRanges) {
  EXPECT_THAT(*ParseCpuList("3"), ElementsAre(3));
  EXPECT_THAT(*ParseCpuList("0-2,8,10-11"), ElementsAre(0, 1, 2, 8, 10, 11));
  for (const char* text : {"", "-1", "1-", "3-1", "1,1", "2,1", "a", "0-4096", "1,,2", "0--1"}) {
    const auto cpus = ParseCpuList(text);
    ASSERT_FALSE(cpus.ok()) << text;
    EXPECT_THAT(std::string(cpus.status().message()), HasSubstr("want numbers of cores, rising, such as 0-3,8"));
  }
}

TEST(CpuListTest, AllThreadsAndThoseTheyStartRunThere) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  std::promise<void> moved;
  std::thread other([&] {
    moved.get_future().wait();
    cpu_set_t own;
    ASSERT_EQ(sched_getaffinity(0, sizeof(own), &own), 0);
    EXPECT_EQ(CPU_COUNT(&own), 1);
  });
  std::thread([&] {
    int first = 0;
    while (!CPU_ISSET(first, &before)) ++first;
    EXPECT_TRUE(RunOnCpus({first}).ok());
    moved.set_value();
    std::thread([first] {
      cpu_set_t own;
      ASSERT_EQ(sched_getaffinity(0, sizeof(own), &own), 0);
      EXPECT_EQ(CPU_COUNT(&own), 1);
      EXPECT_TRUE(CPU_ISSET(first, &own));
      const absl::Status refused = RunOnCpus({first, 4000});
      EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(std::string(refused.message()),
                "cpus: got 4000, want some of " + std::to_string(first) + ", on which this process may run");
    }).join();
  }).join();
  other.join();
  // The thread of the tests goes back to where it was.
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace portico
