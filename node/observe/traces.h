#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "base/span.h"

namespace portico {

/// What one request did, at all its hops; made when it has left. Never changed.
struct Trace {
  /// parent_span_id: the root span's own id.
  TraceContext context;
  /// W3C `tracestate` as it came.
  std::string state;
  /// The root first. Each names its node.
  std::vector<Span> spans;
  /// Whether it took longer than Traces::Options::slow.
  bool slow = false;
  /// Rises with each trace that a node keeps.
  uint64_t number = 0;
};

/// Is given each trace that is kept. Thread-safe; never blocks.
class TraceSink {
 public:
  virtual void Add(std::shared_ptr<const Trace> trace) = 0;

 protected:
  ~TraceSink() = default;
};

/// The last traces of requests that entered at this node, for /debug/traces: sampled ones, and slow ones whether they
/// were sampled or not. Says which requests are to be sampled. Thread-safe.
class Traces {
 public:
  struct Options {
    /// A request that took at least this long is kept; 0: none for that.
    absl::Duration slow = absl::Milliseconds(50);
    /// Of requests that bring no trace of their own, the share that is sampled: 0 to 1.
    double sample = 0.01;
    /// Of each kind.
    size_t capacity = 64;
    /// Slow traces kept per second; under overload all are slow, and few tell the story. Sampled ones are not counted.
    double slow_per_second = 100;
  };

  /// `metrics` must outlive it, and so must `sink`, where traces go besides; may be null.
  Traces(const Options& options, MetricRegistry& metrics, TraceSink* sink);

  /// Draws whether a request that brings no trace is sampled. Nil cost where none is.
  bool DrawSampled() const { return sample_below_ != 0 && (sample_all_ || NewSpanId() < sample_below_); }
  /// Of requests that are not sampled, shorter spans are left out; infinite where slow ones are not kept.
  absl::Duration span_floor() const { return span_floor_; }
  bool IsSlow(absl::Duration took) const { return took >= slow_; }
  /// Takes one of the slow traces of this second. False: there is none left, don't keep it.
  bool TakeSlowTurn(absl::Time now);

  /// Keeps `trace`, and tells the sink.
  void Add(Trace trace);

  /// Newest first. `trace_id` (32 hex digits) narrows to those of one; empty: all.
  std::vector<std::shared_ptr<const Trace>> Find(absl::string_view trace_id, bool slow_only) const;

 private:
  /// Newest first.
  using Ring = std::deque<std::shared_ptr<const Trace>>;

  const size_t capacity_;
  const absl::Duration slow_;
  const absl::Duration span_floor_;
  const bool sample_all_;
  const uint64_t sample_below_;
  const int64_t slow_interval_ns_;
  TraceSink* const sink_;
  Counter& sampled_metric_;
  Counter& slow_metric_;
  /// When the slow traces kept so far are paid for, in Unix nanoseconds.
  std::atomic<int64_t> slow_paid_until_{0};
  mutable Mutex mutex_;
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  Ring sampled_ring_ ABSL_GUARDED_BY(mutex_);
  Ring slow_ring_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
