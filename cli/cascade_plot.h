#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cli/cascade_report.h"
#include "models/calibrate/condition_sweeps.h"

namespace portico {

/// The frontier of each condition, share of rows escalated against agreement, as an SVG, with the chosen point and the
/// models alone.
std::string PlotSweeps(const ConditionSweeps& sweeps, const CascadeReport& report, const std::string& cascade,
                       std::optional<size_t> chosen);

/// Settings of one cascade and the models alone, cost against accuracy, or agreement where there are no labels.
std::string PlotSettings(const std::vector<CascadeReport::Row>& rows, const CascadeReport& report, bool labelled,
                         const std::string& cascade);

}  // namespace portico
