// Nodes that find each other in etcd: a real one, Debian's, and `portico serve` processes, under load.

#include <signal.h>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/etcd/client.h"
#include "router/etcd/mirror.h"
#include "router/etcd/registration.h"
#include "router/registered_node.h"
#include "tests/integration/chaos_mesh.h"
#include "tests/integration/etcd_process.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr char kPrefix[] = "/portico/test";
constexpr absl::Duration kPatience = absl::Seconds(40);

/// A front whose portal's target is served by whoever is registered for it.
class EtcdTest : public ::testing::Test {
 protected:
  EtcdTest() {
    for (const auto& [name, portal] : {std::pair("leaf", false), {"head", true}}) {
      ModelBuilder model;
      model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
      if (portal) {
        model.Portal("Remote", "leaf", {"x"}, {"y"}, {DType::kFloat}, {"N,2"}, {Strings("output_names", {"y"})});
      } else {
        model.Node("Abs", {"x"}, {"y"});
      }
      model.WriteTo(folder_.File(absl::StrCat(name, "/1/model.onnx")));
    }
  }

  std::vector<std::string> ServeFlagsOf(const std::string& model, int replica, std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"--model",       absl::StrCat(model, "=", folder_.path(), "/", model),
                                          "--node",        model,
                                          "--etcd",        etcd_.endpoint(),
                                          "--replica",     absl::StrCat(replica),
                                          "--etcd-ttl",    "2",
                                          "--etcd-prefix", kPrefix};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::vector<std::string> ServeArguments(const std::string& model, int replica, std::vector<std::string> more) const {
    std::vector<std::string> arguments = ServeFlagsOf(model, replica, std::move(more));
    arguments.insert(arguments.begin(), "serve");
    return arguments;
  }
  std::unique_ptr<ServingProcess> Serve(const std::string& model, int replica, std::vector<std::string> more) const {
    return std::make_unique<ServingProcess>(ServeFlagsOf(model, replica, std::move(more)));
  }
  void StartLeaf(int replica) { leaves_[replica] = Serve("leaf", replica, {"--peer", "tcp://127.0.0.1:0"}); }
  void StartFront() { front_ = Serve("head", 0, {"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}); }
  std::string Endpoint(int replica) const { return leaves_.at(replica)->Address("peer"); }

  /// How the front sees a replica: a state, or "" where it does not know it.
  std::string StateOf(const std::string& endpoint) const {
    const std::string metrics = Http(front_->Address("http"), "/metrics").body;
    for (const char* state : {"here", "connecting", "away", "ejected"}) {
      for (size_t at = metrics.find("portico_replica_state{"); at != std::string::npos;
           at = metrics.find("portico_replica_state{", at + 1)) {
        const std::string line = metrics.substr(at, metrics.find('\n', at) - at);
        if (absl::StrContains(line, endpoint + "\"") &&
            absl::StrContains(line, absl::StrCat("state=\"", state, "\"")) && absl::EndsWith(line, " 1")) {
          return state;
        }
      }
    }
    return "";
  }
  /// How long that took.
  absl::Duration WaitForState(const std::string& endpoint, const std::string& state) const {
    const absl::Time begin = absl::Now();
    while (StateOf(endpoint) != state && absl::Now() - begin < kPatience) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(StateOf(endpoint), state) << endpoint;
    return absl::Now() - begin;
  }
  void WaitForRegistered(size_t count) const {
    const auto client = *EtcdClient::Create(etcd_.options());
    size_t seen = 0;
    for (const absl::Time end = absl::Now() + kPatience; seen != count && absl::Now() < end;) {
      seen = client->List(absl::StrCat(kPrefix, "/nodes/"))->entries.size();
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(seen, count);
  }
  void BeginLoad() {
    load_.emplace(front_->Address("grpc"), 4);
    begin_ = absl::Now();
    absl::SleepFor(absl::Milliseconds(300));
  }
  void EndLoad(const char* what) {
    load_->Stop();
    const ChaosLoad::Summary seen = load_->Between(begin_, absl::InfiniteFuture(), absl::Milliseconds(250));
    std::printf("[%s] %s\n", what, seen.Text().c_str());
    EXPECT_EQ(seen.failed, 0u) << seen.first_error;
    EXPECT_GT(seen.answers, 100u);
  }

  const TempFolder folder_;
  EtcdProcess etcd_;
  std::map<int, std::unique_ptr<ServingProcess>> leaves_;
  std::unique_ptr<ServingProcess> front_;
  std::optional<ChaosLoad> load_;
  absl::Time begin_;
};

TEST_F(EtcdTest, ReplicasAreAddedStoppedAndKilledUnderLoadWithoutAFailedCall) {
  StartFront();
  StartLeaf(0);
  StartLeaf(1);
  WaitForState(Endpoint(0), "here");
  WaitForState(Endpoint(1), "here");
  BeginLoad();

  StartLeaf(2);
  const absl::Duration added = WaitForState(Endpoint(2), "here");
  // One that stops takes itself away first.
  kill(leaves_[0]->pid(), SIGTERM);
  const absl::Duration removed = WaitForState(Endpoint(0), "");
  // One that is killed goes when its lease runs out.
  kill(leaves_[1]->pid(), SIGKILL);
  const absl::Duration gone = WaitForState(Endpoint(1), "");
  EXPECT_EQ(StateOf(Endpoint(2)), "here");
  EndLoad("replicas come and go");
  std::printf("[replicas come and go] added after %s, stopped: gone after %s, killed: gone after %s (ttl 2 s)\n",
              absl::FormatDuration(added).c_str(), absl::FormatDuration(removed).c_str(),
              absl::FormatDuration(gone).c_str());
}

TEST_F(EtcdTest, EtcdKilledAndRestartedUnderLoadFailsNoCall) {
  StartFront();
  StartLeaf(0);
  StartLeaf(1);
  WaitForState(Endpoint(0), "here");
  WaitForState(Endpoint(1), "here");
  BeginLoad();

  etcd_.Kill();
  absl::SleepFor(absl::Seconds(4));  // Twice the leases' time.
  EXPECT_EQ(StateOf(Endpoint(0)), "here");
  EXPECT_EQ(StateOf(Endpoint(1)), "here");
  etcd_.Start();
  WaitForRegistered(3);
  StartLeaf(2);
  WaitForState(Endpoint(2), "here");
  // It comes back without anything: who lives registers again.
  etcd_.Kill();
  etcd_.Forget();
  etcd_.Start();
  WaitForRegistered(4);
  for (int i = 0; i < 3; ++i) WaitForState(Endpoint(i), "here");
  EndLoad("etcd killed");
}

TEST_F(EtcdTest, AnEtcdThatHangsForLongerThanALeaseEmptiesNothing) {
  StartFront();
  StartLeaf(0);
  WaitForState(Endpoint(0), "here");
  BeginLoad();
  etcd_.Signal(SIGSTOP);
  absl::SleepFor(absl::Seconds(3));
  // Its clock has gone on: the leases may run out before anybody could renew them.
  etcd_.Signal(SIGCONT);
  WaitForRegistered(2);
  EndLoad("etcd stopped");
  EXPECT_EQ(StateOf(Endpoint(0)), "here");
}

TEST_F(EtcdTest, ANodeStartsWithoutEtcdAndFindsOthersWhenItComes) {
  etcd_.Kill();
  StartFront();
  EXPECT_THAT(front_->output(), HasSubstr("starting without"));
  StartLeaf(0);
  etcd_.Start();
  WaitForState(Endpoint(0), "here");
  BeginLoad();
  EndLoad("etcd came late");
}

TEST_F(EtcdTest, ASecondNodeOfTheSameNameDoesNotStart) {
  StartFront();
  StartLeaf(0);
  WaitForState(Endpoint(0), "here");
  const CommandResult second = RunPortico(ServeArguments("leaf", 0, {"--peer", "tcp://127.0.0.1:0"}));
  EXPECT_EQ(second.end, "exit status 1");
  EXPECT_THAT(second.output, HasSubstr(absl::StrCat("node 'leaf/0': key '", kPrefix,
                                                    "/nodes/leaf/0': got it held by a node on host '")));
  EXPECT_THAT(second.output, HasSubstr(absl::StrCat("', process ", leaves_[0]->pid(), ", at ", Endpoint(0),
                                                    ", want it free; give this one a --node or --replica of its own, "
                                                    "or stop that one")));
  // The first one goes on as if nothing had been.
  EXPECT_EQ(StateOf(Endpoint(0)), "here");
  BeginLoad();
  EndLoad("a second node of the same name");
}

TEST_F(EtcdTest, ANodeThatWasKilledComesBackUnderItsNameWhileItsLeaseStands) {
  StartFront();
  StartLeaf(0);
  const std::string before = Endpoint(0);
  WaitForState(before, "here");
  kill(leaves_[0]->pid(), SIGKILL);
  leaves_[0]->WaitForEnd();
  // Well before its lease has run out, and at another address.
  StartLeaf(0);
  EXPECT_NE(Endpoint(0), before);
  WaitForState(Endpoint(0), "here");
  WaitForState(before, "");
  BeginLoad();
  EndLoad("killed and back");
}

TEST_F(EtcdTest, ANodeOfAnotherMachineIsWaitedForAsLongAsItsLeaseLasts) {
  const auto client = *EtcdClient::Create(etcd_.options());
  RegisteredNode other;
  other.id = "leaf/0";
  other.host = "elsewhere";
  other.process = "another-boot/pid:[1]/17/1";
  other.ttl_s = 2;
  const int64_t lease = *client->GrantLease(absl::Seconds(2));
  ASSERT_TRUE(client->Put(absl::StrCat(kPrefix, "/nodes/leaf/0"), FormatRegisteredNode(other), lease).ok());
  StartLeaf(0);  // Its lease runs out: it was killed.
  EXPECT_THAT(leaves_[0]->output(), HasSubstr("got it held by a node on host 'elsewhere', process 17, want it free"));
  leaves_.clear();
  WaitForRegistered(0);
  // One that lives keeps it.
  EtcdRegistration::Options options;
  options.key = absl::StrCat(kPrefix, "/nodes/leaf/0");
  options.ttl = absl::Seconds(2);
  EtcdRegistration registration(options, *client, MetricRegistry::Null());
  registration.Set(FormatRegisteredNode(other));
  ASSERT_TRUE(registration.WaitForFirst(kPatience).ok());
  const CommandResult second = RunPortico(ServeArguments("leaf", 0, {"--peer", "tcp://127.0.0.1:0"}));
  EXPECT_EQ(second.end, "exit status 1");
  EXPECT_THAT(second.output, HasSubstr("got it held by a node on host 'elsewhere', process 17, want it free; give"));
}

TEST_F(EtcdTest, ANodeThatIsAloneAnswersItsOwnPortals) {
  front_ = Serve(
      "head", 0,
      {"--model", absl::StrCat("leaf=", folder_.path(), "/leaf"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"});
  WaitForRegistered(1);
  WaitForState("inproc://self", "here");
  BeginLoad();
  EndLoad("alone");
}

TEST(EtcdClusterTest, EachMemberMayGoWhileKeysAreWrittenAndWatched) {
  auto members = EtcdProcess::StartCluster(3);
  EtcdOptions options;
  for (const auto& member : members) options.endpoints.push_back(member->endpoint());
  const auto client = *EtcdClient::Create(options);
  EtcdRegistration::Options registration_options;
  registration_options.key = "/p/own";
  registration_options.ttl = absl::Seconds(3);
  EtcdRegistration registration(registration_options, *client, MetricRegistry::Null());
  registration.Set("here");
  Mutex mutex;
  CondVar changed;
  EtcdMirror::Entries seen;
  EtcdMirror::Options mirror_options;
  mirror_options.prefix = "/p/";
  mirror_options.on_change = [&](const EtcdMirror::Entries& entries) {
    MutexLock lock(&mutex);
    seen = entries;
    changed.NotifyAll();
  };
  EtcdMirror mirror(mirror_options, *client, MetricRegistry::Null());
  for (int round = 0; round < 3; ++round) {
    members[static_cast<size_t>(round)]->Kill();
    // Two of three agree, the leader or another having gone; what is written now is seen, and our key stands.
    const std::string value = absl::StrCat("round ", round);
    absl::Status put = absl::UnavailableError("");
    for (const absl::Time end = absl::Now() + kPatience; !put.ok() && absl::Now() < end;) {
      put = client->Put("/p/k", value, 0);
    }
    EXPECT_TRUE(put.ok()) << put;
    const EtcdMirror::Entries wanted = {{"k", value}, {"own", "here"}};
    {
      MutexLock lock(&mutex);
      for (const absl::Time end = absl::Now() + kPatience; seen != wanted && absl::Now() < end;) {
        changed.WaitFor(&mutex, absl::Milliseconds(100));
      }
      EXPECT_EQ(seen, wanted) << "round " << round;
    }
    members[static_cast<size_t>(round)]->Start();
  }
}

TEST(EtcdTlsTest, BothSidesShowWhoTheyAre) {
  EtcdProcess etcd(/*tls=*/true);
  const auto client = *EtcdClient::Create(etcd.options());
  const auto lease = client->GrantLease(absl::Seconds(5));
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_TRUE(client->Put("/k", "v", *lease).ok());
  EXPECT_TRUE(client->KeepLeaseAlive(*lease).ok());
  EXPECT_TRUE(client->Watch("/", 1)->Next().ok());
  EtcdOptions stranger = etcd.options();
  stranger.certificate = stranger.key = "";
  EXPECT_FALSE((*EtcdClient::Create(stranger))->Put("/k", "w", 0).ok());
  EtcdOptions fooled = etcd.options();
  fooled.roots = Identity::Make().certificate;
  EXPECT_FALSE((*EtcdClient::Create(fooled))->Put("/k", "w", 0).ok());
  EXPECT_EQ(client->Get("/k")->value, "v");
}

}  // namespace
}  // namespace portico
