#include "cli/replay_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace portico {
namespace {

using Outcome = TensorComparison::Outcome;

/// Of a recorded answer; the record itself is in a file that is there already.
constexpr uint64_t kMaxTensorBytes = uint64_t{2} << 30;
constexpr size_t kMaxMessage = 300;

std::string CodeText(absl::StatusCode code) { return absl::StatusCodeToString(code); }

/// What the node or the client was in, not what was asked: another time there is an answer.
bool OfCircumstances(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded ||
         code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kCancelled;
}

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.3g ms", absl::ToDoubleMilliseconds(duration));
}

}  // namespace

void ReplayReport::Latencies::Add(absl::Duration latency) {
  const double microseconds = std::max(1.0, absl::ToDoubleMicroseconds(latency));
  const auto bucket = static_cast<size_t>(std::log2(microseconds) * kPerDoubling);
  ++counts_[std::min(bucket, counts_.size() - 1)];
  ++count_;
}

absl::Duration ReplayReport::Latencies::At(double share) const {
  uint64_t left = static_cast<uint64_t>(std::ceil(static_cast<double>(count_) * share));
  size_t bucket = 0;
  while (bucket + 1 < counts_.size() && left > counts_[bucket]) left -= counts_[bucket++];
  return absl::Microseconds(std::exp2((static_cast<double>(bucket) + 0.5) / kPerDoubling));
}

void ReplayReport::Add(const RecordedRequest& request, const absl::StatusOr<TfsClient::Prediction>& got,
                       absl::Duration latency) {
  now_.Add(latency);
  const PredictionLogView& log = request.log;
  if (log.start != absl::InfinitePast()) recorded_.Add(log.latency);
  if (log.code != absl::StatusCode::kOk) {
    if (got.status().code() == log.code) {
      ++counts_.equal;
      return;
    }
    if (got.ok() && OfCircumstances(log.code)) {
      ++counts_.uncompared;
      return;
    }
    ++counts_.different;
    return Show(request, absl::StrCat("got ", got.ok() ? "an answer" : CodeText(got.status().code()), ", want ",
                                      CodeText(log.code), ": ", log.message.substr(0, kMaxMessage)));
  }
  if (!got.ok()) {
    ++counts_.failed;
    return Show(request, absl::StrCat("got ", CodeText(got.status().code()),
                                      ", want an answer: ", got.status().message().substr(0, kMaxMessage)));
  }
  if (!log.has_response) {
    ++counts_.uncompared;
    return;
  }
  const absl::StatusOr<PredictAnswer> want = ReadPredictResponse(log.response, request.file, kMaxTensorBytes);
  if (!want.ok()) {
    ++counts_.failed;
    return Show(request, absl::StrCat("the recorded answer can't be read: ", want.status().message()));
  }
  std::string first;
  switch (CompareOutputs(got->outputs, want->outputs, &first)) {
    case Outcome::kEqual:
      ++counts_.equal;
      return;
    case Outcome::kWithin:
      ++counts_.within;
      return;
    case Outcome::kDifferent:
      ++counts_.different;
      return Show(request, std::move(first));
  }
}

Outcome ReplayReport::CompareOutputs(const std::vector<NamedTensor>& got, const std::vector<NamedTensor>& want,
                                     std::string* first) {
  Outcome worst = Outcome::kEqual;
  const auto differ = [&](const std::string& output, const std::string& how) {
    worst = Outcome::kDifferent;
    ++outputs_[output].different;
    if (first->empty()) *first = absl::StrCat("output '", output, "': ", how);
  };
  // Both are sorted by name.
  auto have = got.begin();
  for (const NamedTensor& wanted : want) {
    for (; have != got.end() && have->name < wanted.name; ++have) differ(have->name, "got it, want none");
    if (have == got.end() || have->name != wanted.name) {
      differ(wanted.name, "got none, want it");
      continue;
    }
    const TensorComparison comparison = CompareTensorsWithin(have->tensor, wanted.tensor, options_.tolerance);
    ++have;
    if (comparison.outcome == Outcome::kEqual) continue;
    OfOutput& of = outputs_[wanted.name];
    of.max_absolute = std::max(of.max_absolute, comparison.max_absolute);
    of.max_relative = std::max(of.max_relative, comparison.max_relative);
    worst = std::max(worst, comparison.outcome);
    if (comparison.outcome != Outcome::kDifferent) continue;
    differ(wanted.name, comparison.different > 1
                            ? absl::StrCat(comparison.first, " (and ", comparison.different - 1, " more)")
                            : comparison.first);
  }
  for (; have != got.end(); ++have) differ(have->name, "got it, want none");
  return worst;
}

void ReplayReport::Show(const RecordedRequest& request, std::string text) {
  if (shown_.size() >= options_.shown && (shown_.empty() || request.index > shown_.rbegin()->first)) return;
  shown_[request.index] =
      absl::StrCat("record ", request.index, " (", std::filesystem::path(request.path).filename().string(), ", number ",
                   request.index_in_file, "): ", text);
  if (shown_.size() > options_.shown) shown_.erase(std::prev(shown_.end()));
}

std::string ReplayReport::Text() const {
  std::string text =
      absl::StrCat("equal ", counts_.equal, ", within tolerance ", counts_.within, ", different ", counts_.different,
                   ", failed ", counts_.failed, ", without a recorded answer ", counts_.uncompared, "\n");
  if (!now_.empty()) {
    absl::StrAppend(&text, "latency p50 ", Milliseconds(now_.At(0.5)), ", p99 ", Milliseconds(now_.At(0.99)));
    if (!recorded_.empty()) {
      absl::StrAppend(&text, " (inside the node that recorded: p50 ", Milliseconds(recorded_.At(0.5)), ", p99 ",
                      Milliseconds(recorded_.At(0.99)), ")");
    }
    text.push_back('\n');
  }
  for (const auto& [name, output] : outputs_) {
    absl::StrAppend(&text, "output '", name, "': largest difference ", output.max_absolute, ", relative ",
                    output.max_relative, "; beyond tolerance in ", output.different, " records\n");
  }
  for (const auto& [index, line] : shown_) absl::StrAppend(&text, line, "\n");
  const uint64_t hidden = counts_.different + counts_.failed - shown_.size();
  if (hidden > 0) absl::StrAppend(&text, "and ", hidden, " more that differ or failed\n");
  return text;
}

}  // namespace portico
