#include "transport/call_refusal.h"

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

absl::string_view Sent(bool sent) { return sent ? "; the call was sent" : "; the call was not sent"; }

}  // namespace

absl::Status CallRefusal::NoConnection(absl::string_view why) const {
  return absl::UnavailableError(absl::StrCat("peer '", endpoint_, "': got no connection, want one; ", why,
                                             ", it is being made again; the call was not sent"));
}

absl::Status CallRefusal::Leaving() const {
  return absl::UnavailableError(
      absl::StrCat("peer '", endpoint_, "': got a call, want none; the node is going away; the call was not sent"));
}

absl::Status CallRefusal::TooManyCalls(uint64_t calls, uint64_t max_calls) const {
  return absl::ResourceExhaustedError(absl::StrCat("peer '", endpoint_, "': got ", calls,
                                                   " calls in flight, want at most ", max_calls,
                                                   " (max_calls); retry later or elsewhere"));
}

absl::Status CallRefusal::TooManyBytes(uint64_t bytes, uint64_t in_flight, uint64_t max_bytes) const {
  return absl::ResourceExhaustedError(absl::StrCat("peer '", endpoint_, "': got ", bytes, " bytes beside ", in_flight,
                                                   " in flight, want at most ", max_bytes,
                                                   " (max_bytes); retry later or elsewhere"));
}

absl::Status CallRefusal::Cancelled() const {
  return absl::CancelledError(absl::StrCat("peer '", endpoint_, "': the caller cancelled the call"));
}

absl::Status CallRefusal::Expired(bool sent) const {
  return absl::DeadlineExceededError(
      absl::StrCat("peer '", endpoint_, "': got no answer within the call's deadline", Sent(sent)));
}

absl::Status CallRefusal::Failed(absl::StatusCode code, absl::string_view why, bool sent) const {
  return absl::Status(code, absl::StrCat("peer '", endpoint_, "': ", why, Sent(sent)));
}

}  // namespace portico
