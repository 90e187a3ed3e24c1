#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/request_context.h"
#include "node/frontend/access.h"
#include "node/inference.h"
#include "node/observe/traces.h"

namespace portico {

/// What the client frontends of a node share: where requests go, who may send them, where their traces go. Nothing is
/// owned; all must outlive the frontends.
struct Entrance {
  Inference& inference;
  TraceRing& traces;
  const Access& access;
};

/// A client's request at the door, whichever API it came by: makes its context from what headers say, and sees it off.
/// For one thread at a time, but for Cancel(); a member of the frontend's call object.
///
///   RETURN_IF_ERROR(entry.Start(header, deadline));   … inference.Run(…, entry.context(), …);   entry.Finish()
class RequestEntry {
 public:
  /// `entrance` is not owned and must outlive it.
  explicit RequestEntry(const Entrance& entrance) : entrance_(entrance) {}

  /// `header`: a header's (gRPC: metadata's) value by its lower-case name, empty where there is none. Reads
  /// `authorization` (UNAUTHENTICATED where that is not enough) and W3C `traceparent` (nonsense: not sampled).
  absl::Status Start(absl::FunctionRef<absl::string_view(absl::string_view name)> header, Deadline deadline);

  const Ref<RequestContext>& context() const { return context_; }
  /// The client has gone. From any thread.
  void Cancel() const { context_->Cancel(); }

  /// Ends the root span and hands the request's spans to the trace ring. Returns the `traceparent` to answer with;
  /// empty where the request was not sampled. Call it once, when the request has finished.
  std::string Finish();

 private:
  const Entrance& entrance_;
  const Ref<RequestContext> context_ = MakeRef<RequestContext>();
  uint64_t caller_span_id_ = 0;
  absl::Time start_;
};

}  // namespace portico
