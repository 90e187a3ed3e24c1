#include "cli/metrics_text.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/terminal_text.h"

namespace portico {
namespace {

/// name{label="value",…} value [timestamp]
struct Sample {
  std::string name;
  SeriesLabels labels;
  double value = 0;
};

/// Reads `"…"` with \\, \" and \n from the front. False where it does not end.
bool TakeQuoted(absl::string_view* text, std::string* value) {
  if (!absl::ConsumePrefix(text, "\"")) return false;
  for (size_t i = 0; i < text->size(); ++i) {
    const char c = (*text)[i];
    if (c == '"') {
      text->remove_prefix(i + 1);
      return true;
    }
    if (c != '\\') {
      value->push_back(c);
      continue;
    }
    if (++i == text->size()) return false;
    value->push_back((*text)[i] == 'n' ? '\n' : (*text)[i]);
  }
  return false;
}

bool TakeLabels(absl::string_view* text, SeriesLabels* labels) {
  if (!absl::ConsumePrefix(text, "{")) return true;
  while (!absl::ConsumePrefix(text, "}")) {
    const size_t equals = text->find('=');
    if (equals == absl::string_view::npos) return false;
    const std::string name(absl::StripAsciiWhitespace(text->substr(0, equals)));
    text->remove_prefix(equals + 1);
    std::string value;
    if (!TakeQuoted(text, &value)) return false;
    (*labels)[name] = ForTerminal(value);
    absl::ConsumePrefix(text, ",");
  }
  return true;
}

/// Prometheus writes "+Inf"; absl reads "inf" in any case, and a sign.
bool ReadSample(absl::string_view line, Sample* sample) {
  const size_t end = line.find_first_of("{ ");
  if (end == absl::string_view::npos || end == 0) return false;
  sample->name = std::string(line.substr(0, end));
  line.remove_prefix(end);
  if (!TakeLabels(&line, &sample->labels)) return false;
  const std::pair<absl::string_view, absl::string_view> value_and_time =
      absl::StrSplit(absl::StripAsciiWhitespace(line), absl::MaxSplits(' ', 1));
  return absl::SimpleAtod(value_and_time.first, &sample->value);
}

const double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

absl::StatusOr<MetricsText> MetricsText::Parse(absl::string_view text) {
  MetricsText metrics;
  std::set<std::string, std::less<>> histograms;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    if (line[0] == '#') {
      const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
      if (words.size() == 4 && words[1] == "TYPE" && words[3] == "histogram") histograms.emplace(words[2]);
      continue;
    }
    Sample sample;
    if (!ReadSample(line, &sample)) {
      return absl::InvalidArgumentError(absl::StrCat("metrics, line ", number, ": got '", ForTerminal(line),
                                                     "', want NAME{LABELS} VALUE of Prometheus' text format"));
    }
    absl::string_view name = sample.name;
    if (absl::ConsumeSuffix(&name, "_bucket") && histograms.contains(name)) {
      const auto bound = sample.labels.extract("le");
      double le = 0;
      if (bound.empty() || !absl::SimpleAtod(bound.mapped(), &le)) continue;
      metrics.histograms_[std::string(name)][sample.labels].buckets.emplace_back(le, sample.value);
      continue;
    }
    name = sample.name;
    if (absl::ConsumeSuffix(&name, "_sum") && histograms.contains(name)) {
      metrics.histograms_[std::string(name)][sample.labels].sum = sample.value;
      continue;
    }
    metrics.values_[sample.name][sample.labels] = sample.value;
  }
  for (auto& [name, series] : metrics.histograms_) {
    for (auto& [labels, histogram] : series) std::sort(histogram.buckets.begin(), histogram.buckets.end());
  }
  return metrics;
}

const std::map<SeriesLabels, double>& MetricsText::Values(const std::string& name) const {
  static const auto& none = *new std::map<SeriesLabels, double>();
  const auto found = values_.find(name);
  return found == values_.end() ? none : found->second;
}

const std::map<SeriesLabels, HistogramCounts>& MetricsText::Histograms(const std::string& name) const {
  static const auto& none = *new std::map<SeriesLabels, HistogramCounts>();
  const auto found = histograms_.find(name);
  return found == histograms_.end() ? none : found->second;
}

double NewCount(double before, double now) { return now >= before ? now - before : now; }

HistogramCounts NewObservations(const HistogramCounts& before, const HistogramCounts& now) {
  const auto other_bound = [](const auto& a, const auto& b) { return a.first != b.first; };
  const bool same_bounds =
      before.buckets.size() == now.buckets.size() &&
      std::mismatch(
          before.buckets.begin(), before.buckets.end(), now.buckets.begin(), [&](const auto& a, const auto& b) {
            return !other_bound(a, b);
          }).first == before.buckets.end();
  if (!same_bounds || now.count() < before.count()) return now;
  HistogramCounts difference = now;
  difference.sum -= before.sum;
  for (size_t i = 0; i < now.buckets.size(); ++i) {
    // Buckets are read one after the other while others are counted.
    difference.buckets[i].second = std::max(now.buckets[i].second - before.buckets[i].second, 0.0);
  }
  return difference;
}

void AddObservations(const HistogramCounts& more, HistogramCounts* sum) {
  if (sum->buckets.empty()) {
    *sum = more;
    return;
  }
  if (more.buckets.size() != sum->buckets.size()) return;
  for (size_t i = 0; i < more.buckets.size(); ++i) sum->buckets[i].second += more.buckets[i].second;
  sum->sum += more.sum;
}

double QuantileOf(const HistogramCounts& histogram, double quantile) {
  if (!(histogram.count() > 0)) return std::numeric_limits<double>::quiet_NaN();
  const double rank = quantile * histogram.count();
  double below = 0, bound_below = 0;
  for (const auto& [bound, count] : histogram.buckets) {
    if (count >= rank && count > below) {
      if (bound == kInfinity) return bound_below;
      return bound_below + (bound - bound_below) * (rank - below) / (count - below);
    }
    below = std::max(count, below);
    if (bound != kInfinity) bound_below = bound;
  }
  return bound_below;
}

}  // namespace portico
