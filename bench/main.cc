#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "bench/scenarios.h"

namespace {

constexpr char kUsage[] =
    "usage: portico_bench [--list] [NAME] [--json FILE]\n\n"
    "  Runs the scenarios whose name begins with NAME (default: all), each beside its raw baseline, and prints a "
    "table.\n"
    "  An aim that is missed is printed as MISSED.\n\n"
    "example:\n  portico_bench portal.zmq --json figures.json\n";

}  // namespace

int main(int argc, char** argv) {
  using portico::bench::Scenario;
  std::string prefix;
  std::string json;
  bool list = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--help") == 0) return std::fputs(kUsage, stdout), 0;
    if (std::strcmp(argv[i], "--list") == 0)
      list = true;
    else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc)
      json = argv[++i];
    else if (argv[i][0] != '-' && prefix.empty())
      prefix = argv[i];
    else
      return std::fputs(kUsage, stderr), 2;
  }
  std::vector<Scenario> scenarios;
  for (auto* make :
       {portico::bench::PortalScenarios, portico::bench::HedgeScenarios, portico::bench::PredictGrpcScenarios,
        portico::bench::InferGrpcScenarios, portico::bench::ExecutorScenarios, portico::bench::IsolationScenarios,
        portico::bench::BatchScenarios, portico::bench::CascadeScenarios, portico::bench::ExpertsScenarios,
        portico::bench::HubScenarios, portico::bench::HubFloodScenarios, portico::bench::JsonScenarios,
        portico::bench::PredictRestScenarios, portico::bench::InferRestScenarios, portico::bench::EmbeddingScenarios,
        portico::bench::EmbeddingHotPagesScenarios, portico::bench::EmbeddingWireScenarios,
        portico::bench::EmbeddingFirstAnswerScenarios, portico::bench::ResultCacheScenarios}) {
    for (Scenario& scenario : make()) {
      if (scenario.name.starts_with(prefix)) scenarios.push_back(std::move(scenario));
    }
  }
  if (scenarios.empty()) {
    std::fprintf(stderr, "bench: got NAME '%s', want the beginning of a scenario's name; --list shows them\n",
                 prefix.c_str());
    return 2;
  }
  portico::bench::Report report;
  for (const Scenario& scenario : scenarios) {
    std::printf("%s%-20s %s\n", list ? "" : "# ", scenario.name.c_str(), scenario.what.c_str());
    if (!list) scenario.run(report);
  }
  if (json.empty()) return 0;
  const absl::Status written = portico::WriteFileAtomically(json, report.Json());
  if (!written.ok()) std::fprintf(stderr, "bench: %s\n", std::string(written.message()).c_str());
  return written.ok() ? 0 : 1;
}
