#include "cli/answer_shift.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/answer_comparison.h"
#include "cli/terminal_text.h"
#include "cli/text_table.h"

namespace portico {
namespace {

constexpr size_t kColumns = 160;

std::string Number(double value) { return absl::StrFormat("%.3g", value); }

}  // namespace

void AnswerShift::Output::Keep(double difference) {
  // Of rows that are too many, every second one goes.
  if (differences_.size() == kMaxKept) {
    for (size_t i = 0; i < kMaxKept / 2; ++i) differences_[i] = differences_[2 * i];
    differences_.resize(kMaxKept / 2);
    stride_ *= 2;
  }
  if (rows % stride_ == 0) differences_.push_back(static_cast<float>(difference));
  ++rows;
}

double AnswerShift::Output::Quantile(double q) const {
  if (differences_.empty()) return 0;
  std::vector<float> sorted = differences_;
  const auto at = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  const auto place = sorted.begin() + static_cast<std::ptrdiff_t>(std::clamp<size_t>(at, 1, sorted.size()) - 1);
  std::nth_element(sorted.begin(), place, sorted.end());
  return *place;
}

AnswerShift::Output& AnswerShift::Find(const std::string& name) {
  const auto found = absl::c_find_if(outputs_, [&](const Output& one) { return one.name == name; });
  if (found != outputs_.end()) return *found;
  outputs_.emplace_back().name = name;
  return outputs_.back();
}

void AnswerShift::Add(const std::vector<TensorSpec>& specs, absl::Span<const Tensor> before,
                      absl::Span<const Tensor> after) {
  ++requests_;
  for (size_t i = 0; i < specs.size(); ++i) {
    Output& output = Find(specs[i].name);
    const Tensor& was = before[i];
    const Tensor& is = after[i];
    const int64_t rows = was.rows();
    if (was.dtype() != is.dtype() || was.shape() != is.shape()) {
      for (int64_t row = 0; row < std::max<int64_t>(rows, 1); ++row) {
        output.Keep(std::numeric_limits<double>::infinity());
        ++output.changed;
      }
      output.max_absolute = output.max_relative = std::numeric_limits<double>::infinity();
      continue;
    }
    const bool has_rows = !was.shape().empty();
    std::vector<bool> other;
    if (has_rows) {
      std::vector<int64_t> all(static_cast<size_t>(rows));
      std::iota(all.begin(), all.end(), 0);
      other = RowsThatDisagree(is, was, all, 0);
    } else {
      other = {!CompareAnswers({{{"", is}}}, {{{"", was}}}, 0).agrees};
    }
    for (int64_t row = 0; row < rows; ++row) {
      const TensorComparison comparison =
          has_rows ? CompareTensorsWithin(is.Slice(row, 1), was.Slice(row, 1), tolerance_.value_or(Tolerance()))
                   : CompareTensorsWithin(is, was, tolerance_.value_or(Tolerance()));
      const bool beyond = tolerance_.has_value() && comparison.outcome == TensorComparison::Outcome::kDifferent;
      if (other[static_cast<size_t>(row)] || beyond) ++output.changed;
      output.Keep(comparison.max_absolute);
      output.max_absolute = std::max(output.max_absolute, comparison.max_absolute);
      output.max_relative = std::max(output.max_relative, comparison.max_relative);
    }
  }
}

const AnswerShift::Output* AnswerShift::Worst() const {
  const auto worst = absl::c_max_element(
      outputs_, [](const Output& a, const Output& b) { return a.changed_share() < b.changed_share(); });
  return worst == outputs_.end() ? nullptr : &*worst;
}

std::string AnswerShift::Text() const {
  TextTable table({"OUTPUT", "ROWS", "CHANGED", "SHARE", "P50", "P99", "LARGEST", "RELATIVE"}, 1);
  for (const Output& output : outputs_) {
    table.Add({ForTerminal(output.name), absl::StrCat(output.rows), absl::StrCat(output.changed),
               absl::StrFormat("%.3g %%", 100 * output.changed_share()), Number(output.Quantile(0.5)),
               Number(output.Quantile(0.99)), Number(output.max_absolute), Number(output.max_relative)});
  }
  return table.Print(kColumns);
}

}  // namespace portico
