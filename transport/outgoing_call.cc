#include "transport/outgoing_call.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

absl::StatusOr<OutgoingCall> OutgoingCall::Encode(const PeerHeader& header, uint64_t call_id,
                                                  absl::Span<const Tensor> tensors, Deadline deadline,
                                                  const PeerLimits& limits, const Clock& clock,
                                                  absl::string_view endpoint) {
  RETURN_IF_ERROR(CheckSendable("call", header, tensors, limits));
  OutgoingCall call;
  uint64_t timeout_us = 0;
  if (!deadline.infinite()) {
    const absl::Duration left = deadline.Remaining(clock);
    if (left == absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat("peer '", endpoint, "': got a call whose deadline has passed; the call was not sent"));
    }
    timeout_us = static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Microseconds(left), 1));
    call.deadline_ns = absl::ToUnixNanos(deadline.at());
  }
  static thread_local std::string encoded;
  encoded.clear();
  EncodeHeader(header, {PeerHeader::Kind::kCall, call_id, timeout_us, tensors}, &encoded);
  if (encoded.size() > limits.max_header_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("call: got a header of ", encoded.size(), " bytes, want at most ", limits.max_header_bytes));
  }
  call.header = encoded;
  call.bytes = encoded.size();
  for (const Tensor& tensor : tensors) call.bytes += tensor.bytes().size();
  return call;
}

}  // namespace portico
