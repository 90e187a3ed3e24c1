#include "deploy/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace portico {
namespace {

/// After vfork, in the parent's memory: nothing here may allocate or lock, or change what the parent goes on with. Says errno through `failure` when it can't become `argv`.
[[noreturn]] void BecomeChild(char* const* argv, pid_t parent, int output, int failure) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const int input = open("/dev/null", O_RDONLY);
  if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
      dup2(output, STDERR_FILENO) >= 0 && setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
    if (input > STDERR_FILENO) close(input);
    // The parent may have died before prctl().
    if (getppid() != parent) _exit(127);
    execv(argv[0], argv);
  }
  const int error = errno;
  if (write(failure, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe for", command[0]);
  absl::Cleanup close_output = [&output] {
    close(output[0]);
    close(output[1]);
  };
  // Closed by exec: end of file means that the child runs, a number is its errno.
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe for", command[0]);
  absl::Cleanup close_failure = [&failure] { close(failure[0]); };

  const pid_t parent = getpid();
  // Not fork(): that copies the page tables of a large process, which stands still meanwhile, and leaves it with a fault
  // for each page that it writes to next.
  const pid_t pid = vfork();
  if (pid == 0) BecomeChild(argv.data(), parent, output[1], failure[1]);
  const int fork_error = errno;
  close(failure[1]);
  if (pid < 0) return ErrnoStatus(fork_error, "start a process for", command[0]);

  int error = 0;
  ssize_t got;
  do {
    got = read(failure[0], &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) {
    waitpid(pid, nullptr, 0);
    return ErrnoStatus(error, "run", command[0]);
  }
  std::move(close_output).Cancel();
  close(output[1]);
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<Process>(new Process(pid, output[0]));
}

Process::~Process() {
  Signal(SIGKILL);
  Wait();
  if (output_ >= 0) close(output_);
}

bool Process::ReadOutput(std::string* out) {
  char buffer[16384];
  while (output_ >= 0) {
    const ssize_t got = read(output_, buffer, sizeof buffer);
    if (got > 0) {
      out->append(buffer, static_cast<size_t>(got));
      // A child that prints without end must not keep the caller here.
      if (out->size() >= sizeof buffer) return true;
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    close(output_);
    output_ = -1;
  }
  return false;
}

void Process::Signal(int number) {
  // Its group has its number: what it started itself goes with it.
  if (!ended_) kill(number == SIGKILL ? -pid_ : pid_, number);
}

std::optional<std::string> Process::Ended() {
  if (!ended_) {
    const pid_t got = waitpid(pid_, &wait_status_, WNOHANG);
    if (got != pid_) return std::nullopt;
    ended_ = true;
  }
  if (WIFSIGNALED(wait_status_)) {
    return absl::StrCat("signal ", WTERMSIG(wait_status_), " (", strsignal(WTERMSIG(wait_status_)), ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(wait_status_));
}

std::string Process::Wait() {
  while (!ended_) {
    if (waitpid(pid_, &wait_status_, 0) == pid_) ended_ = true;
  }
  return *Ended();
}

}  // namespace portico
