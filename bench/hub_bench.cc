// One encoder (100 MB of weights) behind a hub and several products with a small head each, every one a process, beside
// as many monoliths: each product a process of its own that has encoder and head in one model. 64 clients in all, over
// gRPC, one row a request.
//
// hub.N.memory        resident bytes (PSS) of hub and product processes, after the load; baseline: one process with the
//                     encoder and N with a head alone, loaded likewise: what N products need at least that are
//                     processes
// hub.N.saved         the same beside the monoliths
// hub.N.requests      answers a second with 64 requests always under way, beside the monoliths
// hub.N.batch         rows of a run of the encoder meanwhile, beside the monoliths
// hub.N.p99           from the intended time of sending, at 0.7 of what the slower side answers a second, both alike

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "bench/hub_mesh.h"
#include "bench/scenarios.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kClients = 64;
constexpr int kRounds = 3;
constexpr absl::Duration kRound = absl::Seconds(3);
constexpr absl::Duration kOpenRound = absl::Seconds(5);

std::vector<size_t> Numbers(size_t first, size_t count) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < count; ++i) numbers.push_back(first + i);
  return numbers;
}

/// Answers a second with kClients requests always under way.
double Closed(HubClients& clients) {
  HubLoad load(clients, kClients);
  absl::SleepFor(kRound);
  return static_cast<double>(load.Stop()) / absl::ToDoubleSeconds(kRound);
}

/// What one side did in all rounds.
struct Side {
  Side(const HubMesh& mesh, std::vector<size_t> entries, std::vector<size_t> encoders)
      : mesh(mesh), encoders(std::move(encoders)), clients(mesh, entries) {}

  void ClosedRound(bool counts) {
    const auto before = mesh.Runs(encoders);
    const double rate = Closed(clients);
    const auto after = mesh.Runs(encoders);
    if (!counts) return;
    rates.push_back(rate);
    batches.push_back((after.first - before.first) / (after.second - before.second));
  }

  const HubMesh& mesh;
  /// The nodes that run the encoder.
  const std::vector<size_t> encoders;
  HubClients clients;
  std::vector<double> rates, batches, p99s;
};

void CheckEqual(Side& a, Side& b) {
  for (size_t client = 0; client < a.clients.size(); ++client) {
    const std::vector<float> ours = a.clients.Ask(client), theirs = b.clients.Ask(client);
    PORTICO_CHECK(ours.size() == kHubClasses && theirs.size() == kHubClasses);
    for (size_t i = 0; i < ours.size(); ++i) PORTICO_CHECK(std::abs(ours[i] - theirs[i]) < 1e-4f);
  }
}

void Run(size_t products, Report& report) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, const ModelBuilder& model) {
    model.WriteTo(folder.File(name + "/1/model.onnx"));
  };
  write("encoder", HubEncoder());
  write("head", HubHeadAlone());
  std::vector<HubMesh::Node> split = {{"hub", "encoder"}}, whole;
  for (size_t i = 0; i < products; ++i) {
    split.push_back({absl::StrCat("p", i), absl::StrCat("product", i)});
    whole.push_back({absl::StrCat("m", i), absl::StrCat("monolith", i)});
    write(split.back().model, HubProduct(i));
    write(whole.back().model, HubMonolith(i));
  }
  const HubMesh hub_mesh(folder.path(), "split", split), monoliths(folder.path(), "whole", whole);
  Side hub(hub_mesh, Numbers(1, products), {0}), apart(monoliths, Numbers(0, products), Numbers(0, products));
  CheckEqual(hub, apart);
  for (int round = -1; round < kRounds; ++round) {
    hub.ClosedRound(round >= 0);
    apart.ClosedRound(round >= 0);
  }
  const double offered = 0.7 * std::min(Median(hub.rates), Median(apart.rates));
  for (int round = 0; round < kRounds; ++round) {
    hub.p99s.push_back(hub.clients.OpenP99(offered, kOpenRound, static_cast<uint64_t>(round)));
    apart.p99s.push_back(apart.clients.OpenP99(offered, kOpenRound, static_cast<uint64_t>(round)));
  }
  // What the same processes need without portals.
  double parts = 0;
  {
    const HubMesh alone(folder.path(), "parts", {{"encoder", "encoder"}, {"head", "head"}});
    HubClients encoder(alone, {0}), head(alone, {1});
    Closed(encoder);
    Closed(head);
    parts = alone.ResidentBytes(0) + static_cast<double>(products) * alone.ResidentBytes(1);
  }
  const double hub_bytes = hub_mesh.ResidentBytes(), whole_bytes = monoliths.ResidentBytes();
  std::printf(
      "# hub.%zu: the hub's process has %.0f MB, a product's %.0f MB, a monolith %.0f MB; p99 at %.0f requests/s\n",
      products, hub_mesh.ResidentBytes(0) / 1e6, hub_mesh.ResidentBytes(1) / 1e6, monoliths.ResidentBytes(0) / 1e6,
      offered);
  const auto add = [&](const char* name, const char* unit, double value, double baseline, double at_most,
                       double at_least) {
    Figure figure;
    figure.name = absl::StrCat("hub.", products, ".", name);
    figure.unit = unit;
    figure.value = value;
    figure.baseline = baseline;
    figure.at_most = at_most;
    figure.at_least = at_least;
    report.Add(figure);
  };
  add("memory", "MB", hub_bytes / 1e6, parts / 1e6, 1.1, 0);
  add("saved", "MB", hub_bytes / 1e6, whole_bytes / 1e6, 0, 0);
  add("requests", "requests/s", Median(hub.rates), Median(apart.rates), 0, 1);
  add("batch", "rows", Median(hub.batches), Median(apart.batches), 0, 1);
  add("p99", "ms", Median(hub.p99s), Median(apart.p99s), 1, 0);
}

}  // namespace

std::vector<Scenario> HubScenarios() {
  std::vector<Scenario> scenarios;
  for (const size_t products : {2, 4, 8}) {
    scenarios.push_back({absl::StrCat("hub.", products),
                         absl::StrCat("an encoder of 100 MB behind ", products, " products, beside as many monoliths"),
                         [products](Report& report) { Run(products, report); }});
  }
  return scenarios;
}

}  // namespace portico::bench
