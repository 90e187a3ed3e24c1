#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bench/h2load.h"
#include "bench/report.h"

namespace portico::bench {

/// A request over REST that a served model of y[N,4] = x + {1, 2, 3, 4}, named `tiny`, answers.
struct RestRequest {
  /// "predict.rest": of the figures.
  std::string name;
  std::string path;
  std::string body;
  /// Beside the content type.
  std::vector<std::pair<std::string, std::string>> headers;
};

/// The request to a node beside the same to a plain Beast server that answers a constant of the same bytes, each in a
/// process of its own, driven by h2load with `load`. Figures NAME.IN_FLIGHT.calls_per_s (aim: 0.75 of the plain one)
/// and NAME.IN_FLIGHT.added_cpu_us.
void RunRest(const RestRequest& request, const H2load& load, Report& report);

}  // namespace portico::bench
