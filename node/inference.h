#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/metric.h"
#include "base/request_context.h"
#include "node/order_inputs.h"
#include "node/servables/servables.h"
#include "node/tenant_quotas.h"

namespace portico {

class RequestLog;
class Shadows;

/// Where every frontend's requests go in, whichever API they came by: admission, checks against the signature, metrics,
/// spans, and the run itself. Thread-safe.
///
///   resolve:   auto servable = inference.servables().Resolve(ref);       (once per request)
///   translate: tensors of the wire → inputs in the signature's order     (OrderInputs)
///   run:       inference.Run(servable, signature, context, inputs, done)
class Inference {
 public:
  struct Options {
    /// Requests that may be inside at once, and the bytes of their inputs. Full: RESOURCE_EXHAUSTED.
    int64_t max_requests = 65536;
    int64_t max_bytes = int64_t{4} << 30;
    /// Of both limits, the share that requests of hop 0 may fill; the rest is reserved in equal steps for deeper hops,
    /// so that deeper work never waits for what shallower work holds.
    double hop0_share = 0.75;
    /// By tenant, counted where a request enters the mesh (hop 0).
    std::map<std::string, TenantLimits> tenants;
    /// Said in spans.
    std::string node_name = "node";
    /// Where sampled requests are recorded; null: nowhere. Not owned, must outlive it.
    RequestLog* request_log = nullptr;
    /// Who copies requests of split traffic to shadows; null: nobody. Not owned, must outlive it.
    Shadows* shadows = nullptr;
  };

  using Api = RequestApi;
  using Done = OpDone;

  /// References are not owned and must outlive it.
  Inference(Options options, Servables& servables, const Clock& clock, MetricRegistry& metrics);
  ~Inference();

  Servables& servables() { return servables_; }
  const Clock& clock() const { return clock_; }
  const std::string& node_name() const { return options_.node_name; }

  /// Checks `inputs` (in the signature's order) against the signature: INVALID_ARGUMENT naming input, got, want. Then
  /// runs. `done` gets the signature's outputs in order; it may run inside the call. `servable` is held until then.
  /// UNAVAILABLE once draining.
  void Run(Api api, std::shared_ptr<const Servable> servable, const Signature& signature,
           Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done);

  /// Refuses new requests, waits for those inside. False when `timeout` passed first.
  bool Drain(absl::Duration timeout);
  /// What tenants may take; SetLimits() at any time.
  TenantQuotas& quotas() { return quotas_; }
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  int64_t in_flight() const { return requests_.load(std::memory_order_relaxed); }
  /// Bytes of the inputs of requests inside.
  int64_t bytes_in_flight() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  class Call;
  absl::StatusOr<TenantQuotas::Place> Admit(const RequestContext& context, int64_t bytes);
  void Leave(TenantQuotas::Place place, int64_t bytes);

  const Options options_;
  Servables& servables_;
  const Clock& clock_;
  TenantQuotas quotas_;
  std::atomic<bool> draining_{false};
  std::atomic<int64_t> requests_{0};
  std::atomic<int64_t> bytes_{0};
  Gauge& in_flight_gauge_;
  Counter& refused_;
};

/// Each input (in the signature's order) against its declaration, and extents of one symbol against each other:
/// INVALID_ARGUMENT naming input, got, want.
absl::Status CheckInputs(const Signature& signature, absl::Span<const Tensor> inputs);

}  // namespace portico
