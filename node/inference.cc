#include "node/inference.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "node/observe/request_log.h"
#include "node/shadows.h"

namespace portico {
namespace {

/// Rows of a request: dim 0 of its first input that counts rows.
int64_t RowsOf(const Signature& signature, absl::Span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (signature.inputs[i].axis == AxisKind::kRows) return inputs[i].rows();
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& spec = signature.inputs[i];
    if (spec.partition == RowPartition::kNone) continue;
    const auto partition = static_cast<size_t>(signature.InputIndex(spec.partition_input));
    if (const int64_t rows = RowsOfPartition(spec.partition, inputs[partition]); rows >= 0) return rows;
  }
  return 1;
}

/// What divides ragged inputs into rows, by its numbers. REQUIRES: dtypes and ranks are right.
absl::Status CheckRaggedInputs(const Signature& signature, absl::Span<const Tensor> inputs) {
  int64_t rows = -1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (signature.inputs[i].axis == AxisKind::kRows) rows = inputs[i].rows();
  }
  // Segment ids are held against the rows that all others say.
  for (const bool ids : {false, true}) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorSpec& spec = signature.inputs[i];
      if (spec.partition == RowPartition::kNone || (spec.partition == RowPartition::kSegmentIds) != ids) continue;
      const auto partition = static_cast<size_t>(signature.InputIndex(spec.partition_input));
      const absl::StatusOr<int64_t> own = CheckRowPartition(spec.partition, inputs[partition], inputs[i].rows(), rows);
      if (!own.ok()) {
        return WithContext(absl::StrCat("input '", spec.partition_input, "', ", RowPartitionName(spec.partition),
                                        " of '", spec.name, "'"),
                           own.status());
      }
      if (rows >= 0 && *own >= 0 && *own != rows) {
        return absl::InvalidArgumentError(absl::StrCat("input '", spec.partition_input, "', ",
                                                       RowPartitionName(spec.partition), " of '", spec.name, "': got ",
                                                       *own, " rows, want ", rows, " as other inputs have"));
      }
      if (*own >= 0) rows = *own;
    }
  }
  return absl::OkStatus();
}

int64_t BytesOf(absl::Span<const Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += static_cast<int64_t>(tensor.bytes().size());
  return bytes;
}

std::vector<NamedTensor> Named(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& tensors) {
  std::vector<NamedTensor> named;
  named.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) named.push_back({specs[i].name, tensors[i]});
  return named;
}

}  // namespace

/// One request inside: what has to be given back when it finishes.
class Inference::Call {
 public:
  Call(Inference& inference, Api api, std::shared_ptr<const Servable> servable, const Signature& signature,
       Ref<const RequestContext> context, TenantQuotas::Place place, int64_t bytes, int64_t rows, Done done)
      : inference_(inference),
        api_(api),
        servable_(std::move(servable)),
        signature_(signature),
        context_(std::move(context)),
        place_(place),
        bytes_(bytes),
        rows_(rows),
        start_(inference.clock_.Now()),
        done_(std::move(done)) {}

  /// It was sampled for the request log.
  void Keep(const std::vector<Tensor>& inputs) {
    record_ = std::make_unique<PredictionRecord>();
    record_->inputs = Named(signature_.inputs, inputs);
  }

  /// A copy of it goes to its arm's shadow.
  void Copy(const std::vector<Tensor>& inputs) { copied_inputs_ = std::make_unique<std::vector<Tensor>>(inputs); }

  void Finish(absl::StatusOr<std::vector<Tensor>> outputs) {
    const absl::Duration latency = inference_.clock_.Now() - start_;
    context_->CountArm(outputs.status(), latency);
    RequestSeries& series = servable_->series(signature_);
    series.Left(bytes_);
    series.Finished(api_, outputs.status(), latency, rows_);
    servable_->stats().RequestDone(outputs.ok(), latency, rows_, start_ + latency);
    if (context_->Records(latency)) {
      Span span;
      const bool taken = context_->model_span_taken.exchange(true, std::memory_order_relaxed);
      span.span_id = taken ? NewSpanId() : context_->trace.parent_span_id;
      span.parent_span_id = context_->entry_span_id;
      span.name = absl::StrCat("model ", servable_->name());
      span.node = inference_.node_name();
      span.start = start_;
      span.duration = latency;
      span.error = ErrorName(outputs.status());
      span.attributes = {{"version", servable_->version()}, {"rows", rows_}};
      context_->spans.Add(std::move(span));
    }
    if (record_ != nullptr) Complete(outputs, latency);
    std::vector<Tensor> to_compare;
    const bool copied = copied_inputs_ != nullptr && outputs.ok();
    if (copied) to_compare = *outputs;
    done_(std::move(outputs));
    done_ = nullptr;
    if (copied) {
      inference_.options_.shadows->Send(
          {servable_, &signature_, context_, *std::move(copied_inputs_), std::move(to_compare), latency});
    }
    if (record_ != nullptr) inference_.options_.request_log->Add(*std::move(record_));
    inference_.Leave(place_, bytes_);
  }

 private:
  /// What the record needs of the answer, before that is given away.
  void Complete(const absl::StatusOr<std::vector<Tensor>>& outputs, absl::Duration latency) {
    if (!inference_.options_.request_log->Wants(outputs.status())) return record_.reset();
    record_->model = servable_->name();
    record_->version = servable_->version();
    record_->signature = signature_.name;
    record_->status = outputs.status();
    record_->start = start_;
    record_->latency = latency;
    if (outputs.ok()) record_->outputs = Named(signature_.outputs, *outputs);
  }

  Inference& inference_;
  const Api api_;
  const std::shared_ptr<const Servable> servable_;
  const Signature& signature_;
  const Ref<const RequestContext> context_;
  const TenantQuotas::Place place_;
  const int64_t bytes_;
  const int64_t rows_;
  const absl::Time start_;
  /// Only of a request that goes into the request log.
  std::unique_ptr<PredictionRecord> record_;
  /// Only of a request that is copied to a shadow.
  std::unique_ptr<std::vector<Tensor>> copied_inputs_;
  Done done_;
};

Inference::Inference(Options options, Servables& servables, const Clock& clock, MetricRegistry& metrics)
    : options_(std::move(options)),
      servables_(servables),
      clock_(clock),
      quotas_(clock),
      in_flight_gauge_(metrics.NewGauge("portico_requests_in_flight", "Requests inside this node.", {})),
      refused_(
          metrics.NewCounter("portico_requests_refused_total", "Requests refused because the node was full.", {})) {
  quotas_.SetLimits(options_.tenants);
}

Inference::~Inference() = default;

absl::StatusOr<TenantQuotas::Place> Inference::Admit(const RequestContext& context, int64_t bytes) {
  TenantQuotas::Place place = nullptr;
  if (context.hop == 0 && !context.tenant.empty()) {
    ASSIGN_OR_RETURN(place, quotas_.Enter(context.tenant, bytes));
  }
  if (context.hop > RequestContext::kMaxHops) {
    return absl::FailedPreconditionError(absl::StrCat("request: got hop ", context.hop, ", want at most ",
                                                      RequestContext::kMaxHops, "; the mesh's portals form a cycle"));
  }
  // Hop h may fill this share of each limit: shallow work leaves room for the deeper work it waits for.
  const double share = options_.hop0_share + (1 - options_.hop0_share) * context.hop / RequestContext::kMaxHops;
  const auto max_requests = static_cast<int64_t>(static_cast<double>(options_.max_requests) * share);
  const auto max_bytes = static_cast<int64_t>(static_cast<double>(options_.max_bytes) * share);
  const int64_t total = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  // Counted before draining_ is read, and Drain() sets draining_ before it reads the count: one of the two sees the
  // other.
  const int64_t requests = requests_.fetch_add(1, std::memory_order_seq_cst) + 1;
  const bool draining = draining_.load(std::memory_order_seq_cst);
  if (!draining && requests <= max_requests && total <= max_bytes) {
    in_flight_gauge_.Add(1);
    return place;
  }
  quotas_.Leave(place, bytes);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  requests_.fetch_sub(1, std::memory_order_release);
  if (draining) {
    return absl::UnavailableError(
        absl::StrCat("node '", options_.node_name, "': shutting down; send the request to another replica"));
  }
  refused_.Increment();
  if (requests > max_requests) {
    return absl::ResourceExhaustedError(absl::StrCat("node '", options_.node_name, "': got ", requests - 1,
                                                     " requests inside, want at most ", max_requests, " at hop ",
                                                     context.hop, "; try again later or add replicas"));
  }
  return absl::ResourceExhaustedError(absl::StrCat("node '", options_.node_name, "': got ", total,
                                                   " bytes of inputs inside, want at most ", max_bytes, " at hop ",
                                                   context.hop, "; try again later or add replicas"));
}

void Inference::Leave(TenantQuotas::Place place, int64_t bytes) {
  quotas_.Leave(place, bytes);
  in_flight_gauge_.Add(-1);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  requests_.fetch_sub(1, std::memory_order_release);  // Last: Drain() may return, and this object go.
}

void Inference::Run(Api api, std::shared_ptr<const Servable> servable, const Signature& signature,
                    Ref<const RequestContext> context, std::vector<Tensor> inputs, Done done) {
  const auto refuse = [&](absl::Status status) {
    servable->series(signature).Finished(api, status, absl::ZeroDuration(), 0);
    servable->stats().RequestDone(false, absl::ZeroDuration(), 0, clock_.Now());
    context->CountArm(status, absl::ZeroDuration());
    done(std::move(status));
  };
  if (absl::Status status = CheckInputs(signature, inputs); !status.ok()) return refuse(std::move(status));
  const int64_t bytes = BytesOf(inputs);
  const absl::StatusOr<TenantQuotas::Place> place = Admit(*context, bytes);
  if (!place.ok()) return refuse(place.status());
  const Servable& running = *servable;
  running.series(signature).Entered(bytes);
  auto call = std::make_unique<Call>(*this, api, std::move(servable), signature, context, *place, bytes,
                                     RowsOf(signature, inputs), std::move(done));
  if (options_.request_log != nullptr && options_.request_log->Sample(running.name())) call->Keep(inputs);
  if (context->arm && options_.shadows != nullptr && options_.shadows->Wants(*context)) call->Copy(inputs);
  running.Run(
      signature, std::move(context), std::move(inputs),
      [call = std::move(call)](absl::StatusOr<std::vector<Tensor>> outputs) { call->Finish(std::move(outputs)); });
}

bool Inference::Drain(absl::Duration timeout) {
  draining_.store(true, std::memory_order_seq_cst);
  // Shutdown alone looks at the count, so that no request pays for waking it.
  const absl::Time until = absl::Now() + timeout;
  while (requests_.load(std::memory_order_seq_cst) > 0) {
    if (absl::Now() >= until) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

absl::Status CheckInputs(const Signature& signature, absl::Span<const Tensor> inputs) {
  struct Bound {
    const std::string* symbol;
    int64_t extent;
    size_t input;
  };
  absl::InlinedVector<Bound, 8> bounds;
  bool ragged = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& spec = signature.inputs[i];
    RETURN_IF_ERROR(spec.Check("input", inputs[i]));
    ragged |= spec.partition != RowPartition::kNone;
    for (size_t d = 0; d < spec.dims.size(); ++d) {
      const Dim& dim = spec.dims[d];
      if (dim.symbol.empty()) continue;
      const int64_t extent = inputs[i].shape()[d];
      const auto bound =
          std::find_if(bounds.begin(), bounds.end(), [&](const Bound& b) { return *b.symbol == dim.symbol; });
      if (bound == bounds.end()) {
        bounds.push_back({&dim.symbol, extent, i});
      } else if (bound->extent != extent) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input '", spec.name, "': got ", extent, " for '", dim.symbol, "' in ", ShapeString(inputs[i].shape()),
            ", want ", bound->extent, " as in input '", signature.inputs[bound->input].name, "'"));
      }
    }
  }
  return ragged ? CheckRaggedInputs(signature, inputs) : absl::OkStatus();
}

}  // namespace portico
