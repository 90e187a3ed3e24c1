#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "node/frontend/http_server.h"
#include "node/observe/memory_account.h"
#include "node/observe/metrics.h"
#include "node/observe/traces.h"
#include "node/servables/servables.h"

namespace portico {

/// What operators ask a node over HTTP: /healthz, /readyz, /metrics (also /monitoring/prometheus/metrics),
/// /debug/memory, /debug/traffic, /debug/tables[?format=html] and /debug/traces[?id=TRACE&slow=1&format=chrome|otlp].
/// Answers in place. Thread-safe.
class Admin {
 public:
  /// `ready`: OK when the node may get traffic, else why not. `traffic`: what /debug/traffic says. References are not
  /// owned and must outlive it.
  Admin(std::function<absl::Status()> ready, const Servables& servables, const PrometheusMetrics& metrics,
        const Traces& traces, const MemoryAccount& memory, std::function<std::string()> traffic)
      : ready_(std::move(ready)),
        servables_(servables),
        metrics_(metrics),
        traces_(traces),
        memory_(memory),
        traffic_(std::move(traffic)) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond) const;

 private:
  HttpReply Readiness() const;
  HttpReply TracesReply(absl::string_view query) const;
  HttpReply TablesReply(absl::string_view query) const;

  const std::function<absl::Status()> ready_;
  const Servables& servables_;
  const PrometheusMetrics& metrics_;
  const Traces& traces_;
  const MemoryAccount& memory_;
  const std::function<std::string()> traffic_;
};

}  // namespace portico
