// Revisions of a running mesh: `portico up` and its nodes as processes, over real sockets.

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/metrics_text.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "router/revision_pointers.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/integration/version_chain.h"

namespace portico {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int kClients = 3;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

class RevisionTest : public VersionChainTest {
 protected:
  /// mesh.yaml, replaced at once.
  std::string WriteMesh(int64_t version, const std::string& nodes = kNodes) const {
    const std::string text = absl::StrFormat(
        "mesh: chain\nmodels:\n  m: {path: m, versions: [%d]}\n  head: {path: head, versions: [%d]}\n%s", version,
        version, nodes);
    const std::string path = folder_.Write("mesh.yaml.new", text);
    std::filesystem::rename(path, folder_.path() + "/mesh.yaml");
    return folder_.path() + "/mesh.yaml";
  }

  std::string run_folder() const { return folder_.path() + "/run"; }
  std::vector<std::string> UpArguments(const std::string& mesh) const {
    return {"up", mesh, "--run-folder", run_folder()};
  }
  NodeStatus StatusOf(const std::string& node) const {
    const auto status = ReadNodeStatus(absl::StrCat(run_folder(), "/status/", node, ".json"));
    EXPECT_TRUE(status.ok()) << status.status();
    return status.value_or(NodeStatus());
  }

  /// Nodes follow a revision a little after `up` says that it is the current one.
  void WaitForRevision(const std::string& node, uint64_t number) const {
    for (const absl::Time end = absl::Now() + absl::Minutes(1);
         StatusOf(node).revisions.current < number && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    EXPECT_GE(StatusOf(node).revisions.current, number) << node;
  }

  void StartClients(const std::string& address) { VersionChainTest::StartClients(address, kClients); }

  static constexpr char kNodes[] =
      "nodes:\n  back: {serve: [m], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n";
};

TEST_F(RevisionTest, FlipsUnderLoadFailNoRequestAndMixNoVersions) {
  const int flips = FromEnvironment("PORTICO_SOAK_REVISIONS", 300);
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(20);
  const absl::Time start = absl::Now();
  for (int64_t version = 2; version <= flips + 1 && failures_ == 0; ++version) {
    Publish(version);
    WriteMesh(version);
    ASSERT_TRUE(up.WaitForOutput(absl::StrCat("revision ", version, " is current"))) << up.output();
  }
  const absl::Duration took = absl::Now() - start;
  WaitForVersion(flips + 1);
  StopClients();
  EXPECT_EQ(failures_, 0);
  std::printf("%d flips in %.1f s, %lld requests\n", flips, absl::ToDoubleSeconds(took),
              static_cast<long long>(answers_.load()));
  // What no revision names any more is not held.
  EXPECT_LE(StatusOf("back-0").models.size(), 32u);
}

TEST_F(RevisionTest, MeshFileThatIsWrongChangesNothingAndSaysWhy) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  WriteMesh(7);
  ASSERT_TRUE(up.WaitForOutput("revision 1 goes on, since ")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("versions: got none that is in")) << up.output();
  WriteMesh(1, "nodes: {front: {serve: [head], grpc: 0}}\n");
  ASSERT_TRUE(up.WaitForOutput("got target 'm', which no node serves")) << up.output();
  EXPECT_EQ(ReadRevisionPointers(run_folder() + "/current")->current, 1u);
  EXPECT_FALSE(std::filesystem::exists(run_folder() + "/revisions/2.yaml"));
}

TEST_F(RevisionTest, RevisionThatCannotBePreparedIsRefusedAndTheOldOneServesOn) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  // A port that is taken: the new node never comes up.
  const NodeStatus front = StatusOf("front-0");
  WriteMesh(1, absl::StrCat(kNodes, "  more: {serve: [m], http: '", front.http, "'}\n"));
  ASSERT_TRUE(up.WaitForOutput("revision 2 cannot be prepared, revision 1 goes on: node 'more/0': got exit status 1"))
      << up.output();
  StartClients(front.grpc);
  WaitForAnswers(20);
  EXPECT_TRUE(std::filesystem::exists(run_folder() + "/revisions/2.refused.yaml"));
  Publish(2);
  WriteMesh(2);
  ASSERT_TRUE(up.WaitForOutput("revision 3 is current")) << up.output();
  WaitForVersion(2);
  StopClients();
  EXPECT_EQ(failures_, 0);
}

TEST_F(RevisionTest, GoingBackIsAFlipToWhatWas) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(20);
  Publish(2);
  WriteMesh(2);
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  WaitForVersion(2);
  const CommandResult back = RunPortico({"revision", "--run-folder", run_folder(), "--rollback", "1"});
  EXPECT_EQ(back.end, "exit status 0") << back.output;
  EXPECT_THAT(back.output, HasSubstr("revision 3 is current: what revision 1 said"));
  WaitForVersion(1);
  StopClients();
  EXPECT_EQ(failures_, 0);
  const CommandResult list = RunPortico({"revision", "--run-folder", run_folder()});
  EXPECT_THAT(list.output, ContainsRegex("3 +current +m:1 head:1 +\\(back to revision 1\\)"));
  const CommandResult none = RunPortico({"revision", "--run-folder", run_folder(), "--rollback", "99"});
  EXPECT_EQ(none.end, "exit status 1");
  EXPECT_THAT(none.output, HasSubstr("revision 99: got none of that number"));
  EXPECT_THAT(none.output, HasSubstr("want one of 1, 2, 3; --list says"));
  // Nothing is to be written, so nothing is waited for.
  for (const char* same : {"1", "3"}) {
    const CommandResult stays = RunPortico({"revision", "--run-folder", run_folder(), "--rollback", same});
    EXPECT_EQ(stays.end, "exit status 0") << stays.output;
    EXPECT_THAT(stays.output,
                HasSubstr(absl::StrCat("what revision ", same, " says is what serves already, as revision 3")));
  }
}

TEST_F(RevisionTest, VersionFolderThatAppearsIsRolledOut) {
  const std::string mesh =
      folder_.Write("mesh.yaml", absl::StrCat("mesh: chain\nmodels:\n  m: {path: m}\n  head: {path: head}\n", kNodes));
  PorticoCommand up(UpArguments(mesh));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  PublishVersion(VersionModel(5), folder_.Folder("m"), 5);
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  const auto revision = ReadRevision(run_folder() + "/current");
  ASSERT_TRUE(revision.ok());
  ASSERT_EQ(revision->FindModel("m")->pins.size(), 1u);
  EXPECT_EQ(revision->FindModel("m")->pins[0].version, 5);
}

TEST_F(RevisionTest, ReplicasComeAndGoWithoutAFailedRequest) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(20);
  WriteMesh(1, "nodes:\n  back: {serve: [m], replicas: 3}\n  front: {serve: [head], grpc: 0, http: 0}\n");
  ASSERT_TRUE(up.WaitForOutput("back/2 is ready")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  WaitForAnswers(100);
  WriteMesh(1, "nodes:\n  back: {serve: [m]}\n  front: {serve: [head], grpc: 0, http: 0}\n");
  ASSERT_TRUE(up.WaitForOutput("revision 3 is current")) << up.output();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(up.WaitForOutput(" stopped\n")) << up.output();
  WaitForAnswers(100);
  StopClients();
  EXPECT_EQ(failures_, 0) << up.output();
  WaitForRevision("back-0", 3);
}

TEST_F(RevisionTest, AControllerThatIsAwayStopsNoRequestAndCatchesUpWhenItIsBack) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(20);
  up.process().Signal(SIGSTOP);
  // What it would have rolled out, and what it would have started again.
  Publish(2);
  WriteMesh(2);
  SignalNode(StatusOf("back-1"), SIGKILL);
  for (int i = 0; i < 10; ++i) {
    WaitForAnswers(50);
    absl::SleepFor(absl::Milliseconds(200));
  }
  EXPECT_EQ(failures_, 0);
  EXPECT_EQ(last_version_, 1);
  up.process().Signal(SIGCONT);
  ASSERT_TRUE(up.WaitForOutput("back/1 ended with signal 9 (Killed)")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  WaitForVersion(2);
  WaitForAnswers(50);
  StopClients();
  EXPECT_EQ(failures_, 0) << up.output();
}

TEST_F(RevisionTest, AControllerThatIsKilledIsFollowedByOneThatGoesOnInItsRunFolder) {
  NodeStatus before;
  {
    PorticoCommand up(UpArguments(WriteMesh(1)));
    ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
    Publish(2);
    WriteMesh(2);
    ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
    before = StatusOf("front-0");
    up.process().Signal(SIGKILL);
    up.process().Wait();
  }
  // Its nodes were told by the kernel.
  for (const absl::Time end = absl::Now() + absl::Seconds(30);
       kill(static_cast<pid_t>(before.pid), 0) == 0 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_NE(kill(static_cast<pid_t>(before.pid), 0), 0);
  PorticoCommand up(UpArguments(folder_.path() + "/mesh.yaml"));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  EXPECT_GT(ReadRevisionPointers(run_folder() + "/current")->current, 2u) << "numbers are not used twice";
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(20);
  StopClients();
  EXPECT_EQ(failures_, 0);
  EXPECT_EQ(last_version_, 2);
}

TEST_F(RevisionTest, PoliciesThatChangeHoldAtOnceAndFailNoRequest) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  const NodeStatus front = StatusOf("front-0");
  StartClients(front.grpc);
  WaitForAnswers(100);
  const auto hedges = [&] {
    const auto metrics = MetricsText::Parse(Http(front.http, "/metrics").body).value_or(MetricsText());
    double sum = 0;
    for (const auto& [labels, count] : metrics.Values("portico_portal_hedges_total")) sum += count;
    return sum;
  };
  EXPECT_EQ(hedges(), 0);
  const std::string policies[] = {"{hedge_after: 1us, hedge_percent: 100, timeout: 20s}",
                                  "{balance: round_robin, max_in_flight: 1000, eject_after: 0}",
                                  "{balance: consistent_hash, retries: 0, slow_start: 0s}", "{}"};
  uint64_t number = 1;
  for (const std::string& policy : policies) {
    WriteMesh(1, absl::StrCat(kNodes, "policies: {m: ", policy, "}\n"));
    ASSERT_TRUE(up.WaitForOutput(absl::StrCat("revision ", ++number, " is current"))) << up.output();
    WaitForRevision("front-0", number);
    WaitForAnswers(200);
    if (number == 2) {
      EXPECT_GT(hedges(), 10) << "without a restart";
    }
  }
  EXPECT_EQ(StatusOf("front-0").pid, front.pid);
  StopClients();
  EXPECT_EQ(failures_, 0) << up.output();
}

TEST_F(RevisionTest, WhatAFailedCallIsAnsweredWithChangesWhileTheModelStaysLoaded) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  const auto with_default_of = [&](const char* output) {
    WriteMesh(1, absl::StrCat(kNodes, "policies: {m: {timeout: 200ms, retries: 0, on_error: {defaults: {", output,
                              ": 7}}}}\n"));
  };
  with_default_of("y");
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  WaitForRevision("front-0", 2);
  with_default_of("z");
  ASSERT_TRUE(up.WaitForOutput("output 'y': on_error: defaults: got no value")) << up.output();
  const int64_t back[] = {StatusOf("back-0").pid, StatusOf("back-1").pid};
  for (const int64_t pid : back) kill(static_cast<pid_t>(pid), SIGSTOP);
  PredictClient client(StatusOf("front-0").grpc);
  const auto outputs = client.Predict("head", {{"x", Tensor::Of<float>({1, 64}, std::vector<float>(64, 1))}});
  for (const int64_t pid : back) kill(static_cast<pid_t>(pid), SIGCONT);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->at("y").data<float>()[0], 7);
}

TEST_F(RevisionTest, AllNodesOfAModelAreReplacedAtOnceWithoutAFailedRequest) {
  PorticoCommand up(UpArguments(WriteMesh(1)));
  ASSERT_TRUE(up.WaitForOutput("mesh 'chain' is ready")) << up.output();
  StartClients(StatusOf("front-0").grpc);
  WaitForAnswers(100);
  uint64_t number = 1;
  for (const char* name : {"rear", "aft", "rear", "back"}) {
    const int64_t version = static_cast<int64_t>(number) + 1;
    Publish(version);
    WriteMesh(version, absl::StrCat("nodes:\n  ", name,
                                    ": {serve: [m], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n"));
    ASSERT_TRUE(up.WaitForOutput(absl::StrCat("revision ", ++number, " is current"))) << up.output();
    WaitForAnswers(200);
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(up.WaitForOutput(" stopped\n")) << up.output();
  }
  WaitForVersion(5);
  StopClients();
  EXPECT_EQ(failures_, 0) << up.output();
}

}  // namespace
}  // namespace portico
