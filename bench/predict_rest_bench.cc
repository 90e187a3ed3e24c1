// Predict over REST beside a plain Boost.Beast server that answers a constant of the same bytes. The served model is
// tiny, so that what is measured is the frontend.

#include "bench/rest_bench.h"
#include "bench/scenarios.h"

namespace portico::bench {
namespace {

void Run(Report& report) {
  if (!H2load::Found("predict.rest")) return;
  RestRequest request;
  request.name = "predict.rest";
  request.path = "/v1/models/tiny:predict";
  request.body = R"({"instances": [[1.0, 2.0, 3.0, 4.0]]})";
  for (const H2load& load : {H2load{64, 64}, H2load{1, 1}}) RunRest(request, load, report);
}

}  // namespace

std::vector<Scenario> PredictRestScenarios() {
  return {{"predict.rest", "REST predict of a tiny model against a plain Beast server, driven by h2load", Run}};
}

}  // namespace portico::bench
