#include "router/etcd/mirror.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/router/etcd/fake_etcd.h"

namespace portico {
namespace {

using Entries = EtcdMirror::Entries;

class EtcdMirrorTest : public ::testing::Test {
 protected:
  void Make() {
    EtcdMirror::Options options;
    options.prefix = "/p/";
    options.retry_delay = absl::Milliseconds(5);
    options.longest_retry_delay = absl::Milliseconds(20);
    options.on_change = [this](const Entries& entries) {
      MutexLock lock(&mutex_);
      entries_ = entries;
      ++told_;
      changed_.NotifyAll();
    };
    mirror_.emplace(std::move(options), *client_, MetricRegistry::Null());
  }
  void Expect(const Entries& entries) {
    MutexLock lock(&mutex_);
    for (const absl::Time end = absl::Now() + absl::Seconds(30); entries_ != entries && absl::Now() < end;) {
      changed_.WaitFor(&mutex_, absl::Milliseconds(100));
    }
    EXPECT_EQ(entries_, entries);
  }
  int told() {
    MutexLock lock(&mutex_);
    return told_;
  }

  FakeEtcd etcd_;
  const std::unique_ptr<EtcdClient> client_ = *EtcdClient::Create(etcd_.Options());
  Mutex mutex_;
  CondVar changed_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  int told_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<EtcdMirror> mirror_;
};

TEST_F(EtcdMirrorTest, TellsWhatIsThereAndEachChange) {
  etcd_.Put("/p/a", "1");
  etcd_.Put("/q/a", "another's");
  Make();
  EXPECT_TRUE(mirror_->WaitForFirst(absl::Seconds(30)));
  Expect({{"a", "1"}});
  etcd_.Put("/p/b", "2");
  Expect({{"a", "1"}, {"b", "2"}});
  etcd_.Put("/p/a", "3");
  etcd_.Delete("/p/b");
  Expect({{"a", "3"}});
  EXPECT_EQ(etcd_.ranges(), 1) << "all but the first came by the watch";
}

TEST_F(EtcdMirrorTest, AnEmptyPrefixIsToldToo) {
  Make();
  EXPECT_TRUE(mirror_->WaitForFirst(absl::Seconds(30)));
  EXPECT_EQ(told(), 1);
}

TEST_F(EtcdMirrorTest, AWatchThatEndsGoesOnWhereItWas) {
  Make();
  etcd_.WaitForWatches(1);
  etcd_.Put("/p/a", "1");
  Expect({{"a", "1"}});
  etcd_.EndWatches();
  etcd_.Put("/p/b", "2");
  etcd_.Delete("/p/a");
  Expect({{"b", "2"}});
  EXPECT_EQ(etcd_.ranges(), 1) << "nothing was listed again";
}

TEST_F(EtcdMirrorTest, WhatIsForgottenIsListedAnew) {
  Make();
  etcd_.Put("/p/a", "1");
  etcd_.Put("/p/b", "1");
  Expect({{"a", "1"}, {"b", "1"}});
  etcd_.Stop();
  etcd_.Delete("/p/a");
  etcd_.Put("/p/c", "1");
  etcd_.Put("/p/d", "1");
  etcd_.Compact();
  etcd_.Start();
  Expect({{"b", "1"}, {"c", "1"}, {"d", "1"}});
  EXPECT_EQ(etcd_.ranges(), 2);
}

TEST_F(EtcdMirrorTest, WhileEtcdIsAwayTheCopyStaysAndThenGoesOn) {
  Make();
  etcd_.Put("/p/a", "1");
  Expect({{"a", "1"}});
  const int told_before = told();
  etcd_.Stop();
  absl::SleepFor(absl::Milliseconds(100));  // Several attempts fail.
  EXPECT_EQ(told(), told_before);
  etcd_.Start();
  etcd_.WaitForWatches(1);
  etcd_.Put("/p/b", "2");
  Expect({{"a", "1"}, {"b", "2"}});
}

TEST_F(EtcdMirrorTest, AnotherEtcdAtTheSamePlaceIsListedAnew) {
  Make();
  for (int i = 0; i < 20; ++i) etcd_.Put("/p/a", absl::StrCat(i));
  Expect({{"a", "19"}});
  // Its count of changes is far behind ours: a watch from there on would stay silent.
  etcd_.Wipe();
  etcd_.Put("/p/b", "1");
  Expect({{"b", "1"}});
}

TEST_F(EtcdMirrorTest, StartsWhenEtcdComes) {
  etcd_.Stop();
  Make();
  EXPECT_FALSE(mirror_->WaitForFirst(absl::Milliseconds(20)));
  etcd_.Put("/p/a", "1");
  etcd_.Start();
  EXPECT_TRUE(mirror_->WaitForFirst(absl::Seconds(30)));
  Expect({{"a", "1"}});
}

TEST_F(EtcdMirrorTest, EndsAtOnceWhileItWatches) {
  Make();
  etcd_.WaitForWatches(1);
  const absl::Time begin = absl::Now();
  mirror_.reset();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  etcd_.WaitForWatches(0);
}

}  // namespace
}  // namespace portico
