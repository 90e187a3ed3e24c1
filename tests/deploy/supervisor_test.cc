#include "deploy/supervisor.h"

#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "tests/deploy/mesh_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Runs the supervisor in this process over shell scripts that behave as `portico serve` might. A script stops the mesh
/// by a signal to its parent, which is this process, so no test has to guess how long anything takes.
class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    folder_.WritePlain("a");
    options_.mesh_file = folder_.WriteMesh("mesh: m\nmodels:\n  a: {path: packages/a}\nnodes:\n  n: {serve: [a]}\n");
    options_.run_folder = folder_.path() + "/run";
    options_.binary = folder_.File("fake_portico");
  }

  /// `body`: what the script does. Known to it: $node, $replica, $status (file), $revision, $here (folder), $start (1
  /// at its first start), and `ready [PORTAL]`, which writes the status of a node that is ready (and degraded).
  void WriteBinary(absl::string_view body) {
    std::ofstream out(options_.binary);
    out << "#!/bin/sh\n"
           "while [ $# -gt 0 ]; do\n"
           "  case $1 in\n"
           "    --node) node=$2;; --replica) replica=$2;; --status-file) status=$2;; --revision) revision=$2;;\n"
           "  esac\n"
           "  shift\n"
           "done\n"
           "here="
        << folder_.path()
        << "\n"
           "echo $$ >> $here/pids-$node-$replica\n"
           "start=$(wc -l < $here/pids-$node-$replica)\n"
           "say() { echo \"$1\" > $status.new; mv $status.new $status; }\n"
           "state() { echo "
           "'{\"node\":\"n\",\"replica\":0,\"pid\":1,\"ready\":'$1',\"grpc\":\"127.0.0.1:1\",\"http\":\"\",\"peer\":"
           "\"\",'\\\n"
           "'\"models\":[{\"name\":\"a\",\"version\":1,\"state\":\"S\",\"error\":\"'\"$2\"'\"}],\"degraded\":['\"$3\"']"
           "}'; }\n"
           "ready() { say \"$(state true '' \"$1\")\"; }\n"
           "failed() { say \"$(state false \"$1\" '')\"; }\n"
        << body;
    out.close();
    ASSERT_EQ(chmod(options_.binary.c_str(), 0700), 0);
  }

  /// What `portico up` prints, and how it ends.
  std::string Run(absl::Status* status) {
    ::testing::internal::CaptureStdout();
    *status = RunSupervisor(options_);
    return ::testing::internal::GetCapturedStdout();
  }

  std::vector<int> Pids(const std::string& node) {
    std::ifstream in(folder_.path() + "/pids-" + node);
    return {std::istream_iterator<int>(in), std::istream_iterator<int>()};
  }
  void ExpectGone(const std::string& node) {
    for (const int pid : Pids(node)) {
      EXPECT_EQ(kill(pid, 0), -1) << pid;
      EXPECT_EQ(errno, ESRCH);
    }
  }

  MeshFolder folder_;
  SupervisorOptions options_;
};

TEST_F(SupervisorTest, StartsNodesPrefixesLogsAndStopsAllAtASignal) {
  options_.mesh_file =
      folder_.WriteMesh("mesh: m\nmodels:\n  a: {path: packages/a}\nnodes:\n  n: {serve: [a], replicas: 2}\n");
  // The second replica stops the mesh when both are ready.
  WriteBinary(
      "echo hello from $replica\n"
      "if [ $replica = 0 ]; then mkfifo $here/fifo 2>/dev/null; ready; echo up > $here/fifo\n"
      "else mkfifo $here/fifo 2>/dev/null; cat $here/fifo > /dev/null; ready; kill -TERM $PPID; fi\n"
      "exec sleep 1000\n");
  absl::Status status;
  const std::string output = Run(&status);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(output, StartsWith("mesh 'm': starting 2 nodes; run folder " + options_.run_folder));
  EXPECT_THAT(output, HasSubstr("n/0 | hello from 0\n"));
  EXPECT_THAT(output, HasSubstr("n/1 | hello from 1\n"));
  EXPECT_THAT(output, HasSubstr("n/0 is ready after "));
  EXPECT_THAT(output, HasSubstr("grpc 127.0.0.1:1, serves a:1\n"));
  EXPECT_THAT(output, HasSubstr("mesh 'm': stopping\n"));
  EXPECT_THAT(output, HasSubstr("n/1 stopped with signal 15 (Terminated)\n"));
  ExpectGone("n-0");
  ExpectGone("n-1");
  // The nodes were told where to find all of this.
  const auto revision = ReadRevision(options_.run_folder + "/current");
  ASSERT_TRUE(revision.ok()) << revision.status();
  EXPECT_EQ(revision->number, 1u);
  EXPECT_EQ(revision->nodes[1].peer, "unix://" + options_.run_folder + "/n-1.sock");
}

TEST_F(SupervisorTest, CrashedNodeIsStartedAgain) {
  WriteBinary(
      "ready\n"
      "if [ $start = 1 ]; then kill -KILL $$; fi\n"
      "kill -INT $PPID\n"
      "exec sleep 1000\n");
  absl::Status status;
  const std::string output = Run(&status);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Pids("n-0").size(), 2u);
  EXPECT_THAT(output, HasSubstr("n/0 ended with signal 9 (Killed); starting it again in 100ms\n"));
  ExpectGone("n-0");
}

TEST_F(SupervisorTest, NodeThatNeverGetsReadyFailsTheMeshWithItsLastLines) {
  WriteBinary("echo line one\necho port is taken >&2\nexit 4\n");
  absl::Status status;
  Run(&status);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              StartsWith("node 'n/0': got exit status 4 at each of 5 starts, want it ready; its last lines:\n"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("  line one\n  port is taken"));
  EXPECT_EQ(Pids("n-0").size(), 5u);
}

TEST_F(SupervisorTest, ModelThatDoesNotLoadFailsTheMeshAtOnce) {
  WriteBinary("failed 'no such op'\nexec sleep 1000\n");
  absl::Status status;
  Run(&status);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "node 'n/0': model 'a' does not serve: no such op");
  EXPECT_EQ(Pids("n-0").size(), 1u);
  ExpectGone("n-0");
}

TEST_F(SupervisorTest, MeshThatIsNotReadyInTimeFailsAndSaysWhoIsNot) {
  options_.ready_timeout = absl::Milliseconds(50);
  WriteBinary("exec sleep 1000\n");
  absl::Status status;
  Run(&status);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("mesh 'm': got node 'n/0': not ready, want all nodes ready within 50ms"));
  ExpectGone("n-0");
}

TEST_F(SupervisorTest, MeshIsReadyOnlyWhenPortalsHaveReachedTheirTargets) {
  options_.ready_timeout = absl::Milliseconds(200);
  WriteBinary("ready '\"a: hub/enc: away\"'\nexec sleep 1000\n");
  absl::Status status;
  Run(&status);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("got node 'n/0': a: hub/enc: away, want"));
}

TEST_F(SupervisorTest, BinaryThatCannotRunFailsTheMesh) {
  options_.binary = folder_.path() + "/none";
  absl::Status status;
  Run(&status);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
}

TEST_F(SupervisorTest, SecondSignalKillsWhatDoesNotStop) {
  WriteBinary(
      "trap 'kill -TERM $PPID' TERM\n"
      "ready\n"
      "kill -TERM $PPID\n"
      "while :; do sleep 1000 & wait $!; done\n");
  absl::Status status;
  const std::string output = Run(&status);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(output, HasSubstr("n/0 stopped with signal 9 (Killed)\n"));
}

}  // namespace
}  // namespace portico
