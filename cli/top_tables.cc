#include "cli/top_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/metric_window.h"
#include "cli/text_table.h"

namespace portico {
namespace {

using Key = MetricWindow::Key;

const double kUnknown = std::numeric_limits<double>::quiet_NaN();

bool Failed(const SeriesLabels& labels) { return LabelOf(labels, "code") != "OK"; }

/// What one line tells, in figures.
struct Figures {
  double calls = 0;
  double errors = 0;
  double p50 = kUnknown;
  double p99 = kUnknown;
};

struct ModelLine {
  std::string model, version, node;
  Figures figures;
  double inside = 0;
  double queue_p99 = kUnknown;
  double rows_per_run = kUnknown;
  double fill = kUnknown;
};

struct ReplicaLine {
  std::string replica, state;
  Figures figures;
  double in_flight = 0;
  double ejections = 0;
};

struct PortalLine {
  std::string node, target;
  Figures figures;
  double in_flight = 0;
  double retries = 0;
  double hedges = 0;
  double ejections = 0;
  /// What its cascades have to say: "drifted: escalated", "brown-out 25 %".
  std::string cascade;
  std::vector<ReplicaLine> replicas;
};

template <typename Value>
Value At(const std::map<Key, Value>& values, const Key& key, Value otherwise = {}) {
  const auto found = values.find(key);
  return found == values.end() ? otherwise : found->second;
}

void AddLatency(const HistogramCounts& observed, Figures* figures) {
  figures->p50 = QuantileOf(observed, 0.5);
  figures->p99 = QuantileOf(observed, 0.99);
}

/// Larger first, names where equal. NaN counts as nothing.
template <typename Line>
void Sort(std::vector<Line>& lines, TopOrder order) {
  const auto rank = [order](const Figures& figures) {
    const double value = order == TopOrder::kName     ? 0
                         : order == TopOrder::kErrors ? figures.errors
                         : order == TopOrder::kP99    ? figures.p99
                                                      : figures.calls;
    return std::isnan(value) ? -1 : value;
  };
  std::stable_sort(lines.begin(), lines.end(),
                   [&](const Line& a, const Line& b) { return rank(a.figures) > rank(b.figures); });
}

/// One node's lines.
class NodeLines {
 public:
  NodeLines(const NodeReading& before, const NodeReading& now)
      : node_(now.node),
        window_(*before.metrics, *now.metrics),
        seconds_(std::max(absl::ToDoubleSeconds(now.at - before.at), 1e-3)) {}

  double Rate(const std::map<Key, double>& counted, const Key& key) const { return At(counted, key) / seconds_; }

  /// Of the whole node: requests that clients sent and portals of others.
  Figures Node(double* inside, double* refused) const {
    Figures figures;
    figures.calls = Rate(window_.Counted("portico_requests_total", {}), {});
    figures.errors = Rate(window_.Counted("portico_requests_total", {}, Failed), {});
    AddLatency(At(window_.Observed("portico_request_latency_seconds", {}), {}), &figures);
    *inside = At(window_.Gauged("portico_requests_in_flight", {}), {});
    *refused = Rate(window_.Counted("portico_requests_refused_total", {}), {});
    return figures;
  }

  void AddModels(std::vector<ModelLine>* lines) const {
    const std::vector<std::string> by = {"model", "version"};
    const auto calls = window_.Counted("portico_requests_total", by);
    const auto errors = window_.Counted("portico_requests_total", by, Failed);
    const auto latency = window_.Observed("portico_request_latency_seconds", by);
    const auto inside = window_.Gauged("portico_requests_inside", by);
    const auto queued = window_.Observed("portico_batch_queue_seconds", by);
    const auto fills = Fills();
    // Loaded models have this one from the start.
    for (const auto& [key, value] : inside) {
      ModelLine line;
      line.model = key[0];
      line.version = key[1];
      line.node = node_;
      line.figures.calls = Rate(calls, key);
      line.figures.errors = Rate(errors, key);
      AddLatency(At(latency, key), &line.figures);
      line.inside = value;
      line.queue_p99 = QuantileOf(At(queued, key), 0.99);
      const Fill fill = At(fills, key);
      if (fill.runs > 0) line.rows_per_run = fill.rows / fill.runs;
      if (fill.room > 0) line.fill = fill.rows / fill.room;
      lines->push_back(std::move(line));
    }
  }

  void AddPortals(std::vector<PortalLine>* lines) const {
    const std::vector<std::string> by = {"target"};
    const auto calls = window_.Counted("portico_portal_calls_total", by);
    const auto errors = window_.Counted("portico_portal_calls_total", by, Failed);
    const auto latency = window_.Observed("portico_portal_latency_seconds", by);
    const auto retries = window_.Counted("portico_portal_retries_total", by);
    const auto hedges = window_.Counted("portico_portal_hedges_total", by);
    const auto ejections = window_.Gauged("portico_portal_ejections_total", by);
    const bool all_told = At(window_.Gauged("portico_replicas_untold", {}), {}) == 0;
    for (const auto& [key, in_flight] : window_.Gauged("portico_portal_calls_in_flight", by)) {
      PortalLine line;
      line.node = node_;
      line.target = key[0];
      line.figures.calls = Rate(calls, key);
      line.figures.errors = Rate(errors, key);
      AddLatency(At(latency, key), &line.figures);
      line.in_flight = in_flight;
      line.retries = Rate(retries, key);
      line.hedges = Rate(hedges, key);
      line.ejections = At(ejections, key);
      line.cascade = CascadeState(line.target);
      AddReplicas(line.target, &line.replicas);
      // What a revision that is gone called: its figures stay as long as the node does.
      const bool gone = all_told && line.replicas.empty() && line.in_flight == 0 && !(line.figures.calls > 0);
      if (!gone) lines->push_back(std::move(line));
    }
  }

 private:
  struct Fill {
    double rows = 0;
    double runs = 0;
    /// Rows that these runs could have held.
    double room = 0;
  };

  /// By model and version.
  std::map<Key, Fill> Fills() const {
    const std::vector<std::string> by = {"model", "version", "signature", "segment"};
    const auto limits = window_.Gauged("portico_batch_limit_rows", by);
    std::map<Key, Fill> fills;
    for (const auto& [key, rows] : window_.Observed("portico_batch_rows", by)) {
      Fill& fill = fills[{key[0], key[1]}];
      fill.rows += rows.sum;
      fill.runs += rows.count();
      fill.room += rows.count() * At(limits, key);
    }
    return fills;
  }

  /// Of the cascades in front of `target`; empty where all is as it should be.
  std::string CascadeState(const std::string& target) const {
    std::string state;
    for (const auto& [key, drifted] : window_.Gauged("portico_cascade_drifted", {"target", "what"})) {
      if (key[0] == target && drifted > 0) absl::StrAppend(&state, ", drifted: ", key[1]);
    }
    for (const auto& [key, share] : window_.Gauged("portico_cascade_brown_out_share", {"target", "portal"})) {
      if (key[0] == target && share > 0) absl::StrAppendFormat(&state, ", brown-out %.0f %%", 100 * share);
    }
    return state;
  }

  void AddReplicas(const std::string& target, std::vector<ReplicaLine>* lines) const {
    const std::vector<std::string> by = {"target", "digest", "endpoint"};
    const auto latency = window_.Observed("portico_replica_latency_seconds", by);
    const auto failures = window_.Counted("portico_replica_failures_total", by);
    const auto in_flight = window_.Gauged("portico_replica_calls_in_flight", by);
    const auto ejections = window_.Gauged("portico_replica_ejections_total", by);
    const auto ejected = window_.Gauged("portico_replica_ejected_seconds", by);
    for (const auto& [labels, value] :
         window_.Gauged("portico_replica_state", {"target", "digest", "endpoint", "node", "state"})) {
      if (labels[0] != target) continue;
      const Key key(labels.begin(), labels.begin() + 3);
      ReplicaLine line;
      line.replica = labels[3].empty() ? labels[2] : labels[3];
      line.state = labels[4];
      if (line.state == "ejected") absl::StrAppendFormat(&line.state, " %.0f s", std::ceil(At(ejected, key)));
      const HistogramCounts answers = At(latency, key);
      line.figures.calls = answers.count() / seconds_;
      line.figures.errors = Rate(failures, key);
      AddLatency(answers, &line.figures);
      line.in_flight = At(in_flight, key);
      line.ejections = At(ejections, key);
      lines->push_back(std::move(line));
    }
  }

  const std::string node_;
  const MetricWindow window_;
  const double seconds_;
};

std::string CountText(double count) { return absl::StrFormat("%.0f", count); }

void AddPortalRows(const PortalLine& portal, TextTable& table) {
  const auto add = [&](std::string from, std::string what, std::string state, const Figures& figures, double in_flight,
                       std::string retries, std::string hedges, double ejections) {
    table.Add({std::move(from), std::move(what), std::move(state), RateText(figures.calls), RateText(figures.errors),
               TimeText(figures.p50), TimeText(figures.p99), CountText(in_flight), std::move(retries),
               std::move(hedges), CountText(ejections)});
  };
  add(portal.node, portal.target,
      absl::StrCat(portal.replicas.size(), portal.replicas.size() == 1 ? " replica" : " replicas", portal.cascade),
      portal.figures, portal.in_flight, RateText(portal.retries), RateText(portal.hedges), portal.ejections);
  for (const ReplicaLine& replica : portal.replicas) {
    add("", absl::StrCat("  ", replica.replica), replica.state, replica.figures, replica.in_flight, "", "",
        replica.ejections);
  }
}

}  // namespace

std::string RateText(double per_second) {
  if (std::isnan(per_second)) return "";
  return per_second == 0 || per_second >= 99.5 ? absl::StrFormat("%.0f", per_second)
                                               : absl::StrFormat("%.1f", per_second);
}

std::string TimeText(double seconds) {
  if (std::isnan(seconds)) return "";
  if (seconds < 1e-3) return absl::StrFormat("%.0f µs", seconds * 1e6);
  if (seconds < 0.1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 1) return absl::StrFormat("%.0f ms", seconds * 1e3);
  return absl::StrFormat("%.1f s", seconds);
}

std::string TopTables(const std::vector<NodeReading>& before, const std::vector<NodeReading>& now, TopOrder order,
                      size_t columns) {
  TextTable nodes({"NODE", "STATE", "CALLS/S", "ERRORS/S", "P50", "P99", "INSIDE", "REFUSED/S"}, 2);
  std::vector<ModelLine> models;
  std::vector<PortalLine> portals;
  for (const NodeReading& reading : now) {
    const auto old =
        std::find_if(before.begin(), before.end(), [&](const NodeReading& b) { return b.node == reading.node; });
    if (reading.metrics == nullptr || old == before.end() || old->metrics == nullptr) {
      const std::string state =
          reading.metrics == nullptr ? absl::StrCat("away: ", reading.status.message()) : reading.state;
      nodes.Add({reading.node, state, "", "", "", "", "", ""});
      continue;
    }
    const NodeLines lines(*old, reading);
    double inside = 0, refused = 0;
    const Figures figures = lines.Node(&inside, &refused);
    nodes.Add({reading.node, reading.state, RateText(figures.calls), RateText(figures.errors), TimeText(figures.p50),
               TimeText(figures.p99), CountText(inside), RateText(refused)});
    lines.AddModels(&models);
    lines.AddPortals(&portals);
  }
  std::string text = nodes.Print(columns);
  if (!models.empty()) {
    Sort(models, order);
    TextTable table(
        {"MODEL", "VERSION", "NODE", "CALLS/S", "ERRORS/S", "P50", "P99", "QUEUE P99", "INSIDE", "ROWS/RUN", "FILL"},
        3);
    for (const ModelLine& line : models) {
      table.Add({line.model, line.version, line.node, RateText(line.figures.calls), RateText(line.figures.errors),
                 TimeText(line.figures.p50), TimeText(line.figures.p99), TimeText(line.queue_p99),
                 CountText(line.inside), RateText(line.rows_per_run),
                 std::isnan(line.fill) ? "" : absl::StrFormat("%.0f %%", 100 * line.fill)});
    }
    absl::StrAppend(&text, "\n", table.Print(columns));
  }
  if (!portals.empty()) {
    Sort(portals, order);
    TextTable table({"FROM", "TARGET", "STATE", "CALLS/S", "ERRORS/S", "P50", "P99", "IN FLIGHT", "RETRIES/S",
                     "HEDGES/S", "EJECTIONS"},
                    3);
    for (const PortalLine& line : portals) AddPortalRows(line, table);
    absl::StrAppend(&text, "\n", table.Print(columns));
  }
  return text;
}

}  // namespace portico
