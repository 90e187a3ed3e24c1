#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/request_context.h"
#include "node/frontend/access.h"
#include "node/inference.h"
#include "node/observe/traces.h"
#include "router/live_revisions.h"

namespace portico {

/// What the client frontends of a node share: where requests go, who may send them, where their traces go. Nothing is
/// owned; all must outlive the frontends.
struct Entrance {
  Inference& inference;
  Traces& traces;
  const Access& access;
  /// With which revision requests are stamped; null: with none.
  const LiveRevisions* revisions = nullptr;
  /// Whether `x-portico-key` matters: traffic may be split by it, or portals' calls balanced.
  bool reads_key = false;
};

/// A client's request at the door, whichever API it came by: makes its context from what headers say, and sees it off.
/// For one thread at a time, but for Cancel(); a member of the frontend's call object.
///
///   RETURN_IF_ERROR(entry.Start(header, deadline));   … inference.Run(…, entry.context(), …);   entry.Finish()
class RequestEntry {
 public:
  /// `entrance` is not owned and must outlive it.
  explicit RequestEntry(const Entrance& entrance) : entrance_(entrance) {
    if (entrance.revisions == nullptr) return;
    std::tie(context_->revision, context_->revision_hold) = entrance.revisions->Stamp();
    if (entrance.revisions->draws()) context_->draw = NewSpanId();
  }

  /// `header`: a header's (gRPC: metadata's) value by its lower-case name, empty where there is none. Reads
  /// `authorization` (UNAUTHENTICATED where that is not enough), W3C `traceparent` (none, or nonsense: `traces` draws
  /// whether it is sampled) and `tracestate`, and `x-portico-key` (INVALID_ARGUMENT beyond 256 bytes).
  absl::Status Start(absl::FunctionRef<absl::string_view(absl::string_view name)> header, Deadline deadline);

  /// The same where the door has found out already who sends it; null: nobody that may (UNAUTHENTICATED).
  absl::Status StartFor(const Tenant* tenant, absl::FunctionRef<absl::string_view(absl::string_view name)> header,
                        Deadline deadline);

  const Ref<RequestContext>& context() const { return context_; }
  /// Where portals were answered by a fallback: which, to tell the client ("hub/enc=defaults"); empty nearly always.
  std::string Fallbacks() const { return context_->fallbacks.Joined(); }
  /// Where rows were answered by something else than a portal's target, or not at all: which, to tell the client
  /// (RowNotes::Joined()); empty nearly always.
  std::string NotedRows() const { return context_->row_notes.Joined(); }
  /// The arm of a traffic split that answered, to tell the client; empty where there was none.
  absl::string_view Arm() const { return context_->arm ? context_->arm->name() : absl::string_view(); }
  /// The client has gone. From any thread.
  void Cancel() const { context_->Cancel(); }

  /// Ends the root span and has the request's spans kept where it was sampled or slow. Returns the `traceparent` to
  /// answer with; empty where the client did not ask for a trace. `error`: what the client is told ("HTTP 404"), empty
  /// where all is well. Call it once, when the request has finished.
  std::string Finish(absl::string_view error);
  std::string Finish(const absl::Status& status) { return Finish(ErrorName(status)); }

 private:
  void StartTrace(absl::string_view traceparent, absl::string_view tracestate);

  const Entrance& entrance_;
  const Ref<RequestContext> context_ = MakeRef<RequestContext>();
  uint64_t caller_span_id_ = 0;
  /// The client has sampled it.
  bool answers_traceparent_ = false;
  absl::Time start_;
};

}  // namespace portico
