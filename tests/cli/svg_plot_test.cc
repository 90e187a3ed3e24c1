#include "cli/svg_plot.h"

#include <cmath>
#include <regex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

SvgPlot Some() {
  SvgPlot plot;
  plot.title = "Spam & \"ham\" <b>";
  plot.x_label = "rows escalated, %";
  plot.y_label = "agreement, %";
  plot.lines = {{"margin(p) < 0.5", {{0, 95}, {10, 99}, {100, 100}}}, {"entropy", {{0, 95}, {100, 100}}}};
  plot.marks = {{0, 95, "trigger alone"}, {10, 99, "chosen here", true}};
  return plot;
}

TEST(SvgPlot, HasTitleAxesLinesAndMarks) {
  const std::string svg = Some().Print();
  EXPECT_THAT(svg, HasSubstr("<title>Spam &amp; &quot;ham&quot; &lt;b&gt;</title>"));
  for (const char* text :
       {">rows escalated, %<", ">agreement, %<", ">trigger alone<", ">chosen here<", ">margin(p) &lt; 0.5<",
        ">entropy<", ">0<", ">100<", "prefers-color-scheme: dark", "<rect class=\"back\""}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  EXPECT_EQ(Count(svg, "<circle class=\"mark\""), 2u);
  EXPECT_EQ(Count(svg, "<circle class=\"halo\""), 1u) << "the chosen one";
  EXPECT_EQ(Count(svg, "<svg "), 1u);
  EXPECT_EQ(Count(svg, "</svg>"), 1u);
}

TEST(SvgPlot, EverythingLiesWithin) {
  const std::string svg = Some().Print();
  const std::regex number("(?:x|cx)=\"(-?[0-9.]+)\" (?:y|cy)=\"(-?[0-9.]+)\"");
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), number); it != std::sregex_iterator(); ++it) {
    EXPECT_GE(std::stod((*it)[1]), 0);
    EXPECT_LE(std::stod((*it)[1]), 720);
    EXPECT_GE(std::stod((*it)[2]), 0);
    EXPECT_LE(std::stod((*it)[2]), 440);
  }
}

TEST(SvgPlot, LogarithmicAxesGoByPowersOfTen) {
  SvgPlot plot;
  plot.log_x = plot.log_y = true;
  plot.lines = {{"p99", {{1, 0.2}, {10, 0.6}, {0, 5}, {1000, 40}}}};
  const std::string svg = plot.Print();
  for (const char* tick : {">1<", ">10<", ">100<", ">1000<", ">0.1<"}) EXPECT_THAT(svg, HasSubstr(tick));
  // 10 is a third of the way from 1 to 1000; what has no logarithm is left out.
  std::smatch line;
  ASSERT_TRUE(std::regex_search(
      svg, line, std::regex("class=\"line c0\" d=\"M([0-9.]+) [0-9.]+L([0-9.]+) [0-9.]+L([0-9.]+) [0-9.]+\"")));
  EXPECT_NEAR(std::stod(line[2]) - std::stod(line[1]), (std::stod(line[3]) - std::stod(line[1])) / 3, 0.2);
}

TEST(SvgPlot, NothingAndWhatIsNotFiniteAreNoPoints) {
  EXPECT_THAT(SvgPlot().Print(), HasSubstr("</svg>"));
  SvgPlot plot = Some();
  plot.marks.push_back({std::nan(""), 1, "nowhere"});
  plot.lines[0].points.push_back({HUGE_VAL, 99});
  const std::string svg = plot.Print();
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, Not(HasSubstr("nowhere")));
  // One point has no extent.
  SvgPlot one;
  one.marks = {{5, 5, "alone"}};
  EXPECT_THAT(one.Print(), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace portico
