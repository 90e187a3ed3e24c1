#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "node/observe/prediction_log.h"
#include "node/observe/record_files.h"

namespace portico {

/// A sample of the requests with their answers, in files that `portico replay` sends again and that are recorded
/// requests for warm-up: TFRecord files of tensorflow.serving.PredictionLog.
///
/// A request asks Sample() when it is admitted, holds on to its inputs where that is true, and hands over a record once
/// it is answered. Records wait in a bounded queue for a niced thread that encodes and writes them. Nothing blocks a
/// request: where the queue is full, or the folder can't be written, records are dropped and counted, one line says so,
/// and it is tried again after a while.
///
/// Thread-safe.
class RequestLog {
 public:
  static constexpr uint64_t kMinFileBytes = 4096;

  struct Options {
    /// Empty: there is no log.
    RecordFiles::Options files;
    /// Share of the requests, 0 to 1.
    double sample = 0.01;
    /// Requests that failed behind admission are recorded too, with their error. Warm-up skips them.
    bool failures = false;
    /// What may wait to be written. Bytes: of memory that is kept for it.
    size_t queue_records = 4096;
    uint64_t queue_bytes = uint64_t{64} << 20;
    /// After the folder could not be written.
    absl::Duration retry_delay = absl::Seconds(5);
  };

  /// INVALID_ARGUMENT for options that make no sense. Touches no file yet. `clock` and `metrics` are not owned and must
  /// outlive it.
  static absl::StatusOr<std::unique_ptr<RequestLog>> Create(Options options, const Clock& clock,
                                                            MetricRegistry& metrics);
  ~RequestLog();

  /// Shares of models that have one of their own.
  void SetShares(std::map<std::string, double, std::less<>> shares);

  /// Whether a request to `model` that begins now is recorded.
  bool Sample(absl::string_view model) const {
    const double draw = Draw();
    return draw < highest_share_.load(std::memory_order_relaxed) && draw < ShareOf(model);
  }
  /// Whether what was sampled is of interest with this outcome.
  bool Wants(const absl::Status& status) const { return status.ok() || options_.failures; }
  /// Queues it; its tensors are held, not copied.
  void Add(PredictionRecord record);

  /// Memory that is kept for records that are not in a file yet.
  uint64_t queued_bytes() const;
  /// Blocks until what was added before is written or dropped. REQUIRES: not stopped.
  void Flush();
  /// Writes what is queued. What is added later is dropped.
  void Stop();

 private:
  /// Why a record is not in a file; indexes dropped_.
  enum Drop : uint8_t { kQueueFull, kTooLarge, kUnwritable, kUnencodable, kNumDrops };
  struct Queued {
    PredictionRecord record;
    uint64_t held_bytes;
  };

  RequestLog(Options options, const Clock& clock, MetricRegistry& metrics);
  /// Uniform in [0, 1).
  static double Draw();
  double ShareOf(absl::string_view model) const;
  // Of the writer's thread.
  void WriteQueued();
  void Write(const PredictionRecord& record);

  const Options options_;
  const Clock& clock_;
  Counter& written_;
  std::vector<Counter*> dropped_;
  Gauge& file_bytes_;

  std::atomic<double> highest_share_;
  mutable Mutex shares_mutex_;
  std::map<std::string, double, std::less<>> shares_ ABSL_GUARDED_BY(shares_mutex_);

  mutable Mutex mutex_;
  std::vector<Queued> queue_ ABSL_GUARDED_BY(mutex_);
  /// Also of what the writer has taken and not yet let go.
  uint64_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  RecordFiles files_;
  /// Of the writer's thread: since when records are dropped, and until when without another attempt.
  bool failing_ = false;
  absl::Time retry_at_ = absl::InfinitePast();
  uint64_t lost_ = 0;
  ThreadPool writer_{{.threads = 1, .name = "request-log", .nice = 10}};
};

}  // namespace portico
