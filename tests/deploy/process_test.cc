#include "deploy/process.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Process> Shell(const std::string& script) {
  auto process = Process::Start({"/bin/sh", "-c", script});
  EXPECT_TRUE(process.ok()) << process.status();
  return *std::move(process);
}

/// All that it prints until its end.
std::string OutputOf(Process& process) {
  std::string output;
  do {
    pollfd wanted{process.output(), POLLIN, 0};
    poll(&wanted, 1, -1);
  } while (process.ReadOutput(&output));
  return output;
}

TEST(ProcessTest, OutputAndErrorsComeTogetherAndTheEndIsTold) {
  auto process = Shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(OutputOf(*process), "out\nerr\n");
  EXPECT_EQ(process->output(), -1);
  EXPECT_EQ(process->Wait(), "exit status 3");
  EXPECT_EQ(process->Ended(), "exit status 3");
  EXPECT_FALSE(process->succeeded());
}

TEST(ProcessTest, RunsWhileItHasNotEnded) {
  auto process = Shell("exec sleep 1000");
  EXPECT_FALSE(process->Ended().has_value());
  process->Signal(SIGTERM);
  EXPECT_EQ(process->Wait(), "signal 15 (Terminated)");
  process->Signal(SIGTERM);  // It has ended: nobody else's process may get this.
}

TEST(ProcessTest, BinaryThatIsNotThereIsAnError) {
  const auto process = Process::Start({"/nowhere/portico"});
  EXPECT_TRUE(absl::IsNotFound(process.status()));
  EXPECT_EQ(process.status().message(), "run '/nowhere/portico': No such file or directory");
}

TEST(ProcessTest, IsKilledWhenItsOwnerLetsGo) {
  auto process = Shell("trap '' TERM; sleep 1000 & echo up; wait");
  std::string output;
  while (output.empty()) {
    pollfd wanted{process->output(), POLLIN, 0};
    poll(&wanted, 1, -1);
    process->ReadOutput(&output);
  }
  // At the end of this pipe nobody holds it any more, its child neither.
  const int pipe_end = dup(process->output());
  const pid_t pid = process->pid();
  process.reset();
  EXPECT_EQ(kill(pid, 0), -1);
  pollfd closed{pipe_end, 0, 0};
  EXPECT_EQ(poll(&closed, 1, 30000), 1);
  EXPECT_NE(closed.revents & POLLHUP, 0);
  close(pipe_end);
}

TEST(ProcessTest, StartsWithoutBlockedSignalsAndInAGroupOfItsOwn) {
  sigset_t mask, old;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &mask, &old);
  auto process = Shell("grep SigBlk /proc/self/status; kill -TERM $$; echo survived");
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  EXPECT_EQ(OutputOf(*process), "SigBlk:\t0000000000000000\n");
  EXPECT_EQ(process->Wait(), "signal 15 (Terminated)");
  auto group = Shell("exec sleep 1000");
  EXPECT_EQ(getpgid(group->pid()), group->pid());
}

TEST(ProcessTest, DiesWithItsParent) {
  // A parent in between, which names its child and is killed.
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    const auto child = Process::Start({"/bin/sleep", "1000"});
    const pid_t pid = child.ok() ? (*child)->pid() : -1;
    if (write(pipe_fds[1], &pid, sizeof pid) == sizeof pid) pause();
    _exit(1);
  }
  pid_t child = -1;
  ASSERT_EQ(read(pipe_fds[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ASSERT_GT(child, 0);
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  ASSERT_GE(pidfd, 0);
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  pollfd ended{pidfd, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 30000), 1);
  close(pidfd);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(ProcessTest, ChattyChildDoesNotHoldTheReader) {
  auto process = Shell("exec yes");
  std::string output;
  for (int i = 0; i < 10; ++i) {
    output.clear();
    pollfd wanted{process->output(), POLLIN, 0};
    poll(&wanted, 1, -1);
    EXPECT_TRUE(process->ReadOutput(&output));
    EXPECT_LT(output.size(), size_t{1} << 20);
  }
  EXPECT_THAT(output, HasSubstr("y\n"));
}

}  // namespace
}  // namespace portico
