#include "router/etcd/lock.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/etcd/fake_etcd.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class EtcdLockTest : public ::testing::Test {
 protected:
  auto Take(const std::string& owner) { return EtcdLock::Take(*client_, "/lock", owner, absl::Seconds(10)); }
  static EtcdTransaction Writing(const std::string& value) {
    EtcdTransaction transaction;
    transaction.puts = {{"/k", value, 0}};
    return transaction;
  }

  FakeEtcd etcd_;
  const std::unique_ptr<EtcdClient> client_ = *EtcdClient::Create(etcd_.Options());
};

TEST_F(EtcdLockTest, OneAtATimeHasItAndTheNextWhenItIsGivenBack) {
  auto first = Take("a");
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status refused = Take("b").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("got it held by a "));
  EXPECT_TRUE((*first)->Commit(Writing("a")).ok());
  first->reset();
  EXPECT_EQ(etcd_.Keys().count("/lock"), 0u);
  EXPECT_EQ(etcd_.leases(), 0u) << "those who were refused leave nothing";
  EXPECT_TRUE(Take("b").ok());
}

TEST_F(EtcdLockTest, WhoHasLostItChangesNothingAnyMore) {
  const auto slow = Take("slow");
  ASSERT_TRUE(slow.ok());
  EXPECT_TRUE((*slow)->Keep(absl::FromUnixSeconds(100)).ok());
  etcd_.ExpireLeases();
  const auto quick = Take("quick");
  ASSERT_TRUE(quick.ok()) << quick.status();
  EXPECT_TRUE((*quick)->Commit(Writing("quick")).ok());
  const absl::Status lost = (*slow)->Commit(Writing("slow"));
  EXPECT_TRUE(absl::IsAborted(lost)) << lost;
  EXPECT_EQ(etcd_.Keys()["/k"], "quick");
  EXPECT_TRUE((*slow)->Keep(absl::FromUnixSeconds(101)).ok()) << "not yet asked again";
  EXPECT_TRUE(absl::IsAborted((*slow)->Keep(absl::FromUnixSeconds(110))));
  EXPECT_TRUE((*quick)->Commit(Writing("again")).ok());
}

TEST_F(EtcdLockTest, EtcdThatIsAwayForAMomentLosesNothing) {
  const auto lock = Take("a");
  ASSERT_TRUE(lock.ok());
  etcd_.Stop();
  EXPECT_TRUE((*lock)->Keep(absl::FromUnixSeconds(100)).ok());
  EXPECT_TRUE(absl::IsUnavailable((*lock)->Commit(Writing("a"))));
  etcd_.Start();
  absl::Status status = absl::UnavailableError("");
  while (absl::IsUnavailable(status)) status = (*lock)->Commit(Writing("a"));
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace portico
