// Revisions of a mesh whose nodes follow etcd: a real one, `portico serve --revision etcd` processes and `portico
// apply`.

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/etcd_process.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/integration/serving_process.h"
#include "tests/integration/version_chain.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class EtcdRevisionTest : public VersionChainTest {
 protected:
  ~EtcdRevisionTest() override { StopClients(); }

  CommandResult Apply(int64_t version, std::vector<std::string> more = {}) const {
    const std::string mesh = folder_.Write(
        "mesh.yaml", absl::StrFormat("mesh: chain\nmodels:\n  m: {path: m, versions: [%d]}\n"
                                     "  head: {path: head, versions: [%d]}\nnodes:\n"
                                     "  back: {serve: [m], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n",
                                     version, version));
    more.insert(more.begin(), {"apply", mesh});
    return RunApply(std::move(more));
  }
  CommandResult RunApply(std::vector<std::string> arguments) const {
    for (const std::string& one : EtcdArguments()) arguments.push_back(one);
    return RunPortico(std::move(arguments));
  }
  std::vector<std::string> EtcdArguments() const {
    return {"--etcd", etcd_.endpoint(), "--etcd-prefix", "/portico/chain"};
  }
  std::vector<std::string> ServeArguments(const std::string& node, int replica) const {
    std::vector<std::string> arguments = {
        "--revision", "etcd", "--node", node, "--replica", absl::StrCat(replica), "--log-level", "warning",
        // Nobody reads what they print: the pipe would fill.
        "--etcd-ttl", "2", "--revision-folder", absl::StrCat(folder_.path(), "/", node, "-", replica)};
    for (const std::string& one : EtcdArguments()) arguments.push_back(one);
    if (node == "back") arguments.insert(arguments.end(), {"--peer", "tcp://127.0.0.1:0"});
    return arguments;
  }
  void StartNodes() {
    for (int i = 0; i < 2; ++i) back_[i] = std::make_unique<ServingProcess>(ServeArguments("back", i));
    front_ = std::make_unique<ServingProcess>(ServeArguments("front", 0));
  }

  void StartClients() { VersionChainTest::StartClients(front_->Address("grpc"), 2); }
  /// The portal finds its target when that has registered.
  void WaitForFirstAnswer() {
    PredictClient client(front_->Address("grpc"));
    const Tensor x = Tensor::Of<float>({1, 64}, std::vector<float>(64, 1));
    absl::Status status = absl::UnknownError("");
    for (const absl::Time end = absl::Now() + absl::Seconds(30); !status.ok() && absl::Now() < end;) {
      status = client.Predict("head", {{"x", x}}).status();
    }
    ASSERT_TRUE(status.ok()) << status;
  }

  EtcdProcess etcd_;
  std::unique_ptr<ServingProcess> back_[2];
  std::unique_ptr<ServingProcess> front_;
};

TEST_F(EtcdRevisionTest, FlipsUnderLoadFailNoRequestMixNoVersionsAndGoBack) {
  const char* asked = std::getenv("PORTICO_SOAK_ETCD_REVISIONS");
  const int flips = asked == nullptr ? 10 : std::atoi(asked);
  const CommandResult first = Apply(1);
  EXPECT_EQ(first.end, "exit status 0") << first.output;
  EXPECT_THAT(first.output, HasSubstr("revision 1 is current: the mesh's first"));
  StartNodes();
  WaitForFirstAnswer();
  StartClients();
  WaitForAnswers(20);
  const absl::Time begin = absl::Now();
  for (int64_t version = 2; version <= flips + 1 && failures_ == 0; ++version) {
    Publish(version);
    const CommandResult next = Apply(version);
    ASSERT_EQ(next.end, "exit status 0") << next.output;
    ASSERT_THAT(next.output, HasSubstr(absl::StrCat("revision ", version, " is current")));
  }
  std::printf("%d flips in %.1f s, %lld requests\n", flips, absl::ToDoubleSeconds(absl::Now() - begin),
              static_cast<long long>(answers_.load()));
  WaitForVersion(flips + 1);
  // The first one, or one of those that are kept.
  const int64_t old = std::max(1, flips - 40);
  const CommandResult back = RunApply({"apply", "--rollback", absl::StrCat(old)});
  EXPECT_EQ(back.end, "exit status 0") << back.output;
  WaitForVersion(old);
  StopClients();
  EXPECT_EQ(failures_, 0);
  const CommandResult list = RunApply({"apply", "--list"});
  EXPECT_THAT(list.output, ContainsRegex(absl::StrCat(flips + 2, " +current +m:", old, " head:", old,
                                                      " +\\(back to revision ", old, "\\)")));
  EXPECT_THAT(Apply(old).output, HasSubstr("says the same already"));
  kill(front_->pid(), SIGTERM);
  EXPECT_EQ(front_->WaitForEnd(), "exit status 0");
}

TEST_F(EtcdRevisionTest, WhatANodeCannotPrepareIsRefusedAndTheOldOneServesOn) {
  Apply(1);
  StartNodes();
  WaitForFirstAnswer();
  StartClients();
  WaitForAnswers(20);
  Publish(2);
  // A replica is down: nothing is flipped behind its back.
  kill(back_[1]->pid(), SIGKILL);
  CommandResult refused = Apply(2, {"--prepare-timeout", "4"});
  EXPECT_EQ(refused.end, "exit status 1");
  EXPECT_THAT(refused.output, HasSubstr("revision 2 cannot be prepared, revision 1 goes on: got it not prepared in "
                                        "time by back/1"));
  WaitForAnswers(20);
  EXPECT_EQ(last_version_, 1);
  back_[1] = std::make_unique<ServingProcess>(ServeArguments("back", 1));
  const CommandResult again = Apply(2);
  EXPECT_EQ(again.end, "exit status 0") << again.output;
  EXPECT_THAT(again.output, HasSubstr("revision 3 is current"));
  WaitForVersion(2);
  StopClients();
  EXPECT_EQ(failures_, 0);
}

TEST_F(EtcdRevisionTest, OneAtATimeChangesAMeshAndWhatItLeftIsClearedUp) {
  Apply(1);
  StartNodes();
  Publish(2);
  kill(back_[1]->pid(), SIGKILL);
  // It waits for back/1, which is away, and holds the lock meanwhile.
  auto waiting = std::make_unique<PorticoCommand>([&] {
    folder_.Write("mesh2.yaml",
                  "mesh: chain\nmodels:\n  m: {path: m, versions: [2]}\n  head: {path: head, versions: [2]}\n"
                  "nodes:\n  back: {serve: [m], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n");
    std::vector<std::string> arguments = {"apply", folder_.path() + "/mesh2.yaml"};
    for (const std::string& one : EtcdArguments()) arguments.push_back(one);
    return arguments;
  }());
  ASSERT_TRUE(waiting->WaitForOutput("preparing revision 2")) << waiting->output();
  const CommandResult other = RunApply({"apply", "--rollback", "1"});
  EXPECT_EQ(other.end, "exit status 1");
  EXPECT_THAT(other.output, HasSubstr("got it held by "));
  // Killed half way: its lock runs out, and the next one clears up.
  waiting->process().Signal(SIGKILL);
  waiting->WaitForEnd();
  back_[1] = std::make_unique<ServingProcess>(ServeArguments("back", 1));
  CommandResult next;
  for (const absl::Time end = absl::Now() + absl::Seconds(40); absl::Now() < end;) {
    next = Apply(2);
    if (next.end == "exit status 0") break;
    EXPECT_THAT(next.output, HasSubstr("got it held by "));
  }
  EXPECT_THAT(next.output, HasSubstr("revision 2 was left half prepared"));
  EXPECT_THAT(next.output, HasSubstr("revision 3 is current"));
}

TEST_F(EtcdRevisionTest, ANodeThatWaitsForTheFirstRevisionEndsWhenItIsTold) {
  std::vector<std::string> arguments = ServeArguments("back", 0);
  arguments.insert(arguments.begin(), "serve");
  PorticoCommand node(std::move(arguments));
  ASSERT_TRUE(node.WaitForOutput("got none yet")) << node.output();
  const absl::Time told = absl::Now();
  node.process().Signal(SIGTERM);
  EXPECT_EQ(node.WaitForEnd(), "exit status 0") << node.output();
  EXPECT_LT(absl::Now() - told, absl::Seconds(15)) << "it would have waited for half a minute";
}

TEST_F(EtcdRevisionTest, ANodeStartsFromItsFolderWhereEtcdIsAway) {
  Apply(1);
  StartNodes();
  WaitForFirstAnswer();
  etcd_.Kill();
  kill(back_[0]->pid(), SIGKILL);
  back_[0] = nullptr;
  back_[0] = std::make_unique<ServingProcess>(ServeArguments("back", 0));
  EXPECT_THAT(back_[0]->output(), HasSubstr("starting with revision 1 of folder"));
  WaitForFirstAnswer();
}

}  // namespace
}  // namespace portico
