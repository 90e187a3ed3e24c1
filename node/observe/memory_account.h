#pragma once

#include <string>

#include "base/metric.h"
#include "node/inference.h"
#include "node/servables/servables.h"

namespace portico {

/// Where a node's memory is: models (available, being loaded, pinned by requests after they were unloaded), inputs of
/// requests in flight, and what the allocator holds. As gauges `portico_memory_bytes{of=…}` and, for people, as JSON at
/// /debug/memory. Thread-safe.
class MemoryAccount {
 public:
  /// References are not owned and must outlive it.
  MemoryAccount(const Servables& servables, const Inference& inference, MetricRegistry& metrics);

  /// Sets the gauges to what is so now: before each scrape.
  void Refresh() const;
  std::string Json() const;

 private:
  const Servables& servables_;
  const Inference& inference_;
  Gauge& weights_;
  Gauge& loading_;
  Gauge& pinned_;
  Gauge& in_flight_;
  Gauge& resident_;
  Gauge& allocated_;
  Gauge& kept_;
};

}  // namespace portico
