#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "transport/peer_header.h"
#include "transport/transport.h"

namespace portico {

inline PeerHeader ErrorReply(absl::StatusCode code, absl::string_view message) {
  PeerHeader header;
  header.code = static_cast<uint32_t>(code);
  header.message = message;
  return header;
}

/// Encodes a reply to `out`; one that the limits do not allow becomes an INTERNAL error, and loses its `tensors`.
inline void EncodeReply(const PeerHeader& header, uint64_t call_id, const PeerLimits& limits,
                        absl::Span<const Tensor>* tensors, std::string* out) {
  out->clear();
  absl::Status sendable = CheckSendable("reply", header, *tensors, limits);
  if (sendable.ok()) {
    EncodeHeader(header, {PeerHeader::Kind::kReply, call_id, 0, *tensors}, out);
    if (out->size() <= limits.max_header_bytes) return;
    sendable = absl::InternalError(
        absl::StrCat("reply: got a header of ", out->size(), " bytes, want at most ", limits.max_header_bytes));
  }
  out->clear();
  *tensors = {};
  EncodeHeader(ErrorReply(absl::StatusCode::kInternal, sendable.message()), {PeerHeader::Kind::kReply, call_id, 0, {}},
               out);
}

/// The right to answer one call of `Peer`, which has Reply(call_id, header, tensors). Answers INTERNAL where it is
/// dropped. As small as it is, it fits into an AnyInvocable without an allocation.
template <typename Peer>
class ReplyTicket {
 public:
  ReplyTicket(Ref<Peer> peer, uint64_t call_id) : peer_(std::move(peer)), call_id_(call_id) {}
  ReplyTicket(ReplyTicket&&) noexcept = default;
  ReplyTicket& operator=(ReplyTicket&&) = delete;
  ~ReplyTicket() {
    if (peer_) Answer(ErrorReply(absl::StatusCode::kInternal, "call: the server dropped it without an answer"), {});
  }
  void operator()(const PeerHeader& header, absl::Span<const Tensor> tensors) {
    if (peer_) Answer(header, tensors);
  }

 private:
  void Answer(const PeerHeader& header, absl::Span<const Tensor> tensors) {
    const Ref<Peer> peer = std::move(peer_);
    peer->Reply(call_id_, header, tensors);
  }

  Ref<Peer> peer_;
  uint64_t call_id_;
};

}  // namespace portico
