#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "node/revision_serving.h"
#include "router/locality.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

Revision TwoZones() {
  Revision revision;
  revision.models = {{"enc", "/enc"}, {"app", "/app"}};
  revision.nodes.push_back({.name = "hub", .replica = 0, .serve = {"enc"}, .peer = "tcp://10.0.0.1:1", .zone = "eu-1"});
  revision.nodes.push_back({.name = "hub", .replica = 1, .serve = {"enc"}, .peer = "tcp://10.0.0.2:1", .zone = "eu-2"});
  revision.nodes.push_back({.name = "apps", .serve = {"app"}, .peer = "tcp://10.0.0.3:1", .zone = "eu-2"});
  revision.externals = {{"legacy/ranker", {"v2+http://10.0.0.9:8000"}, "ranker", 3, "serving_default"}};
  return revision;
}

TEST(RevisionPeersTest, PeersHaveTheZonesOfTheRevision) {
  const Revision revision = TwoZones();
  const auto peers = PeersOf({&revision}, "apps", 0, "inproc://self");
  EXPECT_THAT(peers.at("enc"),
              ElementsAre(PeerAddress("tcp://10.0.0.1:1", "eu-1"), PeerAddress("tcp://10.0.0.2:1", "eu-2")));
  // What locality makes of it, for a node that stands where its part of the revision says.
  const auto options = Node::OptionsFor(revision, "apps", 0);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->zone, "eu-2");
  EXPECT_GT(DistanceOf(peers.at("enc")[0], options->zone), DistanceOf(peers.at("enc")[1], options->zone));
}

TEST(RevisionPeersTest, ExternalTargetsHaveTheirServers) {
  const Revision revision = TwoZones();
  const auto peers = PeersOf({&revision}, "apps", 0, "inproc://self");
  EXPECT_THAT(peers.at("legacy/ranker"),
              ElementsAre(PeerAddress("v2+http://10.0.0.9:8000?model=ranker&target=legacy/ranker&version=3")));
  // The next revision moves it; requests of the one before go where they went.
  Revision next = TwoZones();
  next.number = revision.number + 1;
  next.externals[0].peers = {"v2+http://10.0.0.8:8000"};
  const auto both = PeersOf({&revision, &next}, "apps", 0, "").at("legacy/ranker");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].url, "v2+http://10.0.0.9:8000?model=ranker&target=legacy/ranker&version=3");
  EXPECT_EQ(both[0].revisions.last, revision.number);
  EXPECT_EQ(both[1].url, "v2+http://10.0.0.8:8000?model=ranker&target=legacy/ranker&version=3");
  EXPECT_EQ(both[1].revisions.first, next.number);
  next.externals.clear();
  EXPECT_EQ(PeersOf({&revision, &next}, "apps", 0, "").at("legacy/ranker").size(), 1u);
}

}  // namespace
}  // namespace portico
