// Round robin, consistent hash and locality, simulated.

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "router/locality.h"
#include "router/policies/policy.h"
#include "router/stable_hash.h"

namespace portico {
namespace {

std::vector<Candidate> Named(int count) {
  std::vector<Candidate> candidates(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    candidates[static_cast<size_t>(i)].hash = StableHash(absl::StrCat("tcp://10.0.0.", i, ":7000"));
  }
  return candidates;
}

TEST(RoundRobinTest, TurnsGoRound) {
  const auto policy = NewRoundRobin();
  EXPECT_TRUE(policy->needs_turn());
  std::vector<Candidate> candidates(3);
  candidates[1].in_flight = 100;
  for (uint64_t turn = 0; turn < 9; ++turn) EXPECT_EQ(policy->Pick(candidates, {.turn = turn}), turn % 3);
}

TEST(ConsistentHashTest, KeysAreSpreadEvenlyAndStay) {
  const auto policy = NewConsistentHash();
  const std::vector<Candidate> candidates = Named(8);
  std::vector<int> keys(8);
  for (uint64_t key = 1; key <= 80'000; ++key) {
    const size_t pick = policy->Pick(candidates, {.random = key * 77, .key = key});
    EXPECT_EQ(policy->Pick(candidates, {.random = key, .key = key}), pick);
    ++keys[pick];
  }
  for (const int count : keys) EXPECT_NEAR(count, 10'000, 500);
}

TEST(ConsistentHashTest, OnlyTheKeysOfAReplicaThatGoesMove) {
  const auto policy = NewConsistentHash();
  const std::vector<Candidate> before = Named(8);
  std::vector<Candidate> after = before;
  after.erase(after.begin() + 3);
  int moved = 0;
  std::map<uint64_t, int> heirs;
  for (uint64_t key = 1; key <= 40'000; ++key) {
    const uint64_t owner = before[policy->Pick(before, {.key = key})].hash;
    const uint64_t heir = after[policy->Pick(after, {.key = key})].hash;
    if (owner == heir) continue;
    ++moved;
    ++heirs[heir];
    EXPECT_EQ(owner, before[3].hash);
  }
  EXPECT_NEAR(moved, 5'000, 300);
  EXPECT_EQ(heirs.size(), 7u) << "its keys spread over all others";
}

TEST(ConsistentHashTest, AHotKeySpillsOverWhereItsReplicaHasMoreThanItsShare) {
  const auto policy = NewConsistentHash();
  std::vector<Candidate> candidates = Named(4);
  for (int call = 0; call < 400; ++call) ++candidates[policy->Pick(candidates, {.key = 42})].in_flight;
  for (const Candidate& candidate : candidates) EXPECT_LE(candidate.in_flight, 126);
  std::vector<Candidate> idle = Named(4);
  const size_t owner = policy->Pick(idle, {.key = 42});
  idle[owner].in_flight = 3;
  EXPECT_EQ(policy->Pick(idle, {.key = 42}), owner) << "a few calls are nobody's concern";
}

TEST(LocalityTest, NearestFirstThenTheNextWhereThoseAreFull) {
  const auto policy = NewLocality();
  std::vector<Candidate> candidates = {
      {.distance = 4}, {.in_flight = 50, .distance = 2}, {.distance = 4}, {.in_flight = 50, .distance = 2}};
  std::mt19937_64 random(7);
  std::vector<int> picks(4);
  const auto draw = [&] {
    std::fill(picks.begin(), picks.end(), 0);
    for (int i = 0; i < 1000; ++i) ++picks[policy->Pick(candidates, {.random = random()})];
  };
  draw();
  EXPECT_EQ(picks[0] + picks[2], 0);
  EXPECT_NEAR(picks[1], 500, 80);
  candidates[1].full = true;
  draw();
  EXPECT_EQ(picks[3], 1000);
  candidates[3].full = true;
  draw();
  EXPECT_EQ(picks[1] + picks[3], 0);
  EXPECT_NEAR(picks[0], 500, 80);
  for (Candidate& candidate : candidates) candidate.full = true;
  draw();
  EXPECT_EQ(picks[0] + picks[1] + picks[2] + picks[3], 1000) << "somebody has to be asked";
}

TEST(LocalityTest, DistanceComesFromUrlAndZone) {
  EXPECT_EQ(DistanceOf("inproc://self", "z"), 0);
  EXPECT_EQ(DistanceOf("unix:///run/a.sock", "z"), 1);
  EXPECT_EQ(DistanceOf("shm:///run/a.sock", "z"), 1);
  EXPECT_EQ(DistanceOf("zmq+ipc:///run/a.sock", "z"), 1);
  EXPECT_EQ(DistanceOf("tcp://127.0.0.1:1", "z"), 2);
  EXPECT_EQ(DistanceOf("grpc://[::1]:1", "z"), 2);
  EXPECT_EQ(DistanceOf(PeerAddress("tcp://10.0.0.1:1", "z"), "z"), 3);
  EXPECT_EQ(DistanceOf(PeerAddress("tcp://10.0.0.1:1", "y"), "z"), 4);
  EXPECT_EQ(DistanceOf(PeerAddress("tcp://10.0.0.1:1", ""), ""), 4);
  EXPECT_EQ(DistanceOf("garbage", "z"), 4);
}

TEST(StableHashTest, IsTheSameEverywhere) {
  EXPECT_EQ(StableHash("tcp://a:1"), StableHash(std::string("tcp://a:1")));
  EXPECT_NE(StableHash("tcp://a:1"), StableHash("tcp://a:2"));
  EXPECT_NE(StableHash(""), StableHash(absl::string_view("\0", 1)));
}

}  // namespace
}  // namespace portico
