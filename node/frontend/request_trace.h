#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/request_context.h"
#include "node/observe/traces.h"

namespace portico {

/// The root span of a request that entered at this node with a W3C `traceparent` header. Does nothing for requests that
/// are not sampled. For one thread at a time; a member of the frontend's call object.
class RequestTrace {
 public:
  /// Reads `traceparent` (may be empty or nonsense: then nothing is sampled) into `context->trace`, whose parent
  /// becomes the root span.
  void Start(absl::string_view traceparent, const Clock& clock, RequestContext* context);

  /// Ends the root span and hands all spans of the request to `ring`. Returns the `traceparent` to answer
  /// with; empty where the request was not sampled. Call it once, when the request has finished.
  std::string Finish(const std::string& node, const Clock& clock, const RequestContext& context, TraceRing& ring);

 private:
  uint64_t caller_span_id_ = 0;
  absl::Time start_;
};

}  // namespace portico
