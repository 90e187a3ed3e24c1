#include "deploy/log_lines.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(LineCutterTest, LinesComeOutHoweverTheBytesComeIn) {
  std::vector<std::string> lines;
  const auto keep = [&lines](absl::string_view line) { lines.emplace_back(line); };
  LineCutter cutter;
  cutter.Add("one\ntw", keep);
  cutter.Add("", keep);
  cutter.Add("o\n\nthr", keep);
  EXPECT_THAT(lines, ElementsAre("one", "two", ""));
  cutter.Finish(keep);
  cutter.Finish(keep);
  EXPECT_THAT(lines, ElementsAre("one", "two", "", "thr"));
}

TEST(LineCutterTest, EndlessLineIsCut) {
  std::vector<size_t> sizes;
  LineCutter cutter;
  cutter.Add(std::string(LineCutter::kMaxLine + 5, 'x') + "\n",
             [&sizes](absl::string_view line) { sizes.push_back(line.size()); });
  EXPECT_THAT(sizes, ElementsAre(LineCutter::kMaxLine, 5));
}

std::string Printed(bool colour) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&text, &size);
  LogPrinter printer(out, 6, colour);
  printer.Print("hub/0", 0, "hello");
  printer.Print("apps/0", 1, "there");
  printer.Say("done");
  std::fclose(out);
  std::string printed(text, size);
  free(text);
  return printed;
}

TEST(LogPrinterTest, EachLineStandsBehindItsProcess) {
  EXPECT_EQ(Printed(/*colour=*/false), "hub/0  | hello\napps/0 | there\ndone\n");
}

TEST(LogPrinterTest, ColoursTellProcessesApartOnATerminal) {
  EXPECT_EQ(Printed(/*colour=*/true), "\x1b[36mhub/0  |\x1b[0m hello\n\x1b[33mapps/0 |\x1b[0m there\ndone\n");
}

}  // namespace
}  // namespace portico
