#include "cli/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace portico {
namespace {

constexpr double kWidth = 720, kHeight = 440;
constexpr double kLeft = 74, kRight = 24, kTop = 84, kBottom = 60;
constexpr int kColors = 4;
constexpr int kTicks = 6;
/// Of text at its size, about.
constexpr double kCharacter = 6.6, kLineHeight = 15;

/// Colours of either background: by its media query, since an image has no page around it.
constexpr char kStyle[] =
    "  <style>\n"
    "    .back { fill: #ffffff; }\n"
    "    text { font: 12px Helvetica, Arial, sans-serif; fill: #24303c; }\n"
    "    .title { font-size: 15px; font-weight: bold; }\n"
    "    .axis { stroke: #5b6b7b; fill: none; } .grid { stroke: #8896a4; stroke-opacity: 0.25; }\n"
    "    .line { fill: none; stroke-width: 2; } .halo { fill: none; stroke: #5b6b7b; stroke-width: 1.5; }\n"
    "    .c0 { stroke: #2b6cb0; } .c1 { stroke: #c05621; } .c2 { stroke: #2f855a; } .c3 { stroke: #6b46c1; }\n"
    "    .mark { fill: #b83280; }\n"
    "    @media (prefers-color-scheme: dark) {\n"
    "      .back { fill: #161b22; } text { fill: #d8e0e8; } .axis, .halo { stroke: #94a3b3; } .mark { fill: #f687b3; "
    "}\n"
    "      .c0 { stroke: #63b3ed; } .c1 { stroke: #f6ad55; } .c2 { stroke: #68d391; } .c3 { stroke: #b794f4; }\n"
    "    }\n"
    "  </style>\n";

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

/// From what number to what an axis goes, and where its ticks are.
struct Scale {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  double step = 1;
  /// Low, high and ticks are logarithms.
  bool log = false;

  /// Where a number is on the axis.
  double Of(double value) const { return log ? std::log10(value) : value; }
  void Take(double number) {
    const double value = Of(number);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  /// Rounds outwards to ticks of 1, 2 or 5 times a power of ten.
  void Finish() {
    if (low > high) low = high = 0;
    if (high - low < 1e-9) {
      low -= 1;
      high += 1;
    }
    if (log) {
      low = std::floor(low + 1e-9);
      high = std::ceil(high - 1e-9);
      return;
    }
    const double rough = (high - low) / kTicks;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    for (const double times : {1.0, 2.0, 5.0, 10.0}) {
      step = power * times;
      if (step >= rough * 0.999) break;
    }
    low = std::floor(low / step + 1e-9) * step;
    high = std::ceil(high / step - 1e-9) * step;
  }
  double At(double tick, double from, double to) const { return from + (tick - low) / (high - low) * (to - from); }
  /// With as many digits as the step has.
  std::string Number(double tick) const {
    if (log) return absl::StrFormat("%g", std::pow(10, std::round(tick)));
    const int digits = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 6);
    return absl::StrFormat("%.*f", digits, std::abs(tick) < step / 2 ? 0 : tick);
  }
};

/// The text of one plot while it is made.
class Drawing {
 public:
  explicit Drawing(const SvgPlot& plot) : plot_(plot) {
    x_.log = plot.log_x;
    y_.log = plot.log_y;
    for (const SvgPlot::Line& line : plot.lines) {
      for (const auto& [x, y] : line.points) Take(x, y);
    }
    for (const SvgPlot::Mark& mark : plot.marks) Take(mark.x, mark.y);
    x_.Finish();
    y_.Finish();
  }

  std::string Print() {
    absl::StrAppendFormat(&out_,
                          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" role=\"img\">\n"
                          "  <title>%s</title>\n%s  <rect class=\"back\" width=\"%g\" height=\"%g\" rx=\"6\"/>\n",
                          kWidth, kHeight, Escaped(plot_.title), kStyle, kWidth, kHeight);
    Text(kLeft, 24, "start", plot_.title, "title");
    Text(kLeft, 43, "start", plot_.subtitle);
    Axes();
    for (size_t i = 0; i < plot_.lines.size(); ++i) Line(plot_.lines[i], i);
    for (const SvgPlot::Mark& mark : plot_.marks) Dot(mark);
    for (const SvgPlot::Mark& mark : plot_.marks) Label(mark);
    return out_ + "</svg>\n";
  }

 private:
  struct Box {
    double left, top, right, bottom;
    bool Meets(const Box& other) const {
      return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
    }
  };

  void Take(double x, double y) {
    if (!IsFinite(x, y)) return;
    x_.Take(x);
    y_.Take(y);
  }
  bool IsFinite(double x, double y) const { return std::isfinite(x_.Of(x)) && std::isfinite(y_.Of(y)); }
  double XTick(double tick) const { return x_.At(tick, kLeft, kWidth - kRight); }
  double YTick(double tick) const { return y_.At(tick, kHeight - kBottom, kTop); }
  double X(double x) const { return XTick(x_.Of(x)); }
  double Y(double y) const { return YTick(y_.Of(y)); }

  void Text(double x, double y, const char* anchor, const std::string& text, const char* style = "") {
    if (text.empty()) return;
    absl::StrAppendFormat(&out_, "  <text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor,
                          *style == '\0' ? "" : absl::StrCat(" class=\"", style, "\""), Escaped(text));
  }

  void Axes() {
    const double bottom = kHeight - kBottom, right = kWidth - kRight;
    for (double tick = x_.low; tick <= x_.high + x_.step / 2; tick += x_.step) {
      absl::StrAppendFormat(&out_, "  <path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>\n", XTick(tick), bottom, kTop);
      Text(XTick(tick), bottom + 18, "middle", x_.Number(tick));
    }
    for (double tick = y_.low; tick <= y_.high + y_.step / 2; tick += y_.step) {
      absl::StrAppendFormat(&out_, "  <path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", kLeft, YTick(tick), right);
      Text(kLeft - 8, YTick(tick) + 4, "end", y_.Number(tick));
    }
    absl::StrAppendFormat(&out_, "  <path class=\"axis\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", kLeft, kTop, bottom, right);
    Text((kLeft + right) / 2, kHeight - 16, "middle", plot_.x_label);
    absl::StrAppendFormat(&out_,
                          "  <text transform=\"translate(20 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
                          (kTop + bottom) / 2, Escaped(plot_.y_label));
  }

  void Line(const SvgPlot::Line& line, size_t index) {
    const int color = static_cast<int>(index) % kColors;
    std::string path;
    for (const auto& [x, y] : line.points) {
      if (IsFinite(x, y)) absl::StrAppendFormat(&path, "%s%.1f %.1f", path.empty() ? "M" : "L", X(x), Y(y));
    }
    if (!path.empty()) absl::StrAppendFormat(&out_, "  <path class=\"line c%d\" d=\"%s\"/>\n", color, path);
    // In the legend, one beside the other as long as there is room.
    if (legend_ + 24 + kCharacter * static_cast<double>(line.name.size()) > kWidth) return;
    absl::StrAppendFormat(&out_, "  <path class=\"line c%d\" d=\"M%.1f 62h18\"/>\n", color, legend_);
    Text(legend_ + 24, 66, "start", line.name);
    legend_ += 24 + kCharacter * static_cast<double>(line.name.size()) + 18;
  }

  void Dot(const SvgPlot::Mark& mark) {
    if (!IsFinite(mark.x, mark.y)) return;
    const double x = X(mark.x), y = Y(mark.y);
    absl::StrAppendFormat(&out_, "  <circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>\n", x, y,
                          mark.chosen ? 5 : 4);
    if (mark.chosen) absl::StrAppendFormat(&out_, "  <circle class=\"halo\" cx=\"%.1f\" cy=\"%.1f\" r=\"9\"/>\n", x, y);
    taken_.push_back({x - 6, y - 6, x + 6, y + 6});
  }

  /// Beside its point, where nothing else is.
  void Label(const SvgPlot::Mark& mark) {
    if (!IsFinite(mark.x, mark.y)) return;
    const double length = kCharacter * static_cast<double>(mark.label.size());
    Box box{};
    bool start = true;
    for (const double dy : {0.0, 18.0, -18.0, 34.0, -34.0, 50.0, -50.0, 66.0}) {
      for (const bool right : {true, false}) {
        const double x = X(mark.x) + (right ? 13 : -13), y = Y(mark.y) + 4 + dy;
        box = {right ? x : x - length, y - kLineHeight + 4, right ? x + length : x, y + 4};
        start = right;
        const bool inside = box.left > kLeft && box.right < kWidth && box.top > kTop && box.bottom < kHeight - kBottom;
        const auto meets = [&](const Box& other) { return box.Meets(other); };
        if (!inside || std::any_of(taken_.begin(), taken_.end(), meets)) continue;
        taken_.push_back(box);
        Text(x, y, right ? "start" : "end", mark.label);
        return;
      }
    }
    // No room: where it was tried last.
    Text(start ? box.left : box.right, box.bottom - 4, start ? "start" : "end", mark.label);
  }

  const SvgPlot& plot_;
  Scale x_, y_;
  double legend_ = kLeft;
  std::vector<Box> taken_;
  std::string out_;
};

}  // namespace

std::string SvgPlot::Print() const { return Drawing(*this).Print(); }

}  // namespace portico
