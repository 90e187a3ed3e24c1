#include "batcher/batch_spans.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/span.h"

namespace portico {
namespace {

/// Ids of the other sampled traces that had part in a run, at most kMaxShared: those can be looked at. "ID,ID".
std::string SampledOthers(const std::vector<WaitingCall>& calls, const WaitingCall& own) {
  constexpr size_t kMaxShared = 8;
  std::string ids;
  size_t found = 0;
  for (const WaitingCall& call : calls) {
    if (call.context.get() == own.context.get() || !call.context->trace.sampled) continue;
    if (++found > kMaxShared) break;
    absl::StrAppend(&ids, ids.empty() ? "" : ",", TraceIdHex(call.context->trace));
  }
  return ids;
}

/// That the call waited until `start`, and, where `batch` has a name, ran until `end`.
void RecordSpans(const std::string& span_name, const WaitingCall& call, absl::Time start, absl::Time end, Span batch) {
  uint64_t segment = call.span_id;
  if (segment == 0) {
    segment = NewSpanId();
    AddSpan(*call.context, segment, call.context->trace.parent_span_id, span_name, call.since, end);
  }
  AddSpan(*call.context, NewSpanId(), segment, "queue", call.since, start);
  if (batch.name.empty()) return;
  batch.span_id = NewSpanId();
  batch.parent_span_id = segment;
  batch.start = start;
  batch.duration = end - start;
  call.context->spans.Add(std::move(batch));
}

}  // namespace

void AddSpan(const RequestContext& context, uint64_t id, uint64_t parent, std::string name, absl::Time start,
             absl::Time end) {
  context.spans.Add(
      {.span_id = id, .parent_span_id = parent, .name = std::move(name), .start = start, .duration = end - start});
}

void RecordRun(const std::string& span_name, const std::vector<WaitingCall>& calls, const RunParts& parts, int64_t rows,
               absl::Time start, absl::Time end) {
  for (const WaitingCall& call : calls) {
    if (!call.context->Records(end - call.since)) continue;
    Span batch;
    batch.name = absl::StrCat("batch of ", rows, " rows, ", calls.size(), " calls");
    batch.attributes = {{"rows", rows}, {"calls", static_cast<int64_t>(calls.size())}, {"own_rows", call.rows}};
    if (calls.size() > 1) batch.attributes.push_back({"products", Describe(parts)});
    if (std::string others = SampledOthers(calls, call); !others.empty()) {
      batch.attributes.push_back({"shared_with", std::move(others)});
    }
    RecordSpans(span_name, call, start, end, std::move(batch));
  }
}

void RecordDead(const std::string& span_name, const WaitingCall& call, absl::Time now) {
  if (call.context->Records(now - call.since)) RecordSpans(span_name, call, now, now, {});
}

}  // namespace portico
