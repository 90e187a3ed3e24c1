#include "cli/cascade_plot.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/svg_plot.h"
#include "models/calibrate/frontier.h"

namespace portico {
namespace {

using Row = CascadeReport::Row;

/// Of a line; more are not seen.
constexpr size_t kMaxPoints = 200;

}  // namespace

std::string PlotSweeps(const ConditionSweeps& sweeps, const CascadeReport& report, const std::string& cascade,
                       std::optional<size_t> chosen) {
  SvgPlot plot;
  plot.title = absl::StrCat("Cascade '", cascade, "': what agreement costs");
  plot.subtitle = absl::StrCat(sweeps.rows(), " rows, the best that each condition can do");
  plot.x_label = "rows escalated, %";
  plot.y_label = "agreement with the full model, %";
  const auto at = [&](const SweepPoint& point) {
    const Row row{.point = point};
    return std::make_pair(report.Escalated(row), report.Agreement(row));
  };
  for (size_t i = 0; i < sweeps.conditions(); ++i) {
    const auto points = sweeps.PointsOf(i);
    const std::vector<size_t> frontier = Frontier(points);
    const TunableCondition& condition = sweeps.condition(i);
    SvgPlot::Line line{.name = condition.With(std::vector<std::string>(condition.thresholds.size(), "…"))};
    const size_t count = std::min(frontier.size(), kMaxPoints);
    for (size_t k = 0; k < count; ++k) {
      line.points.push_back(at(points[frontier[k * (frontier.size() - 1) / std::max<size_t>(count - 1, 1)]]));
    }
    plot.lines.push_back(std::move(line));
  }
  for (Row row : {CascadeReport::TriggerAlone(sweeps.outcomes()), CascadeReport::FullAlone(sweeps.outcomes())}) {
    const auto [x, y] = at(row.point);
    plot.marks.push_back({x, y, row.when});
  }
  if (chosen) {
    const auto [x, y] = at(sweeps.points()[*chosen]);
    plot.marks.push_back({x, y, sweeps.When(*chosen), true});
  }
  return plot.Print();
}

std::string PlotSettings(const std::vector<Row>& rows, const CascadeReport& report, bool labelled,
                         const std::string& cascade) {
  SvgPlot plot;
  plot.title = absl::StrCat("Cascade '", cascade, "': ", labelled ? "accuracy" : "agreement", " and cost");
  plot.subtitle = absl::StrCat(rows.back().point.escalated, " rows; ", report.CostOfModels());
  plot.x_label = "CPU per row beside the full model alone, %";
  plot.y_label = labelled ? "right answers, %" : "agreement with the full model, %";
  for (const Row& row : rows) {
    plot.marks.push_back({report.Cost(row), labelled ? report.Accuracy(row) : report.Agreement(row), row.when});
  }
  return plot.Print();
}

}  // namespace portico
