#include "node/servables/warmup.h"

#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/frontend/tfs_codec.h"
#include "node/inference.h"
#include "node/observe/prediction_log.h"
#include "node/observe/tf_record.h"
#include "node/order_inputs.h"

namespace portico {
namespace {

constexpr int64_t kMaxFailures = 10;
constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 30;

/// The file of recorded requests; NOT_FOUND where there is none.
absl::StatusOr<Ref<MappedFile>> OpenRequests(const std::string& folder, std::string* path) {
  for (const char* name : {"/warmup/requests", "/assets.extra/tf_serving_warmup_requests"}) {
    *path = folder + name;
    absl::StatusOr<Ref<MappedFile>> file = MappedFile::Open(*path);
    if (!absl::IsNotFound(file.status())) return file;
  }
  return absl::NotFoundError("no recorded requests");
}

absl::Status Replay(const Servable& servable, absl::string_view bytes, const Ref<MappedFile>& file, Deadline deadline) {
  ASSIGN_OR_RETURN(const PredictRequestView request, ReadPredictRequest(bytes));
  const Signature* const signature = servable.FindSignature(request.spec.signature);
  if (signature == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("Serving signature key \"", request.spec.signature, "\" not found."));
  }
  ASSIGN_OR_RETURN(std::vector<NamedTensor> named, ReadPredictInputs(request, file, kMaxTensorBytes));
  ASSIGN_OR_RETURN(std::vector<Tensor> inputs, OrderInputs(*signature, std::move(named)));
  RETURN_IF_ERROR(CheckInputs(*signature, inputs));
  auto context = MakeRef<RequestContext>();
  context->deadline = deadline;
  context->product = servable.name();
  std::promise<absl::Status> answer;
  servable.Run(*signature, std::move(context), std::move(inputs),
               [&](const absl::StatusOr<std::vector<Tensor>>& outputs) { answer.set_value(outputs.status()); });
  return answer.get_future().get();
}

}  // namespace

absl::Status WarmUp(const std::shared_ptr<const Servable>& servable, const std::string& folder,
                    const WarmupOptions& options, const Clock& clock, MetricRegistry& metrics,
                    const std::function<bool()>& stopped) {
  if (options.max_requests <= 0) return absl::OkStatus();
  std::string path;
  const absl::StatusOr<Ref<MappedFile>> file = OpenRequests(folder, &path);
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  const auto counter = [&](absl::string_view result) -> Counter& {
    return metrics.NewCounter("portico_warmup_requests_total", "Recorded requests replayed before a version serves.",
                              {{"model", servable->name()}, {"result", std::string(result)}});
  };
  int64_t replayed = 0, skipped = 0, failed = 0;
  absl::Status first = file.status();
  TfRecordReader records(file.ok() ? (*file)->bytes() : absl::string_view());
  while (first.ok() || !options.must_succeed) {
    if (replayed >= options.max_requests || failed >= kMaxFailures || stopped()) break;
    const absl::StatusOr<std::optional<absl::string_view>> record = records.Next();
    if (!record.ok()) {
      first.Update(record.status());
      break;
    }
    if (!record->has_value()) break;
    const absl::StatusOr<PredictionLogView> log = ReadPredictionLog(**record);
    if (!log.ok() || log->request.empty() || log->code != absl::StatusCode::kOk) {
      ++skipped;
      continue;
    }
    const absl::Status status = Replay(*servable, log->request, *file, Deadline::In(options.timeout, clock));
    ++replayed;
    counter(status.ok() ? "ok" : "failed").Increment();
    if (!status.ok()) {
      ++failed;
      first.Update(WithContext(absl::StrCat("recorded request ", replayed), status));
    }
  }
  const std::string subject = absl::StrCat("warm-up '", path, "'");
  LogInfo(absl::StrCat(subject, ": ", replayed, " requests replayed, ", failed, " failed, ", skipped,
                       " of another kind or without an answer skipped"));
  if (first.ok()) return first;
  first = WithContext(subject, first);
  if (options.must_succeed) return absl::FailedPreconditionError(first.message());
  LogWarning(first.message());
  return absl::OkStatus();
}

}  // namespace portico
