#pragma once

#include <array>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metric.h"
#include "base/mutex.h"

namespace portico {

/// Which API a request came by; a metric label.
enum class RequestApi { kTfsGrpc, kTfsRest, kV2Grpc, kV2Rest, kPeer };
inline constexpr size_t kNumRequestApis = 5;

/// The metric series of one signature of one servable version: requests by API and code, latency by API, what is
/// inside. Made when the servable is loaded, so that a request looks nothing up. Thread-safe.
class RequestSeries {
 public:
  /// `labels` name the model, version and signature. `metrics` is not owned and must outlive it.
  RequestSeries(MetricRegistry& metrics, MetricLabels labels);

  /// A request with `bytes` of inputs is inside; one Left() is owed.
  void Entered(int64_t bytes) {
    in_flight_.Add(1);
    bytes_.Add(static_cast<double>(bytes));
  }
  void Left(int64_t bytes) {
    in_flight_.Add(-1);
    bytes_.Add(-static_cast<double>(bytes));
  }
  /// Counts a finished request, and one that was refused.
  void Finished(RequestApi api, const absl::Status& status, absl::Duration latency, int64_t rows);

 private:
  struct OfApi {
    Counter* ok = nullptr;
    Counter* rows = nullptr;
    Histogram* latency = nullptr;
  };
  MetricRegistry& metrics_;
  const MetricLabels labels_;
  Gauge& in_flight_;
  Gauge& bytes_;
  std::array<OfApi, kNumRequestApis> apis_;
};

}  // namespace portico
