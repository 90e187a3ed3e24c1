#include "node/observe/otlp_exporter.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/observe/trace_formats.h"

namespace portico {
namespace {

size_t SpansOf(const std::vector<std::shared_ptr<const Trace>>& batch) {
  size_t spans = 0;
  for (const auto& trace : batch) spans += trace->spans.size();
  return spans;
}

/// What OTLP/HTTP says may be sent again.
bool MayTryAgain(int code) { return code == 429 || code == 502 || code == 503 || code == 504; }

}  // namespace

absl::StatusOr<std::unique_ptr<OtlpExporter>> OtlpExporter::Create(const Options& options, MetricRegistry& metrics) {
  absl::StatusOr<HttpTarget> target = HttpTarget::Parse(options.endpoint);
  if (!target.ok()) return WithContext("OTLP endpoint", target.status());
  target->path += "/v1/traces";
  std::unique_ptr<OtlpExporter> exporter(new OtlpExporter(options, *std::move(target), metrics));
  exporter->thread_ = std::thread([self = exporter.get()] {
    pthread_setname_np(pthread_self(), "otlp");
    self->Run();
  });
  return exporter;
}

OtlpExporter::OtlpExporter(const Options& options, HttpTarget target, MetricRegistry& metrics)
    : options_(options),
      target_(std::move(target)),
      exported_metric_(metrics.NewCounter("portico_trace_spans_exported_total",
                                          "Spans that the OpenTelemetry collector has taken.", {})),
      dropped_metric_(metrics.NewCounter("portico_trace_spans_dropped_total",
                                         "Spans that were not sent: the queue was full, or the collector refused them "
                                         "or was away at the end.",
                                         {})) {}

OtlpExporter::~OtlpExporter() { Stop(); }

void OtlpExporter::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void OtlpExporter::Add(std::shared_ptr<const Trace> trace) {
  const size_t spans = trace->spans.size();
  bool wake = false;
  {
    MutexLock lock(&mutex_);
    if (stopping_ || queued_spans_ + spans > options_.max_queued_spans) {
      dropped_metric_.Add(static_cast<double>(spans));
      return;
    }
    // The thread waits for the first trace without a limit, and then until a batch is full.
    wake = queue_.empty() ||
           (queued_spans_ < options_.max_batch_spans && queued_spans_ + spans >= options_.max_batch_spans);
    queued_spans_ += spans;
    queue_.push_back(std::move(trace));
  }
  if (wake) wake_.NotifyAll();
}

void OtlpExporter::Run() {
  while (true) {
    const Batch batch = NextBatch();
    if (batch.empty()) return;
    Deliver(batch);
  }
}

OtlpExporter::Batch OtlpExporter::NextBatch() {
  Batch batch;
  MutexLock lock(&mutex_);
  while (queue_.empty() && !stopping_) wake_.Wait(&mutex_);
  const absl::Time until = absl::Now() + options_.interval;
  while (queued_spans_ < options_.max_batch_spans && !stopping_) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) break;
    wake_.WaitFor(&mutex_, left);
  }
  size_t spans = 0;
  while (!queue_.empty() && (batch.empty() || spans + queue_.front()->spans.size() <= options_.max_batch_spans)) {
    spans += queue_.front()->spans.size();
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_spans_ -= spans;
  return batch;
}

void OtlpExporter::Deliver(const Batch& batch) {
  const auto spans = static_cast<double>(SpansOf(batch));
  const std::string body = OtlpJson(batch);
  absl::Duration delay = options_.retry_delay;
  while (true) {
    bool again = false;
    const absl::Status status = Attempt(body, &again);
    SayState(status);
    if (status.ok()) return exported_metric_.Add(spans);
    if (!again || !WaitToRetry(delay)) return dropped_metric_.Add(spans);
    delay = std::min(2 * delay, options_.longest_retry_delay);
  }
}

absl::Status OtlpExporter::Attempt(const std::string& body, bool* again) const {
  const absl::StatusOr<int> code = PostJson(target_, body, options_.timeout);
  *again = !code.ok() || MayTryAgain(*code);
  if (!code.ok()) return code.status();
  if (*code >= 200 && *code < 300) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("got HTTP ", *code, " for POST ", target_.path, ", want 200"));
}

void OtlpExporter::SayState(const absl::Status& status) {
  if (away_ == !status.ok()) return;
  away_ = !status.ok();
  if (away_) {
    LogWarning(absl::StrCat("OTLP endpoint '", options_.endpoint, "': ", status.message(),
                            "; spans that find no room until it takes them are dropped"));
  } else {
    LogInfo(absl::StrCat("OTLP endpoint '", options_.endpoint, "': takes spans again"));
  }
}

bool OtlpExporter::WaitToRetry(absl::Duration delay) {
  const absl::Time until = absl::Now() + delay;
  MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return true;
    wake_.WaitFor(&mutex_, left);
  }
  // The collector is away: the rest would only hold up the end.
  for (const auto& trace : queue_) dropped_metric_.Add(static_cast<double>(trace->spans.size()));
  queue_.clear();
  queued_spans_ = 0;
  return false;
}

}  // namespace portico
