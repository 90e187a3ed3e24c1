#pragma once

#include <functional>
#include <string>
#include <vector>

namespace portico::bench {

/// One measured number beside the baseline of the same run.
struct Figure {
  /// "portal.zmq.64B.1.p50_us"
  std::string name;
  double value = 0;
  std::string unit;
  /// What it is compared with, in the same unit; 0: nothing.
  double baseline = 0;
  /// value / baseline; 0 where there is no baseline.
  double ratio = 0;
  /// What the ratio (or the value, where there is no baseline) should be: at most (positive) or at least; both 0: no
  /// aim.
  double at_most = 0;
  double at_least = 0;
  /// Whether the aim is on the ratio or on the value.
  bool aim_on_ratio = true;

  bool met() const {
    const double judged = aim_on_ratio ? ratio : value;
    return (at_most == 0 || judged <= at_most) && (at_least == 0 || judged >= at_least);
  }
};

/// Collects the figures of a run; prints each as it comes.
class Report {
 public:
  void Add(Figure figure);
  const std::vector<Figure>& figures() const { return figures_; }
  /// One JSON object per figure and line: name, value, unit, baseline, ratio, aim, met.
  std::string Json() const;

 private:
  std::vector<Figure> figures_;
};

/// A named end-to-end scenario. Runs for seconds, measures itself and its baseline in interleaved rounds.
struct Scenario {
  /// "portal.zmq": its figures' names begin with it; NAME= selects by prefix.
  std::string name;
  std::string what;
  std::function<void(Report&)> run;
};

/// Median of `values`. REQUIRES: not empty.
double Median(std::vector<double> values);

}  // namespace portico::bench
