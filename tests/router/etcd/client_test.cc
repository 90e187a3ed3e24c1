#include "router/etcd/client.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/etcd/fake_etcd.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<EtcdClient> ClientOf(EtcdOptions options) { return *EtcdClient::Create(std::move(options)); }

/// An address at which nobody listens.
std::string DeadEndpoint() {
  FakeEtcd gone;
  return gone.endpoint();
}

TEST(EtcdClientTest, PutsGetsAndListsWhatBeginsWithAPrefix) {
  FakeEtcd etcd;
  const auto client = ClientOf(etcd.Options());
  EXPECT_TRUE(client->Put("/a/1", "one", 0).ok());
  EXPECT_TRUE(client->Put("/a/2", std::string("t\0o", 3), 0).ok());
  EXPECT_TRUE(client->Put("/b", "no", 0).ok());
  EXPECT_EQ(client->Get("/a/2")->value, std::string("t\0o", 3));
  EXPECT_TRUE(absl::IsNotFound(client->Get("/a/3").status()));
  const auto listing = client->List("/a/");
  ASSERT_TRUE(listing.ok()) << listing.status();
  ASSERT_EQ(listing->entries.size(), 2u);
  EXPECT_EQ(listing->entries[0].key, "/a/1");
  EXPECT_EQ(listing->entries[1].mod_revision, 3);
  EXPECT_EQ(listing->revision, 4);
}

TEST(EtcdClientTest, ListsLongRangesInPages) {
  FakeEtcd etcd;
  for (int i = 0; i < 1300; ++i) etcd.Put(absl::StrCat("/n/", 10000 + i), "v");
  const auto client = ClientOf(etcd.Options());
  const auto listing = client->List("/n/");
  ASSERT_TRUE(listing.ok()) << listing.status();
  EXPECT_EQ(listing->entries.size(), 1300u);
  EXPECT_EQ(listing->entries.back().key, "/n/11299");
  EXPECT_EQ(etcd.ranges(), 3);
}

TEST(EtcdClientTest, CommitsOnlyWhereAllConditionsHold) {
  FakeEtcd etcd;
  const auto client = ClientOf(etcd.Options());
  EtcdTransaction take;
  take.conditions = {{"/lock", 0}};
  take.puts = {{"/lock", "me", 0}, {"/other", "x", 0}};
  EXPECT_TRUE(*client->Commit(take));
  EXPECT_FALSE(*client->Commit(take)) << "it is there already";
  EtcdTransaction give;
  give.conditions = {{"/lock", client->Get("/lock")->create_revision}};
  give.deletes = {"/lock"};
  EXPECT_TRUE(*client->Commit(give));
  EXPECT_FALSE(*client->Commit(give));
  EXPECT_EQ(etcd.Keys().count("/lock"), 0u);
}

TEST(EtcdClientTest, ALeaseTakesItsKeysAlong) {
  FakeEtcd etcd;
  const auto client = ClientOf(etcd.Options());
  const int64_t lease = *client->GrantLease(absl::Seconds(5));
  EXPECT_TRUE(client->Put("/k", "v", lease).ok());
  EXPECT_TRUE(client->KeepLeaseAlive(lease).ok());
  EXPECT_TRUE(client->RevokeLease(lease).ok());
  EXPECT_TRUE(etcd.Keys().empty());
  EXPECT_TRUE(absl::IsNotFound(client->KeepLeaseAlive(lease)));
  EXPECT_TRUE(absl::IsNotFound(client->Put("/k", "v", lease)));
}

TEST(EtcdClientTest, GoesToAnotherMemberWhereOneIsAway) {
  FakeEtcd etcd;
  EtcdOptions options = etcd.Options();
  options.endpoints = {DeadEndpoint(), etcd.endpoint()};
  const auto client = ClientOf(options);
  EXPECT_TRUE(client->Put("/k", "v", 0).ok());
  EXPECT_TRUE(client->KeepLeaseAlive(*client->GrantLease(absl::Seconds(5))).ok());
  // A watch shows it, and the next one goes elsewhere.
  options.endpoints = {DeadEndpoint(), etcd.endpoint()};
  const auto other = ClientOf(options);
  EXPECT_TRUE(absl::IsUnavailable(other->Watch("/", 1)->Next().status()));
  EXPECT_TRUE(other->Watch("/", 1)->Next().ok());
}

TEST(EtcdClientTest, WhereNobodyAnswersTheErrorNamesTheMember) {
  EtcdOptions options;
  options.endpoints = {DeadEndpoint()};
  const auto client = ClientOf(options);
  const absl::Status status = client->Put("/k", "v", 0);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(options.endpoints[0]));
  EXPECT_FALSE(client->KeepLeaseAlive(1).ok());
}

TEST(EtcdClientTest, SaysWhoItIsAndDoesSoAgainWhenItsTokenIsOfNoUse) {
  FakeEtcd etcd;
  etcd.RequireUser("root", "secret");
  EXPECT_FALSE(ClientOf(etcd.Options())->Put("/k", "v", 0).ok());
  EtcdOptions options = etcd.Options();
  options.user = "root";
  options.password = "wrong";
  EXPECT_FALSE(ClientOf(options)->Put("/k", "v", 0).ok());
  options.password = "secret";
  const auto client = ClientOf(options);
  EXPECT_TRUE(client->Put("/k", "v", 0).ok());
  etcd.ForgetTokens();
  EXPECT_TRUE(client->Put("/k", "w", 0).ok());
  EXPECT_TRUE(client->Watch("/", 1)->Next().ok());
  // Watches are only said to be not permitted.
  etcd.ForgetTokens();
  EXPECT_TRUE(absl::IsUnavailable(client->Watch("/", 1)->Next().status()));
  EXPECT_TRUE(client->Watch("/", 1)->Next().ok());
}

TEST(EtcdClientTest, WatchTellsWhatHappensInOrderAndThatItIsForgotten) {
  FakeEtcd etcd;
  const auto client = ClientOf(etcd.Options());
  etcd.Put("/a/1", "x");
  const auto watch = client->Watch("/a/", 2);
  ASSERT_TRUE(watch->Next().ok());
  const auto first = watch->Next();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->changes.size(), 1u);
  EXPECT_EQ(first->changes[0].entry.value, "x");
  etcd.Put("/b", "another's");
  etcd.Delete("/a/1");
  const auto second = watch->Next();
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ(second->changes.size(), 1u);
  EXPECT_TRUE(second->changes[0].deleted);
  etcd.Compact();
  const auto late = client->Watch("/a/", 2);
  ASSERT_TRUE(late->Next().ok());
  EXPECT_TRUE(absl::IsOutOfRange(late->Next().status()));
}

TEST(EtcdClientTest, StopEndsWhatIsUnderWay) {
  FakeEtcd etcd;
  const auto client = ClientOf(etcd.Options());
  const auto watch = client->Watch("/", 1);
  ASSERT_TRUE(watch->Next().ok());
  std::thread stopper([&] { client->Stop(); });
  EXPECT_TRUE(absl::IsCancelled(watch->Next().status()));
  stopper.join();
  EXPECT_FALSE(client->Put("/k", "v", 0).ok());
}

TEST(EtcdClientTest, OptionsThatMakeNoSenseAreRefused) {
  const auto message = [](EtcdOptions options) {
    return std::string(EtcdClient::Create(std::move(options)).status().message());
  };
  EXPECT_THAT(message({}), HasSubstr("got 0 endpoints"));
  EXPECT_THAT(message({.endpoints = {"host"}}), HasSubstr("got endpoint 'host', want HOST:PORT"));
  EXPECT_THAT(message({.endpoints = {"http://host:2379"}}), HasSubstr("want HOST:PORT"));
  EXPECT_THAT(message({.endpoints = {"host:1"}, .certificate = "x"}), HasSubstr("a key or a certificate alone"));
  EXPECT_THAT(message({.endpoints = {"host:1"}, .certificate = "x", .key = "y"}), HasSubstr("without authorities"));
}

TEST(EtcdClientTest, RangeOfAPrefixEndsBeforeTheNext) {
  EXPECT_EQ(EtcdRangeEnd("/a/"), "/a0");
  EXPECT_EQ(EtcdRangeEnd("a\xff"), "b");
  EXPECT_EQ(EtcdRangeEnd("\xff"), std::string(1, '\0'));
}

}  // namespace
}  // namespace portico
