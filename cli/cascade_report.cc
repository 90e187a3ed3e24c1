#include "cli/cascade_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/text_table.h"

namespace portico {
namespace {

constexpr size_t kColumns = 160;

std::string PercentText(double percent) { return absl::StrFormat("%.2f %%", percent); }

std::string Microseconds(absl::Duration time) { return absl::StrFormat("%.3g µs", absl::ToDoubleMicroseconds(time)); }

int64_t Sum(const std::vector<uint8_t>& flags) { return std::accumulate(flags.begin(), flags.end(), int64_t{0}); }

}  // namespace

CascadeReport::Row CascadeReport::TriggerAlone(const RowOutcomes& outcomes) {
  Row row;
  row.when = "the trigger alone";
  row.point.agreeing = Sum(outcomes.agrees);
  row.point.right = Sum(outcomes.trigger_right);
  return row;
}

CascadeReport::Row CascadeReport::FullAlone(const RowOutcomes& outcomes) {
  Row row;
  row.when = "the full model alone";
  row.full_alone = true;
  row.point.escalated = row.point.agreeing = static_cast<int64_t>(outcomes.agrees.size());
  row.point.right = Sum(outcomes.full_right);
  return row;
}

double CascadeReport::Cost(const Row& row) const {
  if (row.full_alone) return 100;
  return Escalated(row) + 100 * absl::FDivDuration(cost_.trigger, cost_.full);
}

std::string CascadeReport::Table(const std::vector<Row>& rows) const {
  std::vector<std::string> titles = {"", "WHEN", "ESCALATED", "AGREES"};
  if (labelled_) titles.push_back("RIGHT");
  titles.push_back("COST");
  TextTable table(std::move(titles), 2);
  for (const Row& row : rows) {
    std::vector<std::string> cells = {row.chosen ? "->" : "", row.when, PercentText(Escalated(row)),
                                      PercentText(Agreement(row))};
    if (labelled_) cells.push_back(PercentText(Accuracy(row)));
    cells.push_back(absl::StrFormat("%.1f %%", Cost(row)));
    table.Add(std::move(cells));
  }
  return table.Print(kColumns);
}

std::string CascadeReport::CostOfModels() const {
  return absl::StrCat("CPU: trigger ", Microseconds(cost_.trigger), " a row, full model ", Microseconds(cost_.full),
                      cost_.batch == 0 ? ", as given" : absl::StrCat(", measured at ", cost_.batch, " rows a run"));
}

std::string CascadeReport::CostLine() const {
  return absl::StrCat(
      "COST: CPU per row beside the full model alone, without the portal call for each request of which "
      "a row goes on.\n",
      CostOfModels(), "\n");
}

std::string CascadeReport::Chosen(const Row& row) const {
  std::string text = absl::StrCat("chosen: ", row.when, "\n  escalates ", PercentText(Escalated(row)), " of ", rows_,
                                  " rows; agrees with the full model in ", PercentText(Agreement(row)), " (",
                                  ShareInterval(row.point.agreeing, rows_), " with 95 % certainty)");
  if (labelled_) {
    absl::StrAppend(&text, "; right in ", PercentText(Accuracy(row)), " (", ShareInterval(row.point.right, rows_), ")");
  }
  const int64_t kept = rows_ - row.point.escalated;
  absl::StrAppendFormat(
      &text,
      "\n  to be watched for: expected: {escalated: %.2f%%, agreement: %.2f%%}, the latter of rows "
      "that do not go on\n",
      Escalated(row),
      kept == 0 ? 100
                : 100 * static_cast<double>(row.point.agreeing - row.point.escalated) / static_cast<double>(kept));
  if (Cost(row) >= 100) {
    absl::StrAppendFormat(&text, "  costs %s the full model alone: %.1f %% of its CPU, and portal calls on top\n",
                          Cost(row) > 100 ? "more than" : "as much as", Cost(row));
  }
  return text;
}

std::string ShareInterval(int64_t hits, int64_t rows) {
  constexpr double kZ = 1.959964;
  const auto n = static_cast<double>(rows);
  const double p = static_cast<double>(hits) / n;
  const double middle = p + kZ * kZ / (2 * n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  const double scale = 1 + kZ * kZ / n;
  const auto percent = [&](double share) { return std::clamp(100 * share / scale, 0.0, 100.0); };
  return absl::StrFormat("%.2f to %.2f %%", percent(middle - half), percent(middle + half));
}

}  // namespace portico
