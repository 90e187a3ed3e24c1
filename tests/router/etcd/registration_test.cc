#include "router/etcd/registration.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>

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

TEST_F(EtcdRegistrationTest, TheFirstWriteIsWaitedFor) {
  registration_.Set("v");
  EXPECT_TRUE(registration_.WaitForFirst(absl::InfiniteDuration()).ok());
  EXPECT_TRUE(Says("v"));
}

TEST_F(EtcdRegistrationTest, AnEtcdThatIsAwayHoldsNobodyUp) {
  etcd_.Stop();
  registration_.Set("v");
  EXPECT_TRUE(registration_.WaitForFirst(absl::Seconds(30)).ok());
  etcd_.Start();
  WaitFor([&] { return Says("v"); });
}

/// Another one has the key; `state`: what is known of it.
class EtcdTakenKeyTest : public EtcdRegistrationTest {
 protected:
  EtcdTakenKeyTest() { etcd_.Put("/p/nodes/n/0", "theirs"); }
  void Make(EtcdRegistration::Holder::State state, absl::Duration lateness = absl::Milliseconds(100)) {
    EtcdRegistration::Options options = Options();
    options.lateness = lateness;
    options.holder = [this, state](absl::string_view value) {
      asked_about_ = std::string(value);
      return EtcdRegistration::Holder{state, "process 17", absl::Milliseconds(100)};
    };
    own_.emplace(std::move(options), *client_, MetricRegistry::Null());
    own_->Set("ours");
  }

  std::string asked_about_;
  std::optional<EtcdRegistration> own_;
};

TEST_F(EtcdTakenKeyTest, OfAProcessThatRunsItIsNotTaken) {
  Make(EtcdRegistration::Holder::State::kRuns);
  const absl::Status status = own_->WaitForFirst(absl::InfiniteDuration());
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(), "key '/p/nodes/n/0': got it held by process 17, want it free");
  own_->Stop();
  EXPECT_EQ(asked_about_, "theirs");
  EXPECT_TRUE(Says("theirs"));
}

TEST_F(EtcdTakenKeyTest, OfAProcessThatHasEndedItIsTakenAtOnce) {
  Make(EtcdRegistration::Holder::State::kGone);
  EXPECT_TRUE(own_->WaitForFirst(absl::InfiniteDuration()).ok());
  EXPECT_TRUE(Says("ours"));
  own_->Stop();
  EXPECT_TRUE(etcd_.Keys().empty());
}

TEST_F(EtcdTakenKeyTest, OfAProcessOfWhichNothingIsKnownItIsTakenWhenItsLeaseHasRunOut) {
  Make(EtcdRegistration::Holder::State::kUnknown, absl::Minutes(1));
  etcd_.Delete("/p/nodes/n/0");
  EXPECT_TRUE(own_->WaitForFirst(absl::InfiniteDuration()).ok());
  EXPECT_TRUE(Says("ours"));
}

TEST_F(EtcdTakenKeyTest, OfAProcessThatOutlivesItsLeaseItIsNotTaken) {
  Make(EtcdRegistration::Holder::State::kUnknown);
  const absl::Time begin = absl::Now();
  EXPECT_EQ(own_->WaitForFirst(absl::InfiniteDuration()).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(190));
  EXPECT_TRUE(Says("theirs"));
  etcd_.Delete("/p/nodes/n/0");
  WaitFor([&] { return Says("ours"); });
}

TEST_F(EtcdRegistrationTest, WithoutAValueNothingIsWritten) {
  registration_.Stop();
  EXPECT_TRUE(etcd_.Keys().empty());
  EXPECT_EQ(etcd_.leases(), 0u);
}

}  // namespace
}  // namespace portico
