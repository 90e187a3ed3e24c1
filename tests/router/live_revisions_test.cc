#include "router/live_revisions.h"

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

}  // namespace
}  // namespace portico
