#include "cli/waterfall.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/terminal_text.h"
#include "cli/time_shares.h"

namespace portico {
namespace {

constexpr size_t kMinBarColumns = 20;
constexpr size_t kMinNameColumns = 16;
/// Deeper spans are not told further in: hops are at most 16, and what came over the network may say anything.
constexpr size_t kMaxIndent = 32;
/// Below so much, times are told in microseconds.
constexpr double kMillisecondsFromUs = 10'000;

constexpr char kWork[] = "─";
constexpr char kQueue[] = "░";
constexpr char kBatch[] = "█";
constexpr char kWire[] = "┄";

constexpr char kRed[] = "\x1b[31m";
constexpr char kGreen[] = "\x1b[32m";
constexpr char kYellow[] = "\x1b[33m";
constexpr char kCyan[] = "\x1b[36m";
constexpr char kDim[] = "\x1b[2m";
constexpr char kPlain[] = "\x1b[0m";

/// Prints spans as a tree: what was caused below what caused it, in order of time.
class TreePrinter {
 public:
  TreePrinter(const TraceDocument& trace, const WaterfallStyle& style)
      : trace_(trace), style_(style), took_us_(trace.took_us()), in_ms_(took_us_ >= kMillisecondsFromUs) {
    for (size_t i = 0; i < trace.spans.size(); ++i) {
      if (trace.spans[i].cause < 0) AddLines(i);
    }
  }

  std::string Print() {
    size_t node_width = 4, name_width = kMinNameColumns;
    for (const Line& line : lines_) {
      node_width = std::max(node_width, ColumnsOf(line.span->node));
      name_width = std::max(name_width, ColumnsOf(line.what));
    }
    const size_t numbers = 9 + 1 + 9 + 2 + node_width + 2;
    const size_t room = std::max(style_.columns, numbers + kMinNameColumns + kMinBarColumns + 1) - numbers;
    name_width = std::min(name_width, room - kMinBarColumns - 1);
    bar_columns_ = room - name_width - 1;
    const char* unit = in_ms_ ? "ms" : "µs";
    std::string out =
        absl::StrCat(FitRight(absl::StrCat("at ", unit), 9), " ", FitRight(absl::StrCat("took ", unit), 9), "  ",
                     FitLeft("node", node_width), "  what\n");
    for (const Line& line : lines_) {
      const TraceSpan& span = *line.span;
      absl::StrAppend(&out, FitRight(Time(span.start_us - trace_.begin_us()), 9), " ",
                      FitRight(Time(span.duration_us), 9), "  ", FitLeft(span.node, node_width), "  ",
                      Colored(FitLeft(line.what, name_width), span.error.empty() ? "" : kRed), " ", Bar(span), "\n");
    }
    return out + Legend() + notes_;
  }

 private:
  struct Line {
    const TraceSpan* span;
    std::string what;
  };

  /// A loop, not a recursion: what came over the network says how deep it goes.
  void AddLines(size_t root) {
    std::vector<std::pair<size_t, size_t>> left = {{root, 0}};
    while (!left.empty()) {
      const auto [index, depth] = left.back();
      left.pop_back();
      const TraceSpan& span = trace_.spans[index];
      lines_.push_back({&span, std::string(2 * std::min(depth, kMaxIndent), ' ') + What(span)});
      for (auto child = span.caused.rbegin(); child != span.caused.rend(); ++child)
        left.emplace_back(*child, depth + 1);
    }
  }

  std::string What(const TraceSpan& span) {
    std::string what = span.name;
    if (!span.error.empty()) absl::StrAppend(&what, ": ", span.error);
    if (span.wire_us >= 0) absl::StrAppend(&what, ", wire ", Time(span.wire_us));
    if (!span.products.empty()) absl::StrAppend(&what, " ", Note(absl::StrCat("of products ", span.products)));
    if (!span.shared_with.empty()) {
      absl::StrAppend(&what, " ", Note(absl::StrCat("shared with traces ", absl::StrJoin(span.shared_with, " "))));
    }
    if (span.clock_skew_us != 0) {
      const auto [note, is_new] = moved_.emplace(span.node, "");
      if (is_new) {
        note->second =
            Note(absl::StrCat("the clock of ", span.node, " seems ", TimeWithUnit(std::abs(span.clock_skew_us)),
                              span.clock_skew_us > 0 ? " ahead" : " behind",
                              ": its spans are as long as it says, put into the middle of the call"));
      }
      absl::StrAppend(&what, " ", note->second);
    }
    return what;
  }

  std::string Time(double us) const {
    return in_ms_ ? absl::StrFormat("%.3f", us / 1000) : absl::StrFormat("%.1f", us);
  }
  std::string TimeWithUnit(double us) const { return absl::StrCat(Time(us), in_ms_ ? " ms" : " µs"); }

  std::string Colored(std::string text, absl::string_view color) const {
    return style_.color && !color.empty() && !text.empty() ? absl::StrCat(color, text, kPlain) : text;
  }

  size_t Column(double at_us) const {
    const double column_us = std::max(took_us_, 1.0) / static_cast<double>(bar_columns_);
    const double column = (at_us - trace_.begin_us()) / column_us;
    return static_cast<size_t>(std::clamp(std::lround(column), 0l, static_cast<long>(bar_columns_)));
  }

  std::string Bar(const TraceSpan& span) const {
    const size_t begin = std::min(Column(span.start_us), bar_columns_ - 1);
    const size_t end = std::max(Column(span.end_us()), begin + 1);
    const std::string blanks(begin, ' ');
    const auto piece = [this](const char* of, absl::string_view color, size_t count) {
      std::string text;
      for (size_t i = 0; i < count; ++i) text.append(of);
      return Colored(std::move(text), color);
    };
    if (span.kind == SpanKind::kQueue) return blanks + piece(kQueue, kYellow, end - begin);
    if (span.kind == SpanKind::kBatch) return blanks + piece(kBatch, kGreen, end - begin);
    if (span.kind != SpanKind::kPortal || span.caused.empty()) return blanks + piece(kWork, kDim, end - begin);
    const PeerTime peer = PeerTimeOf(trace_, span);
    const size_t peer_begin = std::clamp(Column(peer.begin_us), begin, end);
    const size_t peer_end = std::clamp(Column(peer.end_us), peer_begin, end);
    return blanks + piece(kWire, kCyan, peer_begin - begin) + piece(kWork, kDim, peer_end - peer_begin) +
           piece(kWire, kCyan, end - peer_end);
  }

  std::string Legend() const {
    const TimeShares shares = SharesOf(trace_);
    const auto share = [this](const char* glyph, absl::string_view color, absl::string_view what, double us) {
      return absl::StrFormat("%s %s %s (%.0f %%)", Colored(glyph, color), what, TimeWithUnit(us),
                             100 * us / std::max(took_us_, 1e-3));
    };
    return absl::StrCat(TimeWithUnit(took_us_), " = ", share(kBatch, kGreen, "batch", shares.batch_us), " + ",
                        share(kQueue, kYellow, "queue", shares.queue_us), " + ",
                        share(kWire, kCyan, "wire", shares.wire_us), " + ", share(kWork, kDim, "rest", shares.rest_us),
                        "\n");
  }

  /// Returns what refers to it.
  std::string Note(absl::string_view text) {
    const std::string mark = absl::StrCat("[", ++last_note_, "]");
    absl::StrAppend(&notes_, mark, " ", text, "\n");
    return mark;
  }

  const TraceDocument& trace_;
  const WaterfallStyle& style_;
  const double took_us_;
  const bool in_ms_;
  size_t bar_columns_ = kMinBarColumns;
  std::vector<Line> lines_;
  /// Node → the mark of the note that its clock differs.
  std::map<std::string, std::string> moved_;
  int last_note_ = 0;
  std::string notes_;
};

}  // namespace

std::string Waterfall(const TraceDocument& trace, const WaterfallStyle& style) {
  return TreePrinter(trace, style).Print();
}

absl::StatusOr<std::string> Waterfall(absl::string_view traces, const WaterfallStyle& style) {
  ASSIGN_OR_RETURN(const std::vector<TraceDocument> read, ParseTraces(traces));
  if (read.empty()) return absl::NotFoundError("trace: got none from the node, want the one of this request");
  return Waterfall(read.front(), style);
}

}  // namespace portico
