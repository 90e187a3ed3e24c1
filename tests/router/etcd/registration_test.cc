#include "router/etcd/registration.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/etcd/fake_etcd.h"

namespace portico {
namespace {

class EtcdRegistrationTest : public ::testing::Test {
 protected:
  static EtcdRegistration::Options Options() {
    EtcdRegistration::Options options;
    options.key = "/p/nodes/n/0";
    options.ttl = absl::Milliseconds(100);
    options.retry_delay = absl::Milliseconds(5);
    return options;
  }
  static void WaitFor(const std::function<bool()>& condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); !condition() && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_TRUE(condition());
  }
  bool Says(const std::string& value) {
    const auto keys = etcd_.Keys();
    const auto found = keys.find("/p/nodes/n/0");
    return found != keys.end() && found->second == value;
  }

  FakeEtcd etcd_;
  const std::unique_ptr<EtcdClient> client_ = *EtcdClient::Create(etcd_.Options());
  EtcdRegistration registration_{Options(), *client_, MetricRegistry::Null()};
};

TEST_F(EtcdRegistrationTest, TheKeyStandsUntilStopTakesItAway) {
  registration_.Set("v");
  WaitFor([&] { return Says("v"); });
  EXPECT_EQ(etcd_.leases(), 1u);
  registration_.Stop();
  EXPECT_TRUE(etcd_.Keys().empty());
  EXPECT_EQ(etcd_.leases(), 0u);
  registration_.Set("late");
  EXPECT_TRUE(etcd_.Keys().empty());
}

TEST_F(EtcdRegistrationTest, ANewValueIsWrittenUnderTheSameLease) {
  registration_.Set("v");
  WaitFor([&] { return Says("v"); });
  registration_.Set("w");
  WaitFor([&] { return Says("w"); });
  EXPECT_EQ(etcd_.leases(), 1u);
}

TEST_F(EtcdRegistrationTest, ALeaseThatRanOutIsFollowedByAnother) {
  registration_.Set("v");
  WaitFor([&] { return Says("v"); });
  for (int i = 0; i < 3; ++i) {
    etcd_.ExpireLeases();
    WaitFor([&] { return Says("v"); });
  }
  EXPECT_EQ(etcd_.leases(), 1u);
}

TEST_F(EtcdRegistrationTest, ComesBackAfterEtcdWasAwayAndForgotAll) {
  registration_.Set("v");
  WaitFor([&] { return Says("v"); });
  etcd_.Stop();
  etcd_.Wipe();
  registration_.Set("w");
  absl::SleepFor(absl::Milliseconds(50));
  etcd_.Start();
  WaitFor([&] { return Says("w"); });
}

TEST_F(EtcdRegistrationTest, StopsWhileEtcdIsAway) {
  registration_.Set("v");
  WaitFor([&] { return Says("v"); });
  etcd_.Stop();
  registration_.Stop();
  EXPECT_TRUE(Says("v")) << "its lease runs out";
}

TEST_F(EtcdRegistrationTest, WithoutAValueNothingIsWritten) {
  registration_.Stop();
  EXPECT_TRUE(etcd_.Keys().empty());
  EXPECT_EQ(etcd_.leases(), 0u);
}

}  // namespace
}  // namespace portico
