#include "router/live_revisions.h"

#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

/// Of a node that serves `a` and `b`; `a` in versions `first` and `first` + 1, labelled "old" and "new".
std::shared_ptr<const RevisionView> View(uint64_t number, int64_t first) {
  Revision revision;
  revision.number = number;
  Revision::Model a, b, c;
  a.name = "a";
  a.pins = {{first, {}}, {first + 1, {}}};
  a.labels = {{"old", first}, {"new", first + 1}};
  b.name = "b";
  c.name = "c";
  c.pins = {{1, {}}};
  revision.models = {a, b, c};
  revision.nodes = {{.name = "n", .serve = {"a", "b"}}};
  return RevisionView::Of(revision, revision.nodes[0]);
}

int64_t VersionOf(const LiveRevisions& live, ServableRef ref, uint64_t number) {
  const absl::StatusOr<ServableRef> narrowed = live.Narrow(ref, number);
  EXPECT_TRUE(narrowed.ok()) << narrowed.status();
  EXPECT_EQ(narrowed->label, "");
  return narrowed->version;
}

TEST(LiveRevisionsTest, NamesAndLabelsMeanWhatTheRequestsRevisionSays) {
  LiveRevisions live(2);
  EXPECT_EQ(live.Narrow({.name = "a"}, 0)->version, -1);
  EXPECT_EQ(live.Stamp().first, 0u);
  live.Add(View(7, 3));
  live.Flip(7);
  live.Add(View(8, 5));
  EXPECT_EQ(live.Stamp().first, 7u);
  // Prepared, not flipped: calls of it are answered.
  EXPECT_EQ(VersionOf(live, {.name = "a"}, 7), 4);
  EXPECT_EQ(VersionOf(live, {.name = "a"}, 8), 6);
  EXPECT_EQ(VersionOf(live, {.name = "a"}, 0), 4);
  EXPECT_EQ(VersionOf(live, {.name = "a", .label = "old"}, 8), 5);
  EXPECT_EQ(VersionOf(live, {.name = "a", .version = 3}, 8), 3);
  // 0 is the default version where there is none of that number.
  EXPECT_EQ(VersionOf(live, {.name = "a", .version = 0}, 8), 6);
  // Not pinned: the node's own policy.
  EXPECT_EQ(VersionOf(live, {.name = "b"}, 8), -1);
  EXPECT_TRUE(absl::IsInvalidArgument(live.Narrow({.name = "a", .label = "x"}, 8).status()));
  // Not served here by this revision.
  EXPECT_TRUE(absl::IsNotFound(live.Narrow({.name = "c"}, 8).status()));
  // Another replica may hold it.
  EXPECT_TRUE(absl::IsNotFound(live.Narrow({.name = "a"}, 9).status()));
  live.Flip(8);
  live.Drop(7);
  EXPECT_EQ(live.Stamp().first, 8u);
  EXPECT_TRUE(absl::IsNotFound(live.Narrow({.name = "a"}, 7).status()));
}

TEST(LiveRevisionsTest, DigestNeedsNoRevision) {
  LiveRevisions live(1);
  live.Add(View(7, 3));
  live.Flip(7);
  ServableRef ref{.name = "a"};
  ref.digest.bytes[0] = 1;
  EXPECT_TRUE(live.Narrow(ref, 99).ok());
}

TEST(LiveRevisionsTest, RevisionIsInUseUntilItsLastRequestIsDone) {
  LiveRevisions live(3);
  live.Add(View(7, 3));
  live.Flip(7);
  EXPECT_EQ(live.OldestInUse(), 7u);
  auto request = live.Stamp();
  live.Add(View(8, 4));
  live.Add(View(9, 5));
  live.Flip(8);
  EXPECT_EQ(live.OldestInUse(), 7u);
  live.Flip(9);
  EXPECT_EQ(live.OldestInUse(), 7u);
  request.second.reset();
  EXPECT_EQ(live.OldestInUse(), 9u);
}

/// Of two requests, one sent when the other was answered, whichever cores they enter by.
TEST(LiveRevisionsTest, ARequestIsNeverStampedWithAnOlderRevisionThanOneBeforeIt) {
  constexpr uint64_t kFlips = 20'000;
  LiveRevisions live;
  live.Add(View(1, 1));
  live.Flip(1);
  std::atomic<uint64_t> seen{0};
  std::atomic<int> back{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> requests;
  cpu_set_t cores;
  ASSERT_EQ(sched_getaffinity(0, sizeof(cores), &cores), 0);
  for (int core = 0; core < CPU_SETSIZE && requests.size() < 4; ++core) {
    if (!CPU_ISSET(core, &cores)) continue;
    requests.emplace_back([&, core] {
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(core, &own);
      sched_setaffinity(0, sizeof(own), &own);
      while (!stop) {
        uint64_t before = seen;
        const uint64_t number = live.Stamp().first;
        if (number < before) ++back;
        while (before < number && !seen.compare_exchange_weak(before, number)) {
        }
      }
    });
  }
  for (uint64_t number = 2; number <= kFlips; ++number) {
    live.Add(View(number, 1));
    live.Flip(number);
    live.Drop(number - 1);
  }
  stop = true;
  for (std::thread& request : requests) request.join();
  EXPECT_EQ(back, 0);
}

}  // namespace
}  // namespace portico
