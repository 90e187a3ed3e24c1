// What a one-row call costs in a batcher beside its run, that of up to 64 calls: from Submit() to its completion, on
// one thread, with calls of one product and of several; without a deadline and with one of so many milliseconds.

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/executor.h"
#include "batcher/batcher.h"
#include "benchmark/benchmark.h"

namespace portico {
namespace {

/// Runs what it is given when it is told to.
class LaterExecutor final : public Executor {
 public:
  void Schedule(Task task) override { tasks_.push_back(std::move(task)); }
  void RunAll() {
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

 private:
  std::deque<Task> tasks_;
};

void BM_BatcherCall(benchmark::State& state) {
  const auto products = static_cast<size_t>(state.range(0)), waiting = static_cast<size_t>(state.range(1));
  const absl::Duration timeout = absl::Milliseconds(state.range(2));
  LaterExecutor executor;
  Batcher::Options options;
  options.name = "s";
  options.row_inputs = {true};
  options.row_outputs = true;
  Batcher batcher(
      options,
      [](absl::Span<const Tensor> inputs) -> absl::StatusOr<std::vector<Tensor>> {
        return std::vector<Tensor>(inputs.begin(), inputs.end());
      },
      executor, Clock::Real(), MetricRegistry::Null());
  const Tensor row = Tensor::Of<float>({1, 1}, {1.0f});
  std::vector<Ref<RequestContext>> contexts;
  for (size_t i = 0; i < products; ++i) {
    contexts.push_back(MakeRef<RequestContext>());
    contexts.back()->product = absl::StrCat("publisher/product-", i);
  }
  size_t answered = 0;
  for (auto _ : state) {
    if (timeout > absl::ZeroDuration()) {
      for (const auto& context : contexts) context->deadline = Deadline::In(timeout, Clock::Real());
    }
    for (size_t i = 0; i < waiting; ++i) {
      batcher.Submit(contexts[i % products], {row},
                     [&](const absl::StatusOr<std::vector<Tensor>>& outputs) { answered += outputs.ok() ? 1 : 0; });
    }
    executor.RunAll();
  }
  PORTICO_CHECK(answered == static_cast<size_t>(state.iterations()) * waiting);
  state.SetItemsProcessed(static_cast<int64_t>(answered));
}
BENCHMARK(BM_BatcherCall)
    ->ArgNames({"products", "waiting", "timeout"})
    ->ArgsProduct({{1, 2, 8, 64}, {1, 64, 1024}, {0, 20, 10'000}})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace portico
