#include "router/etcd_resolver.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/registered_node.h"
#include "router/static_resolver.h"
#include "tests/router/etcd/fake_etcd.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RegisteredNode NodeOf(const std::string& id, const std::string& endpoint, const std::vector<std::string>& models) {
  RegisteredNode node;
  node.id = id;
  node.endpoints = {endpoint};
  node.host = "h1";
  for (const std::string& model : models) node.models.push_back({model, 1, "abcd"});
  return node;
}

class EtcdResolverTest : public ::testing::Test {
 protected:
  void Make() {
    EtcdResolver::Options options;
    options.nodes = "/p/nodes/";
    options.own = "own/0";
    options.self = "inproc://self";
    options.host = "h1";
    resolver_.emplace(std::move(options), inner_, *client_, MetricRegistry::Null());
    EXPECT_TRUE(resolver_->WaitForFirst(absl::Seconds(30)));
  }
  void Register(const RegisteredNode& node) { etcd_.Put("/p/nodes/" + node.id, FormatRegisteredNode(node)); }
  void Remove(const std::string& id) { etcd_.Delete("/p/nodes/" + id); }
  std::vector<std::string> Urls(const std::string& target) const {
    std::vector<std::string> urls;
    for (const PeerAddress& peer : resolver_->Resolve(target)) urls.push_back(peer.url);
    return urls;
  }
  void Expect(const std::string& target, const std::vector<std::string>& urls) const {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); Urls(target) != urls && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(Urls(target), urls);
  }

  FakeEtcd etcd_;
  const std::unique_ptr<EtcdClient> client_ = *EtcdClient::Create(etcd_.Options());
  StaticResolver inner_{StaticResolver::Table()};
  std::optional<EtcdResolver> resolver_;
};

TEST_F(EtcdResolverTest, NodesComeAndGoAndThatIsTold) {
  Register(NodeOf("a/0", "tcp://a:1", {"m", "n"}));
  Make();
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:1"));
  std::atomic<int> told{0};
  const auto watch = resolver_->WatchChanges([&] { ++told; });
  Register(NodeOf("a/1", "tcp://a:2", {"m", "m"}));
  Expect("m", {"tcp://a:1", "tcp://a:2"});
  EXPECT_THAT(Urls("n"), ElementsAre("tcp://a:1"));
  EXPECT_THAT(Urls("other"), IsEmpty());
  Remove("a/0");
  Expect("m", {"tcp://a:2"});
  for (const absl::Time end = absl::Now() + absl::Seconds(30); told < 2 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(told, 2);
}

TEST_F(EtcdResolverTest, ATargetKeepsItsLastNodesUntilThereAreOthers) {
  Register(NodeOf("a/0", "tcp://a:1", {"m"}));
  Register(NodeOf("a/1", "tcp://a:2", {"m"}));
  Make();
  Remove("a/0");
  Expect("m", {"tcp://a:2"});
  Remove("a/1");
  Register(NodeOf("z/0", "tcp://z:1", {"seen"}));
  Expect("seen", {"tcp://z:1"});
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:2")) << "it may have lost etcd only";
  Register(NodeOf("b/0", "tcp://b:1", {"m"}));
  Expect("m", {"tcp://b:1"});
}

TEST_F(EtcdResolverTest, EtcdThatForgetsEverythingEmptiesNothing) {
  Register(NodeOf("a/0", "tcp://a:1", {"m"}));
  Make();
  etcd_.Wipe();
  Register(NodeOf("z/0", "tcp://z:1", {"seen"}));
  Expect("seen", {"tcp://z:1"});
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:1"));
}

TEST_F(EtcdResolverTest, ItsOwnNodeIsReachedInside) {
  Register(NodeOf("own/0", "tcp://own:1", {"m"}));
  Register(NodeOf("a/0", "tcp://a:1", {"m"}));
  Make();
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:1", "inproc://self"));
}

TEST_F(EtcdResolverTest, SocketFilesAreForNodesOfTheSameHost) {
  RegisteredNode here = NodeOf("a/0", "unix:///run/a.sock", {"m"});
  here.endpoints.emplace_back("tcp://a:1");
  here.zone = "z1";
  Register(here);
  RegisteredNode there = here;
  there.id = "b/0";
  there.host = "h2";
  there.endpoints[1] = "tcp://b:1";
  Register(there);
  RegisteredNode nowhere = NodeOf("c/0", "shm:///run/c.sock", {"m"});
  nowhere.host = "h2";
  Register(nowhere);
  Make();
  EXPECT_THAT(Urls("m"), ElementsAre("unix:///run/a.sock", "tcp://b:1"));
  EXPECT_EQ(resolver_->Resolve("m")[0].zone, "z1");
}

TEST_F(EtcdResolverTest, WhatTheInnerOneSaysComesFirstAndOnce) {
  inner_.Update({{"m", {"tcp://s:1", "tcp://a:1"}}});
  Register(NodeOf("a/0", "tcp://a:1", {"m"}));
  Register(NodeOf("a/1", "tcp://a:2", {"m"}));
  Make();
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://s:1", "tcp://a:1", "tcp://a:2"));
  bool told = false;
  const auto watch = resolver_->WatchChanges([&] { told = true; });
  inner_.Update({});
  EXPECT_TRUE(told);
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:1", "tcp://a:2"));
}

TEST_F(EtcdResolverTest, ARegistrationThatIsNoneHurtsNobodyElse) {
  etcd_.Put("/p/nodes/bad/0", "{\"id\":");
  etcd_.Put("/p/nodes/bad/1", "[]");
  Register(NodeOf("a/0", "tcp://a:1", {"m"}));
  Make();
  EXPECT_THAT(Urls("m"), ElementsAre("tcp://a:1"));
}

TEST(RegisteredNodeTest, SurvivesTheWayThroughText) {
  RegisteredNode node = NodeOf("hub/1", "tcp://a:1", {"m", "publisher/name"});
  node.zone = "eu\"1";
  node.revisions = {4, 5, 3, 6, "no \n room"};
  const auto back = ParseRegisteredNode(FormatRegisteredNode(node));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(FormatRegisteredNode(*back), FormatRegisteredNode(node));
  EXPECT_EQ(back->models[1].name, "publisher/name");
  EXPECT_EQ(back->revisions.refused, 6u);
  EXPECT_EQ(back->revisions.why, "no \n room");
}

TEST(RegisteredNodeTest, KeysOfALaterReleaseAreLeftOutAndNonsenseIsRefused) {
  std::string text = FormatRegisteredNode(RegisteredNode());
  text.insert(1, "\"new\":{\"a\":[1]},");
  EXPECT_TRUE(ParseRegisteredNode(text).ok());
  for (const char* bad : {"", "{}", "[]", "null", "{\"id\":1}"}) {
    EXPECT_THAT(std::string(ParseRegisteredNode(bad).status().message()), HasSubstr("registered node: got")) << bad;
  }
}

}  // namespace
}  // namespace portico
