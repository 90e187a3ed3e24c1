// What model A's callers feel of model B on the same node, in process: while B (1 GB) loads, and while B, capped to one
// worker, is offered ten times what it can do. A gets an open loop of one-row requests at a fifth of its capacity.

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "bench/load_generator.h"
#include "bench/scenarios.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 5;

/// y[N,width] = x · w · w · …: `layers` products.
void WriteLayers(const std::string& path, int64_t width, int layers) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", width}).Output("y", DType::kFloat, {"N", width});
  for (int i = 0; i < layers; ++i) {
    // No two alike: tied weights would be stored once.
    const std::vector<float> values(static_cast<size_t>(width * width), 1e-4f * static_cast<float>(i + 1));
    model.Initializer(absl::StrCat("w", i), Tensor::Of<float>({width, width}, values));
    model.Node("MatMul", {i == 0 ? "x" : absl::StrCat("h", i), absl::StrCat("w", i)},
               {i + 1 == layers ? "y" : absl::StrCat("h", i + 1)});
  }
  model.WriteTo(path);
}

/// One-row requests for a model of `node`.
class Caller {
 public:
  Caller(Node& node, const std::string& model, int64_t width) : inference_(node.inference()) {
    auto servable = inference_.servables().Resolve({.name = model});
    PORTICO_CHECK(servable.ok());
    servable_ = *std::move(servable);
    const std::vector<float> row(static_cast<size_t>(width), 0.5f);
    row_ = Tensor::Of<float>({1, width}, row);
  }

  void Send(absl::AnyInvocable<void(const absl::Status&)> done) const {
    inference_.Run(
        RequestApi::kPeer, servable_, servable_->signatures()[0], MakeRef<RequestContext>(), {row_},
        [done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable { done(outputs.status()); });
  }

  /// Answers a second with 64 requests always under way.
  double Capacity() const {
    std::atomic<int64_t> answered{0};
    std::atomic<int> under_way{0};
    const absl::Time until = absl::Now() + absl::Milliseconds(500);
    while (absl::Now() < until) {
      if (under_way.load() >= 64) {
        std::this_thread::yield();
        continue;
      }
      ++under_way;
      Send([&](const absl::Status& status) {
        PORTICO_CHECK(status.ok());
        ++answered;
        --under_way;
      });
    }
    while (under_way.load() > 0) std::this_thread::yield();
    return static_cast<double>(answered.load()) * 2;
  }

 private:
  Inference& inference_;
  std::shared_ptr<const Servable> servable_;
  Tensor row_;
};

double P99Micros(const LoadResult& result) {
  PORTICO_CHECK(result.failed == 0);
  return absl::ToDoubleMicroseconds(result.latency.Percentile(0.99));
}

void AddFigures(Report& report, const std::string& name, const std::vector<double>& beside,
                const std::vector<double>& alone) {
  Figure figure;
  figure.name = name;
  figure.value = Median(beside);
  figure.unit = "us";
  figure.baseline = Median(alone);
  figure.at_most = 1.5;
  report.Add(figure);
}

constexpr int64_t kWidth = 256;

std::unique_ptr<Node> StartNode(const TempFolder& folder, const std::vector<std::string>& models) {
  Node::Options options;
  for (const std::string& model : models) options.models.push_back({model, folder.Folder(model)});
  auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  return *std::move(node);
}

void RunLoad(Report& report) {
  const TempFolder folder;
  WriteLayers(folder.File("a/1/model.onnx"), kWidth, 8);
  WriteLayers(folder.File("b/1/model.onnx"), 4096, 16);  // 16 × 64 MiB
  sync();                                                // The kernel would write them back while we measure.
  const auto node = StartNode(folder, {"a"});
  const Caller a(*node, "a", kWidth);
  OpenLoad load;
  load.calls_per_second = 0.2 * a.Capacity();
  std::vector<double> alone, beside;
  for (int round = 0; round < kRounds; ++round) {
    load.seed = static_cast<uint64_t>(round) + 1;
    load.duration = absl::Seconds(2);
    LoadResult quiet;
    GenerateLoad(
        load, [&](auto done) { a.Send(std::move(done)); }, &quiet);
    alone.push_back(P99Micros(quiet));

    std::atomic<bool> loaded{false};
    Servables& servables = node->inference().servables();
    PORTICO_CHECK(servables.Configure({{"a", folder.Folder("a")}, {"b", folder.Folder("b")}}).ok());
    servables.WhenSettled("b", Deadline(), [&](const absl::Status& status) {
      PORTICO_CHECK(status.ok());
      loaded = true;
    });
    load.duration = absl::Minutes(2);
    LoadResult busy;
    const absl::Time start = absl::Now();
    GenerateLoad(
        load, [&](auto done) { a.Send(std::move(done)); }, [&] { return loaded.load(); }, &busy);
    std::printf("# %.0f calls/s; b loaded in %.1f s\n", load.calls_per_second,
                absl::ToDoubleSeconds(absl::Now() - start));
    beside.push_back(P99Micros(busy));
    PORTICO_CHECK(servables.Configure({{"a", folder.Folder("a")}}).ok());
    while (servables.Has("b") && servables.Resolve({.name = "b"}).ok()) absl::SleepFor(absl::Milliseconds(10));
    absl::SleepFor(absl::Milliseconds(500));  // Its memory goes back.
  }
  AddFigures(report, "isolation.load.p99_us", beside, alone);
}

void RunFlood(Report& report) {
  const TempFolder folder;
  WriteLayers(folder.File("a/1/model.onnx"), kWidth, 8);
  WriteLayers(folder.File("b/1/model.onnx"), 2048, 8);
  folder.Write("b/1/servable.yaml", "batching: {max_running: 1, max_batch_size: 4, max_queue_rows: 64}\n");
  const auto node = StartNode(folder, {"a", "b"});
  const Caller a(*node, "a", kWidth);
  const Caller b(*node, "b", 2048);
  OpenLoad load;
  // B's worker, the generators and A share two cores on a small machine: A asks for what the rest of it can give.
  load.calls_per_second = 0.02 * a.Capacity();
  OpenLoad flood;
  flood.calls_per_second = 10 * b.Capacity();
  flood.duration = absl::Minutes(2);
  flood.max_unanswered = 1 << 20;
  std::vector<double> alone, beside;
  for (int round = 0; round < kRounds; ++round) {
    load.seed = static_cast<uint64_t>(round) + 1;
    load.duration = absl::Seconds(2);
    LoadResult quiet;
    GenerateLoad(
        load, [&](auto done) { a.Send(std::move(done)); }, &quiet);
    alone.push_back(P99Micros(quiet));

    std::atomic<bool> over{false};
    LoadResult flooded;
    std::thread flooder([&] {
      GenerateLoad(
          flood, [&](auto done) { b.Send(std::move(done)); }, [&] { return over.load(); }, &flooded);
    });
    absl::SleepFor(absl::Milliseconds(200));
    LoadResult busy;
    GenerateLoad(
        load, [&](auto done) { a.Send(std::move(done)); }, &busy);
    over = true;
    flooder.join();
    std::printf("# a: %.0f calls/s; b: offered %lld, refused %lld\n", load.calls_per_second,
                static_cast<long long>(flooded.sent), static_cast<long long>(flooded.failed));
    beside.push_back(P99Micros(busy));
  }
  AddFigures(report, "isolation.flood.p99_us", beside, alone);
}

}  // namespace

std::vector<Scenario> IsolationScenarios() {
  return {{"isolation.load", "p99 of model A at a fifth of its capacity while model B of 1 GB loads", RunLoad},
          {"isolation.flood", "p99 of model A while B, capped to one worker, is offered ten times what it can do",
           RunFlood}};
}

}  // namespace portico::bench
