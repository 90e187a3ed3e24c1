#include "node/process_name.h"

#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(ProcessNameTest, OneselfRuns) {
  const std::string own = OwnProcessName();
  EXPECT_EQ(PidOf(own), absl::StrCat(getpid()));
  EXPECT_EQ(OwnProcessName(), own);
  EXPECT_EQ(StateOfProcess(own), ProcessState::kRuns);
}

TEST(ProcessNameTest, AChildThatHasEndedIsKnownToHave) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string name = OwnProcessName();
    (void)!write(ends[1], name.data(), name.size());
    _exit(0);
  }
  char text[256];
  const ssize_t length = read(ends[0], text, sizeof text);
  close(ends[0]);
  close(ends[1]);
  ASSERT_GT(length, 0);
  const absl::string_view name(text, static_cast<size_t>(length));
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(StateOfProcess(name), ProcessState::kEnded) << "nobody has looked after it yet";
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(StateOfProcess(name), ProcessState::kEnded);
}

TEST(ProcessNameTest, AnotherProcessOfTheSameNumberIsNotTheOneThatIsMeant) {
  EXPECT_EQ(StateOfProcess(OwnProcessName() + "0"), ProcessState::kEnded);
}

TEST(ProcessNameTest, OfOtherMachinesNothingIsKnown) {
  const std::string own = OwnProcessName();
  EXPECT_EQ(StateOfProcess("another" + own), ProcessState::kUnknown);
  EXPECT_EQ(StateOfProcess(absl::StrReplaceAll(own, {{"pid:[", "pid:[9"}})), ProcessState::kUnknown);
  for (const absl::string_view none : {"", "a/b/c", "a/b/0/1", "a/b/-1/1", "a/b/c/d/e"}) {
    EXPECT_EQ(StateOfProcess(none), ProcessState::kUnknown) << none;
  }
  EXPECT_EQ(PidOf("none"), "");
}

}  // namespace
}  // namespace portico
