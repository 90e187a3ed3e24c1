// What keeping answers by row comes to, in process: a model of eight layers of 256, one-row requests, 32 of them always
// under way. Rows are drawn by Zipf's law out of 100,000; or none ever comes twice, which shows what looking costs.

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/mutex.h"
#include "bench/scenarios.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 5;
constexpr int64_t kWidth = 256;
constexpr int kLayers = 8;
constexpr size_t kRows = 100'000;
constexpr int kUnderWay = 32;
constexpr absl::Duration kRound = absl::Seconds(2);

void WriteModel(const std::string& path) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", kWidth});
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(kWidth)));
  for (int i = 0; i < kLayers; ++i) {
    std::vector<float> values(static_cast<size_t>(kWidth * kWidth));
    for (float& value : values) value = normal(random);
    model.Initializer(absl::StrCat("w", i), Tensor::Of<float>({kWidth, kWidth}, absl::MakeConstSpan(values)));
    model.Node("MatMul", {i == 0 ? "x" : absl::StrCat("h", i), absl::StrCat("w", i)},
               {i + 1 == kLayers ? "y" : absl::StrCat("h", i + 1)});
  }
  model.WriteTo(path);
}

/// Row `number`: its first values say which. One copy, so that making it weighs little beside what is measured.
Tensor Row(uint64_t number) {
  static const std::vector<float> values(static_cast<size_t>(kWidth), 0.5f);
  Tensor row = Tensor::Allocate(DType::kFloat, {1, kWidth});
  char* const bytes = row.mutable_bytes();
  std::memcpy(bytes, values.data(), row.bytes().size());
  for (size_t digit = 0; digit < 5; ++digit) {
    const auto value = static_cast<float>(number >> 8 * digit & 255);
    std::memcpy(bytes + digit * sizeof(value), &value, sizeof(value));
  }
  return row;
}

/// Draws of 0 to kRows - 1, the k-th with a probability as 1/k.
class Zipf {
 public:
  Zipf() : sums_(kRows) {
    double sum = 0;
    for (size_t k = 0; k < kRows; ++k) sums_[k] = sum += 1 / static_cast<double>(k + 1);
  }
  uint64_t Draw(std::mt19937_64& random) const {
    const double at = std::uniform_real_distribution<double>(0, sums_.back())(random);
    return static_cast<uint64_t>(std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

double CpuSeconds() {
  rusage usage{};
  PORTICO_CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Requests under way: who sends fills it up, then sleeps until half of them are answered. It neither spins nor is
/// woken by each, so that it takes little of the cores that are measured.
class Window {
 public:
  /// Returns once there is room.
  void Enter() {
    if (under_way_.load() >= kUnderWay) AwaitAtMost(kUnderWay / 2);
    ++under_way_;
  }
  void Leave() {
    const int left = --under_way_;
    if (left != kUnderWay / 2 && left != 0) return;
    MutexLock lock(&mutex_);
    less_.NotifyOne();
  }
  void AwaitAtMost(int most) {
    MutexLock lock(&mutex_);
    while (under_way_.load() > most) less_.Wait(&mutex_);
  }

 private:
  std::atomic<int> under_way_{0};
  Mutex mutex_;
  CondVar less_;
};

struct Measured {
  double per_second = 0;
  double cpu_micros = 0;
};

/// `next` gives the row of each request. `window` is empty, and outlives the node: the last answer may still be
/// leaving.
Measured Measure(Inference& inference, Window& window, const std::string& model, absl::FunctionRef<Tensor()> next) {
  const auto servable = *inference.servables().Resolve({.name = model});
  int64_t sent = 0;
  const double cpu = CpuSeconds();
  const absl::Time start = absl::Now();
  while (absl::Now() < start + kRound) {
    window.Enter();
    ++sent;
    inference.Run(RequestApi::kPeer, servable, servable->signatures()[0], MakeRef<RequestContext>(), {next()},
                  [&window](absl::StatusOr<std::vector<Tensor>> outputs) {
                    PORTICO_CHECK(outputs.ok());
                    window.Leave();
                  });
  }
  window.AwaitAtMost(0);
  const auto calls = static_cast<double>(sent);
  return {calls / absl::ToDoubleSeconds(absl::Now() - start), (CpuSeconds() - cpu) / calls * 1e6};
}

struct Series {
  std::vector<double> per_second, cpu_micros;
  void Add(const Measured& measured) {
    per_second.push_back(measured.per_second);
    cpu_micros.push_back(measured.cpu_micros);
  }
};

void AddFigures(Report& report, const std::string& name, const Series& with, const Series& without, double at_least,
                double at_most) {
  Figure figure;
  figure.name = absl::StrCat(name, ".requests_s");
  figure.unit = "1/s";
  figure.value = Median(with.per_second);
  figure.baseline = Median(without.per_second);
  figure.at_least = at_least;
  report.Add(figure);
  figure.name = absl::StrCat(name, ".cpu_us");
  figure.unit = "us";
  figure.value = Median(with.cpu_micros);
  figure.baseline = Median(without.cpu_micros);
  figure.at_least = 0;
  figure.at_most = at_most;
  report.Add(figure);
}

void Run(Report& report) {
  const TempFolder folder;
  WriteModel(folder.File("m/1/model.onnx"));
  Node::Options options;
  options.models = {{"plain", folder.Folder("m")}, {"kept", folder.Folder("m")}};
  options.models[1].result_cache_mib = 16;
  Window window;
  auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  Inference& inference = (*node)->inference();
  std::vector<Tensor> rows;
  for (uint64_t row = 0; row < kRows; ++row) rows.push_back(Row(row));
  const Zipf zipf;
  uint64_t unique = kRows;
  Series zipf_plain, zipf_kept, unique_plain, unique_kept;
  // The first fills it.
  for (int round = -1; round < kRounds; ++round) {
    for (const bool kept : {false, true}) {
      const std::string model = kept ? "kept" : "plain";
      std::mt19937_64 random(static_cast<uint64_t>(round) + 7);
      const Measured drawn = Measure(inference, window, model, [&] { return rows[zipf.Draw(random)]; });
      const Measured fresh = Measure(inference, window, model, [&] { return Row(unique++); });
      if (round < 0) continue;
      (kept ? zipf_kept : zipf_plain).Add(drawn);
      (kept ? unique_kept : unique_plain).Add(fresh);
    }
  }
  AddFigures(report, "result_cache.zipf", zipf_kept, zipf_plain, 2, 0.7);
  AddFigures(report, "result_cache.unique", unique_kept, unique_plain, 0.85, 1.5);
}

}  // namespace

std::vector<Scenario> ResultCacheScenarios() {
  return {{"result_cache", "answers kept by row: rows by Zipf's law, and rows that never come twice", Run}};
}

}  // namespace portico::bench
