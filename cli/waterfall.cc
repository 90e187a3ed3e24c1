#include "cli/waterfall.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr int kBarColumns = 40;
/// At least.
constexpr size_t kNameColumns = 28;
/// Deeper spans are not told further in: hops are at most 16, and what came over the network may say anything.
constexpr size_t kMaxIndent = 32;

struct TimedSpan {
  std::string name;
  std::string node;
  std::string id;
  std::string parent;
  double start_us = 0;
  double duration_us = 0;
};

/// Throws simdjson_error for what is not there. Empty when there is no trace.
std::vector<TimedSpan> ReadSpans(absl::string_view traces) {
  simdjson::dom::parser parser;
  const simdjson::dom::element root = parser.parse(traces.data(), traces.size());
  std::vector<TimedSpan> spans;
  for (const simdjson::dom::element trace : root["traces"].get_array()) {
    for (const simdjson::dom::element from : trace["spans"].get_array()) {
      TimedSpan& span = spans.emplace_back();
      span.name = std::string(std::string_view(from["name"].get_string()));
      span.node = std::string(std::string_view(from["node"].get_string()));
      span.id = std::string(std::string_view(from["span_id"].get_string()));
      span.parent = std::string(std::string_view(from["parent_span_id"].get_string()));
      span.start_us = from["start_us"].get_double();
      span.duration_us = from["duration_us"].get_double();
      simdjson::dom::element error;
      if (from["error"].get(error) == simdjson::SUCCESS) {
        span.name.append(": ").append(std::string_view(error.get_string()));
      }
    }
    break;
  }
  return spans;
}

/// Prints spans as a tree: what was caused below what caused it, in order of time.
class TreePrinter {
 public:
  explicit TreePrinter(std::vector<TimedSpan> spans) : spans_(std::move(spans)) {
    std::stable_sort(spans_.begin(), spans_.end(),
                     [](const TimedSpan& a, const TimedSpan& b) { return a.start_us < b.start_us; });
    std::map<std::string, size_t> by_id;
    for (size_t i = 0; i < spans_.size(); ++i) by_id.emplace(spans_[i].id, i);
    for (size_t i = 0; i < spans_.size(); ++i) {
      const auto parent = by_id.find(spans_[i].parent);
      const bool is_root = parent == by_id.end() || parent->second == i;
      (is_root ? roots_ : children_[parent->second]).push_back(i);
      end_us_ = std::max(end_us_, spans_[i].start_us + spans_[i].duration_us);
      node_width_ = std::max(node_width_, spans_[i].node.size());
    }
    printed_.resize(spans_.size());
  }

  std::string Print() {
    for (const size_t root : roots_) AddLine(root, 0);
    size_t width = kNameColumns;
    for (const Line& line : lines_) width = std::max(width, line.what.size());
    std::string out = absl::StrFormat("%10s %9s  %-*s  %s\n", "at ms", "took ms", node_width_, "node", "what");
    for (const Line& line : lines_) {
      const TimedSpan& span = *line.span;
      absl::StrAppendFormat(&out, "%10.3f %9.3f  %-*s  %-*s %s\n", (span.start_us - begin_us()) / 1000,
                            span.duration_us / 1000, node_width_, span.node, width, line.what, Bar(span));
    }
    return out;
  }

 private:
  struct Line {
    const TimedSpan* span;
    std::string what;
  };

  void AddLine(size_t index, size_t depth) {
    // Ids that name each other in a circle are nobody's child and nobody's root; a span is printed once.
    if (printed_[index]) return;
    printed_[index] = true;
    const TimedSpan& span = spans_[index];
    lines_.push_back({&span, std::string(2 * std::min(depth, kMaxIndent), ' ') + span.name});
    for (const size_t child : children_[index]) AddLine(child, depth + 1);
  }

  std::string Bar(const TimedSpan& span) const {
    const double column_us = std::max(end_us_ - begin_us(), 1.0) / kBarColumns;
    const int begin = std::clamp(static_cast<int>((span.start_us - begin_us()) / column_us), 0, kBarColumns - 1);
    const int length = std::clamp(static_cast<int>(std::lround(span.duration_us / column_us)), 1, kBarColumns - begin);
    std::string bar(static_cast<size_t>(begin), ' ');
    for (int i = 0; i < length; ++i) bar.append("█");
    return bar;
  }

  double begin_us() const { return spans_.front().start_us; }

  std::vector<TimedSpan> spans_;
  std::vector<size_t> roots_;
  std::map<size_t, std::vector<size_t>> children_;
  std::vector<bool> printed_;
  double end_us_ = 0;
  size_t node_width_ = 4;
  std::vector<Line> lines_;
};

}  // namespace

absl::StatusOr<std::string> Waterfall(absl::string_view traces) {
  try {
    std::vector<TimedSpan> spans = ReadSpans(traces);
    if (spans.empty()) return absl::NotFoundError("trace: got none from the node, want the one of this request");
    return TreePrinter(std::move(spans)).Print();
  } catch (const simdjson::simdjson_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("traces: got ", error.what(), ", want the JSON of /debug/traces"));
  }
}

}  // namespace portico
