// What one product feels of another that floods the hub module of both, each a process: an encoder of 100 MB, a product
// with 1024 requests always under way, and one that asks now and then.
//
// hub.flood.p99       of the quiet product beside the flood; baseline: without it
// hub.flood.fifo      the same; baseline: as much of it sent as requests of the product that floods, which wait in one
//                     line with those, as all would without shares

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/hub_mesh.h"
#include "bench/scenarios.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 3;
constexpr int kFlood = 1024;
constexpr absl::Duration kRound = absl::Seconds(5);
/// Time for the flood to fill the queue.
constexpr absl::Duration kFill = absl::Seconds(1);
constexpr double kQuietPerSecond = 50;

void Run(Report& report) {
  const TempFolder folder;
  HubEncoder().WriteTo(folder.File("encoder/1/model.onnx"));
  HubProduct(0).WriteTo(folder.File("flood/1/model.onnx"));
  HubProduct(1).WriteTo(folder.File("quiet/1/model.onnx"));
  const HubMesh mesh(folder.path(), "flooded", {{"hub", "encoder"}, {"one", "flood"}, {"two", "quiet"}});
  HubClients flood(mesh, {1}), quiet(mesh, {2});
  flood.Ask(0);
  quiet.Ask(0);
  std::vector<double> alone, beside, in_line, flooded;
  for (int round = 0; round < kRounds; ++round) {
    const auto seed = static_cast<uint64_t>(round);
    alone.push_back(quiet.OpenP99(kQuietPerSecond, kRound, seed));
    const absl::Time start = absl::Now();
    HubLoad load(flood, kFlood);
    absl::SleepFor(kFill);
    beside.push_back(quiet.OpenP99(kQuietPerSecond, kRound, seed));
    in_line.push_back(flood.OpenP99(kQuietPerSecond, kRound, seed));
    const absl::Duration lasted = absl::Now() - start;
    flooded.push_back(static_cast<double>(load.Stop()) / absl::ToDoubleSeconds(lasted));
  }
  std::printf("# hub.flood: %d requests under way, %.0f answered a second; quiet: %.0f a second\n", kFlood,
              Median(flooded), kQuietPerSecond);
  const auto add = [&](const char* name, double baseline, double at_most) {
    Figure figure;
    figure.name = absl::StrCat("hub.flood.", name);
    figure.unit = "ms";
    figure.value = Median(beside);
    figure.baseline = baseline;
    figure.at_most = at_most;
    report.Add(figure);
  };
  add("p99", Median(alone), 0);
  add("fifo", Median(in_line), 0.5);
}

}  // namespace

std::vector<Scenario> HubFloodScenarios() {
  return {{"hub.flood", "p99 of a quiet product while another floods the module of both", Run}};
}

}  // namespace portico::bench
