#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { SetLogFormat("text", ""); }

  /// The lines that `log` writes to standard error.
  template <typename F>
  static std::vector<std::string> Lines(F log) {
    ::testing::internal::CaptureStderr();
    log();
    return absl::StrSplit(::testing::internal::GetCapturedStderr(), '\n', absl::SkipEmpty());
  }
};

TEST_F(LogTest, TextLinesAreTimeLevelAndMessage) {
  const auto lines = Lines([] { LogWarning("model 'a': gone"); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], MatchesRegex("[0-9T:.-]+ W model 'a': gone"));
}

TEST_F(LogTest, JsonLinesAreOneObjectEachWhateverTheMessageHolds) {
  ASSERT_TRUE(SetLogFormat("json", "apps/0"));
  const auto lines = Lines([] {
    LogInfo("say \"hi\"\nand {} go \xff");
    LogError("bad");
  });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], MatchesRegex(R"(\{"time":"20[0-9]+-[0-9]+-[0-9]+T[0-9:]+\.[0-9]+Z","severity":"INFO",)"
                                     R"("node":"apps/0","file":"tests/base/log_test.cc:[0-9]+","message":.*)"));
  EXPECT_THAT(lines[0], EndsWith(R"("message":"say \"hi\"\nand {} go ?"})"));
  EXPECT_THAT(lines[1], MatchesRegex(R"(.*"severity":"ERROR".*"message":"bad"\})"));
}

TEST_F(LogTest, ANodeWithoutNameIsLeftOutAndOtherFormatsAreRefused) {
  ASSERT_TRUE(SetLogFormat("json", ""));
  EXPECT_FALSE(SetLogFormat("xml", ""));
  const auto lines = Lines([] { LogInfo("x"); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], MatchesRegex(R"(\{"time":"[^"]+","severity":"INFO","file":.*)"));
}

TEST_F(LogTest, LinesBelowTheLevelAreNotWritten) {
  SetLogLevel("error");
  EXPECT_TRUE(Lines([] { LogInfo("x"); }).empty());
  SetLogLevel("info");
}

TEST_F(LogTest, AReaderThatHasStoppedHoldsNobodyUpAndLearnsHowManyLinesItMissed) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int before = dup(STDERR_FILENO);
  ASSERT_EQ(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  const std::string filler(200, '.');
  constexpr int kLines = 2'000;
  // Several times what a pipe holds.
  for (int i = 0; i < kLines; ++i) LogInfo(filler);
  std::string text(1 << 20, '\0');
  text.resize(static_cast<size_t>(read(ends[0], text.data(), text.size())));
  const auto came = std::count(text.begin(), text.end(), '\n');
  LogInfo("again");
  std::string rest(4096, '\0');
  rest.resize(static_cast<size_t>(read(ends[0], rest.data(), rest.size())));
  dup2(before, STDERR_FILENO);
  for (const int fd : {before, ends[0], ends[1]}) close(fd);
  EXPECT_LT(came, kLines);
  EXPECT_THAT(rest, HasSubstr(absl::StrCat("(", kLines - came, " log lines were dropped")));
  EXPECT_THAT(rest, HasSubstr("again\n"));
}

}  // namespace
}  // namespace portico
