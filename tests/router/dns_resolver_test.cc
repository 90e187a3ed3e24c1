#include "router/dns_resolver.h"

#include <string>
#include <vector>

#include "base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/static_resolver.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A name service that the test writes.
class Names {
 public:
  DnsResolver::Options Options() {
    DnsResolver::Options options;
    options.period = absl::Milliseconds(1);
    options.lookup = [this](const std::string& host) -> absl::StatusOr<std::vector<std::string>> {
      MutexLock lock(&mutex_);
      ++lookups_;
      looked_up_.NotifyAll();
      if (host != "hub.mesh") return absl::UnavailableError("no such name");
      return answer_;
    };
    return options;
  }
  void Set(absl::StatusOr<std::vector<std::string>> answer) {
    MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  void WaitForLookups(int more) {
    MutexLock lock(&mutex_);
    const int until = lookups_ + more;
    while (lookups_ < until) looked_up_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar looked_up_;
  int lookups_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::StatusOr<std::vector<std::string>> answer_ ABSL_GUARDED_BY(mutex_) = std::vector<std::string>();
};

/// Counts what a resolver tells.
class Told {
 public:
  explicit Told(const Resolver& resolver) : watch_(resolver.WatchChanges([this] { Tell(); })) {}
  void WaitFor(int count) {
    MutexLock lock(&mutex_);
    while (count_ < count) told_.Wait(&mutex_);
  }
  int count() {
    MutexLock lock(&mutex_);
    return count_;
  }

 private:
  void Tell() {
    MutexLock lock(&mutex_);
    ++count_;
    told_.NotifyAll();
  }
  Mutex mutex_;
  CondVar told_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  const std::unique_ptr<Resolver::Watch> watch_;
};

TEST(DnsResolverTest, EveryAddressOfANameIsAReplicaAndChangesAreTold) {
  Names names;
  names.Set(std::vector<std::string>{"10.0.0.2", "10.0.0.1", "fd00::1", "10.0.0.2"});
  const StaticResolver inner(
      StaticResolver::Table{{"m", {"x://fixed", PeerAddress("dns+tcp://hub.mesh:7000", "zone-1")}}});
  const DnsResolver resolver(inner, names.Options());
  Told told(resolver);
  EXPECT_THAT(resolver.Resolve("m"), ElementsAre(PeerAddress("x://fixed"))) << "nobody waits for a name";
  told.WaitFor(1);
  EXPECT_THAT(resolver.Resolve("m"),
              ElementsAre(PeerAddress("x://fixed"), PeerAddress("tcp://10.0.0.1:7000", "zone-1"),
                          PeerAddress("tcp://10.0.0.2:7000", "zone-1"), PeerAddress("tcp://[fd00::1]:7000", "zone-1")));
  names.Set(std::vector<std::string>{"10.0.0.3"});
  told.WaitFor(2);
  EXPECT_THAT(resolver.Resolve("m"),
              ElementsAre(PeerAddress("x://fixed"), PeerAddress("tcp://10.0.0.3:7000", "zone-1")));
}

TEST(DnsResolverTest, AFailedLookupKeepsTheLastAnswer) {
  Names names;
  names.Set(std::vector<std::string>{"10.0.0.1"});
  const StaticResolver inner(StaticResolver::Table{{"m", {"dns+grpc://hub.mesh:1"}}, {"n", {"dns+tcp://none:1"}}});
  const DnsResolver resolver(inner, names.Options());
  Told told(resolver);
  EXPECT_THAT(resolver.Resolve("m"), IsEmpty());
  EXPECT_THAT(resolver.Resolve("n"), IsEmpty());
  told.WaitFor(1);
  names.Set(absl::UnavailableError("the name server is away"));
  names.WaitForLookups(10);
  EXPECT_THAT(resolver.Resolve("m"), ElementsAre(PeerAddress("grpc://10.0.0.1:1")));
  EXPECT_THAT(resolver.Resolve("n"), IsEmpty());
  EXPECT_EQ(told.count(), 1);
}

TEST(DnsResolverTest, WhatIsNoNamePassesAndChangesOfTheInnerOneAreTold) {
  StaticResolver inner(StaticResolver::Table{{"m", {"x://a", "dns+garbage"}}});
  const DnsResolver resolver(inner, {});
  Told told(resolver);
  EXPECT_THAT(resolver.Resolve("m"), ElementsAre(PeerAddress("x://a"), PeerAddress("dns+garbage")))
      << "a transport will say what is wrong with it";
  inner.Update({{"m", {"x://b"}}});
  EXPECT_EQ(told.count(), 1);
  EXPECT_THAT(resolver.Resolve("m"), ElementsAre(PeerAddress("x://b")));
}

TEST(DnsResolverTest, TheSystemKnowsLocalhost) {
  const StaticResolver inner(StaticResolver::Table{{"m", {"dns+tcp://localhost:9"}}});
  const DnsResolver resolver(inner, {});
  Told told(resolver);
  resolver.Resolve("m");
  told.WaitFor(1);
  EXPECT_THAT(resolver.Resolve("m"),
              testing::Each(testing::AnyOf(PeerAddress("tcp://127.0.0.1:9"), PeerAddress("tcp://[::1]:9"))));
}

}  // namespace
}  // namespace portico
