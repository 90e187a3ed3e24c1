#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/request_context.h"
#include "batcher/run_parts.h"
#include "batcher/waiting_call.h"

namespace portico {

// What traced calls tell of a batcher: a span of the whole, one of the queue and one of the run. On the worker that ran
// them; nothing is done for calls that are not traced.

void AddSpan(const RequestContext& context, uint64_t id, uint64_t parent, std::string name, absl::Time start,
             absl::Time end);

/// That `calls`, of `rows` rows together, waited until `start` and ran until `end`, and whose they were. `span_name` is
/// that of the whole.
void RecordRun(const std::string& span_name, const std::vector<WaitingCall>& calls, const RunParts& parts, int64_t rows,
               absl::Time start, absl::Time end);

/// That a call waited until it was dropped from the queue, `now`. REQUIRES: RequestContext::MayRecord().
void RecordDead(const std::string& span_name, const WaitingCall& call, absl::Time now);

}  // namespace portico
