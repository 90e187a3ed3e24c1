#pragma once

#include <string>

#include "base/metric.h"
#include "node/inference.h"
#include "node/observe/request_log.h"
#include "node/servables/servables.h"

namespace portico {

/// Where a node's memory is: models (available, being loaded, pinned by requests after they were unloaded), inputs of
/// requests in flight, records that wait to be written, tables of shards (mapped; of that, in memory, from where the
/// kernel takes it when it is short), answers that are kept by row, and what the allocator holds. As gauges
/// `portico_memory_bytes{of=…}` and, for people, as JSON at /debug/memory. Thread-safe.
class MemoryAccount {
 public:
  /// References are not owned and must outlive it. `request_log` is null where there is none.
  MemoryAccount(const Servables& servables, const Inference& inference, const RequestLog* request_log,
                MetricRegistry& metrics);

  /// Sets the gauges to what is so now: before each scrape.
  void Refresh() const;
  std::string Json() const;

 private:
  uint64_t queued_bytes() const { return request_log_ == nullptr ? 0 : request_log_->queued_bytes(); }

  const Servables& servables_;
  const Inference& inference_;
  const RequestLog* const request_log_;
  Gauge& weights_;
  Gauge& loading_;
  Gauge& pinned_;
  Gauge& in_flight_;
  Gauge& queued_;
  Gauge& resident_;
  Gauge& allocated_;
  Gauge& kept_;
  Gauge& tables_mapped_;
  Gauge& tables_resident_;
  Gauge& answers_;
};

}  // namespace portico
