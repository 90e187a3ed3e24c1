#pragma once

#include <string>
#include <utility>
#include <vector>

namespace portico {

/// A small plot of lines and single points over two numbers, as an SVG that browsers and GitHub show on light and dark
/// backgrounds alike: it has a background of its own, which follows the viewer's colour scheme. No script, no fonts. A
/// value.
struct SvgPlot {
  struct Line {
    /// In the legend.
    std::string name;
    /// By rising x.
    std::vector<std::pair<double, double>> points;
  };
  /// A point that is told by name, beside it.
  struct Mark {
    double x = 0;
    double y = 0;
    std::string label;
    /// Drawn large: the one that it is about.
    bool chosen = false;
  };

  std::string title;
  /// Below the title; empty: none.
  std::string subtitle;
  /// With their units.
  std::string x_label;
  std::string y_label;
  /// An axis by powers of ten; what is not above 0 is left out.
  bool log_x = false;
  bool log_y = false;
  std::vector<Line> lines;
  std::vector<Mark> marks;

  /// The file's text. What is not finite is left out.
  std::string Print() const;
};

}  // namespace portico
