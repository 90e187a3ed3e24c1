#include "batcher/batch_runner.h"

#include <algorithm>
#include <utility>

#include "batcher/batch_spans.h"
#include "batcher/run_parts.h"

namespace portico {
namespace {

/// Rows a run may hold are powers of two up to 16384.
std::vector<double> RowBuckets() {
  std::vector<double> bounds;
  for (double bound = 1; bound <= 16384; bound *= 2) bounds.push_back(bound);
  return bounds;
}

absl::Status DeadStatus(const RequestContext& context) {
  if (context.cancelled.load(std::memory_order_relaxed)) {
    return absl::CancelledError("request: cancelled by the client");
  }
  return absl::DeadlineExceededError("request: its deadline passed before it could run; allow more time or send less");
}

}  // namespace

BatchRunner::BatchRunner(const Batcher::Options& options, const JoinRule& rule, Batcher::Function function,
                         const Clock& clock, MetricRegistry& metrics)
    : options_(options),
      rule_(rule),
      function_(std::move(function)),
      clock_(clock),
      rows_metric_(metrics.NewHistogram("portico_batch_rows", "Rows of one run.", options.labels, RowBuckets())),
      queue_seconds_metric_(metrics.NewHistogram("portico_batch_queue_seconds", "Time a call waited for its run.",
                                                 options.labels, LatencyBuckets())),
      run_seconds_metric_(metrics.NewHistogram("portico_batch_run_seconds",
                                               "Time of one run, joining and scattering included.", options.labels,
                                               LatencyBuckets())),
      expired_metric_(metrics.NewCounter("portico_batch_expired_total",
                                         "Calls dropped from the queue: cancelled or past their deadline.",
                                         options.labels)) {}

std::vector<BatchRunner::Result> BatchRunner::Run(const std::vector<WaitingCall>& calls, int64_t rows) const {
  const absl::Time start = clock_.Now();
  rows_metric_.Observe(static_cast<double>(rows));
  for (const WaitingCall& call : calls) queue_seconds_metric_.Observe(absl::ToDoubleSeconds(start - call.since));
  const RunParts parts = PartsOf(calls, start);

  std::vector<Result> results;
  results.reserve(calls.size());
  if (calls.size() == 1) {
    results.push_back(RunAlone(calls[0]));
  } else {
    RunJoined(calls, rows, results);
  }
  const absl::Duration time = clock_.Now() - start;
  run_seconds_metric_.Observe(absl::ToDoubleSeconds(time));
  absl::Duration queued;
  for (const RunPart& part : parts) {
    part.product->calls.Add(static_cast<double>(part.calls));
    part.product->rows.Add(static_cast<double>(part.rows));
    part.product->queue_seconds.Add(absl::ToDoubleSeconds(part.queued));
    queued += part.queued;
  }
  if (options_.observer != nullptr) {
    options_.observer->OnRun({rows, static_cast<int64_t>(calls.size()), queued, time});
  }
  RecordRun(options_.span_name, calls, parts, rows, start, start + time);
  return results;
}

void BatchRunner::RunJoined(const std::vector<WaitingCall>& calls, int64_t rows, std::vector<Result>& results) const {
  std::vector<CallRows> inputs;
  inputs.reserve(calls.size());
  for (const WaitingCall& call : calls) inputs.push_back({call.inputs, call.rows});
  const int64_t padding = PaddingFor(rows);
  Result joined = function_(GatherRows(inputs, rule_, padding));
  if (joined.ok() && CanScatter(*joined, rows + padding)) {
    int64_t begin = 0;
    for (const WaitingCall& call : calls) {
      results.push_back(ScatterRows(*joined, begin, call.rows));
      begin += call.rows;
    }
    return;
  }
  for (const WaitingCall& call : calls) {
    const bool dead = call.context->cancelled.load(std::memory_order_relaxed) || call.context->deadline.Expired(clock_);
    results.push_back(dead ? Result(DeadStatus(*call.context)) : RunAlone(call));
  }
}

BatchRunner::Result BatchRunner::RunAlone(const WaitingCall& call) const {
  const int64_t padding = call.joinable ? PaddingFor(call.rows) : 0;
  if (padding == 0) return function_(call.inputs);
  const CallRows inputs = {call.inputs, call.rows};
  Result padded = function_(GatherRows({&inputs, 1}, rule_, padding));
  if (!padded.ok() || !CanScatter(*padded, call.rows + padding)) return padded;
  return ScatterRows(*padded, 0, call.rows);
}

int64_t BatchRunner::PaddingFor(int64_t rows) const {
  const auto& allowed = options_.allowed_batch_rows;
  const auto size = std::lower_bound(allowed.begin(), allowed.end(), rows);
  return rows == 0 || size == allowed.end() ? 0 : *size - rows;
}

void BatchRunner::CompleteDead(WaitingCall& call) const {
  if (call.context->MayRecord()) RecordDead(options_.span_name, call, clock_.Now());
  expired_metric_.Increment();
  call.product->expired.Increment();
  call.done(DeadStatus(*call.context));
}

}  // namespace portico
