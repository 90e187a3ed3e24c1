// What a cascade costs beside its parts: requests per second of CPU at several shares of rows that escalate, against
// what the trigger, the full model and a portal call cost when each is measured alone at the same batch; and requests
// per second against the full model alone. Two nodes of one process over a Unix socket, each with one worker.
//
// Trigger and portal are measured twice: as many at once as in the cascade, and at the pace at which the cascade's
// requests came. Where a full model takes its time, each call finds both ends asleep, and waking them is part of what a
// call costs; where calls come as fast as they can, thirty of them share it. The aim is held against the second; the
// first stands beside it.

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "bench/scenarios.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 7;
constexpr int64_t kWidth = 256;
constexpr int kLayers = 6;
constexpr int kOutstanding = 32;
constexpr int64_t kMostUnderWay = 256;
constexpr absl::Duration kRound = absl::Milliseconds(300);

Tensor Weights(Shape shape) {
  std::vector<float> values(static_cast<size_t>(*NumElements(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) * 1e-3f;
  return Tensor::Of<float>(std::move(shape), absl::MakeConstSpan(values));
}

/// Six layers of 256, then two scores: 5 to 10 µs a row in batches.
ModelBuilder FullModel() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("out", Weights({kWidth, 2}));
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string weight = absl::StrCat("w", layer);
    model.Initializer(weight, Weights({kWidth, kWidth}));
    model.Node("MatMul", {layer == 0 ? "x" : absl::StrCat("h", layer), weight}, {absl::StrCat("p", layer)});
    model.Node("Relu", {absl::StrCat("p", layer)}, {absl::StrCat("h", layer + 1)});
  }
  model.Node("MatMul", {absl::StrCat("h", kLayers), "out"}, {"y"});
  return model;
}

/// Two scores by one product; rows whose first number is above 0 escalate.
ModelBuilder Trigger() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("cheap", DType::kFloat, {"N", 2});
  model.Output("escalate", DType::kBool, {"N"});
  model.Initializer("w", Weights({kWidth, 2})).Initializer("limit", {1}, {0});
  model.Initializer("first", Tensor::Of<int64_t>({}, {0}));
  model.Node("MatMul", {"x", "w"}, {"cheap"})
      .Node("Gather", {"x", "first"}, {"head"}, {Int("axis", 1)})
      .Node("Greater", {"head", "limit"}, {"escalate"});
  return model;
}

ModelBuilder Cascade() {
  ModelBuilder model = Trigger();
  model.graph().clear_output();
  model.ValueInfo("cheap", DType::kFloat, {"N", 2}).ValueInfo("escalate", DType::kBool, {"N"});
  model.Output("y", DType::kFloat, {"N", 2});
  model.Portal("Cascade", "full", {"escalate", "cheap", "x"}, {"y"}, {DType::kFloat}, {"N,2"},
               {Strings("input_names", {"x"}), Strings("output_names", {"y"})});
  return model;
}

/// Takes what the full model takes, answers what it answers, and computes nothing to speak of.
ModelBuilder Echo() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("columns", Tensor::Of<int64_t>({2}, {0, 1}));
  model.Node("Gather", {"x", "columns"}, {"y"}, {Int("axis", 1)});
  return model;
}

ModelBuilder Through() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", 2});
  model.Portal("Remote", "echo", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
  return model;
}

/// `rows` rows, of which the first `escalating` escalate.
Tensor Rows(int64_t rows, int64_t escalating) {
  Tensor x = Tensor::Allocate(DType::kFloat, {rows, kWidth});
  auto* values = reinterpret_cast<float*>(x.mutable_bytes());
  for (int64_t i = 0; i < rows * kWidth; ++i) values[i] = 0.5f;
  for (int64_t row = 0; row < rows; ++row) values[row * kWidth] = row < escalating ? 1.0f : -1.0f;
  return x;
}

std::unique_ptr<Node> StartNode(const std::string& name, const TempFolder& folder,
                                const std::vector<std::string>& models, const std::string& peer,
                                const std::vector<std::string>& targets) {
  Node::Options options;
  options.name = name;
  options.workers = 1;
  for (const std::string& model : models) options.models.push_back({model, folder.path() + "/" + model});
  if (targets.empty()) options.peer = peer;
  for (const std::string& target : targets) options.peers[target] = {peer};
  auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  return *std::move(node);
}

double CpuSeconds() {
  timespec time{};
  PORTICO_CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// Of one model under one kind of requests.
struct Cost {
  double cpu_s = 0;
  double seconds = 0;
};

/// What a request of `model` costs with `outstanding` of them always under way; the n-th is `inputs[n % size]`.
Cost Measure(Node& node, const std::string& model, const std::vector<Tensor>& inputs, int outstanding = kOutstanding) {
  Inference& inference = node.inference();
  const auto servable = inference.servables().Resolve({.name = model});
  PORTICO_CHECK(servable.ok());
  const Signature& signature = (*servable)->signatures()[0];
  std::atomic<int> under_way{0};
  std::atomic<int64_t> answered{0};
  size_t next = 0;
  const double cpu = CpuSeconds();
  const absl::Time start = absl::Now();
  while (absl::Now() - start < kRound) {
    for (int seen = under_way.load(); seen >= outstanding; seen = under_way.load()) under_way.wait(seen);
    while (under_way.load(std::memory_order_relaxed) < outstanding) {
      ++under_way;
      inference.Run(RequestApi::kPeer, *servable, signature, MakeRef<RequestContext>(),
                    {inputs[next++ % inputs.size()]}, [&, outstanding](absl::StatusOr<std::vector<Tensor>> outputs) {
                      PORTICO_CHECK(outputs.ok());
                      answered.fetch_add(1, std::memory_order_relaxed);
                      if (under_way.fetch_sub(1) == outstanding) under_way.notify_one();
                    });
    }
  }
  while (under_way.load() > 0) std::this_thread::yield();
  const auto requests = static_cast<double>(answered.load());
  return {(CpuSeconds() - cpu) / requests, absl::ToDoubleSeconds(absl::Now() - start) / requests};
}

/// The same where a request comes every `gap` seconds, whether or not others were answered; but no more than the node
/// takes, where others are slowing it down.
double MeasurePaced(Node& node, const std::string& model, const std::vector<Tensor>& inputs, double gap) {
  Inference& inference = node.inference();
  const auto servable = inference.servables().Resolve({.name = model});
  PORTICO_CHECK(servable.ok());
  const Signature& signature = (*servable)->signatures()[0];
  std::atomic<int64_t> answered{0};
  // Several to a turn where a sleep would be longer than the gap between two.
  const int64_t burst = std::max<int64_t>(1, static_cast<int64_t>(50e-6 / gap));
  const auto turns = static_cast<int64_t>(absl::ToDoubleSeconds(kRound) / gap / static_cast<double>(burst));
  timespec next{};
  PORTICO_CHECK(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
  const auto step = static_cast<int64_t>(gap * 1e9 * static_cast<double>(burst));
  const double cpu = CpuSeconds();
  for (int64_t turn = 0; turn < turns; ++turn) {
    next.tv_nsec += step;
    next.tv_sec += next.tv_nsec / 1'000'000'000;
    next.tv_nsec %= 1'000'000'000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
    for (int64_t i = turn * burst; i < (turn + 1) * burst; ++i) {
      while (i - answered.load(std::memory_order_relaxed) >= kMostUnderWay) std::this_thread::yield();
      inference.Run(RequestApi::kPeer, *servable, signature, MakeRef<RequestContext>(),
                    {inputs[static_cast<size_t>(i) % inputs.size()]}, [&](absl::StatusOr<std::vector<Tensor>> outputs) {
                      PORTICO_CHECK(outputs.ok());
                      answered.fetch_add(1);
                    });
    }
  }
  while (answered.load() < turns * burst) std::this_thread::yield();
  return (CpuSeconds() - cpu) / static_cast<double>(turns * burst);
}

ServableStats::Snapshot FullStats(Node& hub) {
  const auto servable = hub.inference().servables().Resolve({.name = "full"});
  PORTICO_CHECK(servable.ok());
  return (*servable)->stats().Read();
}

/// CPU seconds that one row of the full model takes in batches of so many, without what it costs to be a request.
double FullCost(Node& hub, double batch) {
  const std::vector<Tensor> rows = {Rows(std::max(static_cast<int64_t>(batch + 0.5), int64_t{1}), 0)};
  return (Measure(hub, "full", rows, 2).cpu_s - Measure(hub, "echo", rows, 2).cpu_s) /
         static_cast<double>(rows[0].shape()[0]);
}

/// Rows per request, and of each hundred how many escalate.
struct Case {
  const char* name;
  int64_t rows;
  int percent;

  bool one_row() const { return rows == 1; }
  /// Of requests.
  double share() const { return one_row() ? percent / 100.0 : percent > 0 ? 1 : 0; }
  int64_t escalating() const { return rows * percent / 100; }
  std::vector<Tensor> Requests() const {
    if (!one_row()) return {Rows(rows, escalating())};
    std::vector<Tensor> requests;
    for (int i = 0; i < 10; ++i) requests.push_back(Rows(1, i < percent / 10 ? 1 : 0));
    return requests;
  }
};

constexpr Case kCases[] = {{"40rows.escalate0", 40, 0},   {"40rows.escalate10", 40, 10},
                           {"40rows.escalate50", 40, 50}, {"40rows.escalate100", 40, 100},
                           {"1row.escalate0", 1, 0},      {"1row.escalate10", 1, 10},
                           {"1row.escalate50", 1, 50},    {"1row.escalate100", 1, 100}};

void RunCase(const Case& c, Node& front, Node& hub, Report& report) {
  std::vector<double> measured, predicted, ratios, at_once, rates, alone, rate_ratios, batches;
  const std::vector<Tensor> requests = c.Requests(), whole = {Rows(c.rows, 0)};
  const std::vector<Tensor> part = {Rows(c.one_row() ? 1 : c.escalating(), 0)};
  for (int round = -1; round < kRounds; ++round) {
    const ServableStats::Snapshot before = FullStats(hub);
    const Cost cascade = Measure(front, "cascade", requests);
    const ServableStats::Snapshot after = FullStats(hub);
    const Cost full_alone = Measure(hub, "full", whole);
    // A request's own cost is in the trigger's; what paces the requests is paid once.
    double cost = Measure(front, "trigger", whole).cpu_s;
    double paced = MeasurePaced(front, "trigger", whole, cascade.seconds);
    if (c.share() > 0) {
      // The full model's rows as many at once as it ran them for the cascade, the portal's calls as many at once as
      // escalate, or as often.
      const int outstanding = std::max(1, static_cast<int>(kOutstanding * c.share()));
      const double gap = cascade.seconds / c.share();
      const auto batch = static_cast<double>(after.rows - before.rows) / static_cast<double>(after.runs - before.runs);
      batches.push_back(batch);
      const double full = FullCost(hub, batch) * static_cast<double>(part[0].shape()[0]);
      cost += c.share() * (full + Measure(front, "through", part, outstanding).cpu_s -
                           Measure(hub, "echo", part, outstanding).cpu_s);
      paced += c.share() * (full + MeasurePaced(front, "through", part, gap) - MeasurePaced(hub, "echo", part, gap));
    }
    if (round < 0) continue;  // Connections are made, sizes learned.
    measured.push_back(1 / cascade.cpu_s);
    predicted.push_back(1 / paced);
    ratios.push_back(paced / cascade.cpu_s);
    at_once.push_back(cost / cascade.cpu_s);
    rates.push_back(1 / cascade.seconds);
    alone.push_back(1 / full_alone.seconds);
    rate_ratios.push_back(full_alone.seconds / cascade.seconds);
  }
  Figure cpu;
  cpu.name = absl::StrCat("cascade.", c.name, ".requests_per_cpu_s");
  cpu.unit = "requests/s";
  cpu.value = Median(measured);
  cpu.baseline = Median(predicted);
  cpu.ratio = Median(ratios);
  cpu.at_least = 0.85;
  std::printf("# %s: parts measured as many at once, not as often: %.2fx\n", c.name, Median(at_once));
  if (!batches.empty()) std::printf("# %s: the full model ran %.1f rows at once\n", c.name, Median(batches));
  report.Add(cpu);
  Figure rate;
  rate.name = absl::StrCat("cascade.", c.name, ".against_full");
  rate.unit = "requests/s";
  rate.value = Median(rates);
  rate.baseline = Median(alone);
  rate.ratio = Median(rate_ratios);
  report.Add(rate);
}

void Run(Report& report) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, const ModelBuilder& model) {
    model.WriteTo(folder.File(name + "/1/model.onnx"));
  };
  write("full", FullModel());
  write("echo", Echo());
  write("trigger", Trigger());
  write("cascade", Cascade());
  write("through", Through());
  const std::string peer = "unix://" + folder.path() + "/hub";
  const auto hub = StartNode("hub", folder, {"full", "echo"}, peer, {});
  const auto front = StartNode("front", folder, {"trigger", "cascade", "through"}, peer, {"full", "echo"});
  for (const Case& c : kCases) RunCase(c, *front, *hub, report);
}

}  // namespace

std::vector<Scenario> CascadeScenarios() {
  return {{"cascade", "a cascade at several shares of rows that escalate, against the sum of its parts", Run}};
}

}  // namespace portico::bench
