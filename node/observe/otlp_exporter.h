#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "node/observe/http_post.h"
#include "node/observe/traces.h"

namespace portico {

/// Sends traces to an OpenTelemetry collector: OTLP over HTTP in its JSON encoding, in batches.
///
/// A request never waits for it: Add() queues, and what does not fit is dropped and counted
/// (portico_trace_spans_dropped_total). A collector that is away is tried again, ever later; that it is, and that it is
/// back, is logged once each. What it refuses (a 4xx) is dropped.
///
/// Threads: one of its own sends; the methods are thread-safe.
class OtlpExporter final : public TraceSink {
 public:
  struct Options {
    /// http://HOST:PORT[/PATH], to which "/v1/traces" is added; empty: nothing is sent, and there is no exporter.
    std::string endpoint;
    /// Spans that may wait. More are dropped.
    size_t max_queued_spans = 8192;
    /// Spans that are enough for a batch; it has more only where a single trace has.
    size_t max_batch_spans = 512;
    /// How long a batch that is not full waits for more.
    absl::Duration interval = absl::Seconds(1);
    /// Of one attempt.
    absl::Duration timeout = absl::Seconds(3);
    /// Before the second attempt; doubled for each further one, up to the longest.
    absl::Duration retry_delay = absl::Seconds(1);
    absl::Duration longest_retry_delay = absl::Seconds(30);
  };

  /// Starts its thread. INVALID_ARGUMENT for an endpoint that is none. `metrics` is not owned and must outlive it.
  static absl::StatusOr<std::unique_ptr<OtlpExporter>> Create(const Options& options, MetricRegistry& metrics);
  /// Stops.
  ~OtlpExporter();

  void Add(std::shared_ptr<const Trace> trace) override;
  /// Sends what waits, unless the collector is away, and ends the thread: `timeout` at most for each batch of it.
  void Stop();

 private:
  using Batch = std::vector<std::shared_ptr<const Trace>>;

  OtlpExporter(const Options& options, HttpTarget target, MetricRegistry& metrics);

  void Run();
  /// Waits for it. Empty: stopping, and nothing is left.
  Batch NextBatch();
  /// Until it is delivered, refused, or of no use any more.
  void Deliver(const Batch& batch);
  /// OK, or why not; `*again`: whether another attempt makes sense.
  absl::Status Attempt(const std::string& body, bool* again) const;
  /// Logs a change.
  void SayState(const absl::Status& status);
  /// False: stopping.
  bool WaitToRetry(absl::Duration delay);

  const Options options_;
  const HttpTarget target_;
  Counter& exported_metric_;
  Counter& dropped_metric_;
  /// Of the exporter's thread.
  bool away_ = false;
  Mutex mutex_;
  CondVar wake_;
  std::deque<std::shared_ptr<const Trace>> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_spans_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
