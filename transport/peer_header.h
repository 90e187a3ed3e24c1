#pragma once

#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

/// What the header says of one tensor.
struct TensorMeta {
  absl::string_view name;
  DType dtype = DType::kInvalid;
  Shape shape;
  uint64_t bytes = 0;
};

/// An output that a caller expects, for servers whose answers don't say all of it.
struct WantedOutput {
  std::string name;
  DType dtype = DType::kInvalid;
  /// As far as it is known: extents below 0 are not.
  Shape shape;
};

struct ServedEntry {
  absl::string_view name;
  int64_t version = 0;
  absl::string_view digest;
};

struct WireSpan {
  uint64_t span_id = 0;
  uint64_t parent_span_id = 0;
  absl::string_view name;
  absl::string_view node;
  int64_t start_us = 0;
  uint64_t duration_ns = 0;
  absl::string_view error;
  /// Encoded, so that headers stay flat: wire_span.h reads and writes it.
  absl::string_view attributes = {};
};

struct RowStatus {
  uint64_t row = 0;
  uint32_t code = 0;
  absl::string_view message;
  /// Encoded: wire_row_notes.h reads and writes them.
  absl::string_view ranges = {};
  absl::string_view portal = {};
  absl::string_view kind = {};
};

/// proto/peer.proto's Header as a plain struct: field for field, with views instead of strings, so that neither
/// encoding nor decoding allocates in the ordinary case. Views of a decoded header point into the bytes it was decoded
/// from.
struct PeerHeader {
  enum class Kind : uint8_t { kUnknown = 0, kHello = 1, kCall = 2, kReply = 3, kCancel = 4, kGoaway = 5 };
  static constexpr uint32_t kProtocol = 1;

  uint32_t protocol = kProtocol;
  Kind kind = Kind::kUnknown;
  uint64_t call_id = 0;

  absl::string_view servable;
  /// −1: unset.
  int64_t version = -1;
  /// 32 bytes or empty.
  absl::string_view digest;
  uint64_t revision = 0;
  uint64_t map_epoch = 0;
  absl::string_view signature;
  /// Remaining time; 0: no limit.
  uint64_t timeout_us = 0;
  uint64_t trace_id_high = 0;
  uint64_t trace_id_low = 0;
  uint64_t parent_span_id = 0;
  bool sampled = false;
  absl::string_view trace_state;
  uint64_t key = 0;
  uint64_t draw = 0;
  bool shadow = false;
  absl::string_view tenant;
  absl::string_view product;
  int32_t priority = 0;
  uint32_t hop = 0;
  uint32_t attempt = 0;
  absl::InlinedVector<TensorMeta, 4> tensors;
  /// Of a call, for channels to foreign servers; never travels.
  absl::Span<const WantedOutput> wanted;

  uint32_t code = 0;
  absl::string_view message;
  absl::InlinedVector<RowStatus, 1> row_status;
  absl::InlinedVector<absl::string_view, 1> notes;
  absl::InlinedVector<WireSpan, 1> spans;

  uint64_t incarnation = 0;
  absl::string_view node;
  /// 0: no promise.
  uint32_t pace_ms = 0;
  absl::InlinedVector<ServedEntry, 1> served;
  bool lists_all = false;
};

/// Limits on what a peer may say; checked before memory is taken.
struct PeerLimits {
  uint32_t max_tensors = 256;
  uint32_t max_rank = 32;
  uint64_t max_header_bytes = 1 << 20;
  uint64_t max_frame_bytes = uint64_t{1} << 30;
  uint64_t max_message_bytes = uint64_t{2} << 30;
};

/// Appends the header in protobuf's wire format. Fields at their default are left out.
void EncodeHeader(const PeerHeader& header, std::string* out);

/// What a transport fills into a caller's header.
struct PeerEnvelope {
  PeerHeader::Kind kind = PeerHeader::Kind::kUnknown;
  uint64_t call_id = 0;
  uint64_t timeout_us = 0;
  /// Their dtypes, shapes and bytes; names are those of `header.tensors`, by position.
  absl::Span<const Tensor> tensors;
};

/// As above, with the envelope's values in place of the header's own: spares a transport the copy of a caller's header.
/// REQUIRES: header.tensors is empty or has one entry per tensor.
void EncodeHeader(const PeerHeader& header, const PeerEnvelope& envelope, std::string* out);

/// INVALID_ARGUMENT when a message of these tensors would be refused by a peer with these limits. Senders check, so
/// that a message that is too large fails its own call and not its connection. `what` names the message in the error.
absl::Status CheckSendable(absl::string_view what, const PeerHeader& header, absl::Span<const Tensor> tensors,
                           const PeerLimits& limits);

/// INVALID_ARGUMENT for what is not a Header, of a protocol this build does not speak, or beyond `limits`; unknown
/// fields are skipped. Checks that each tensor's bytes fit its dtype and shape (strings: at least the offsets).
absl::Status DecodeHeader(absl::string_view bytes, const PeerLimits& limits, PeerHeader* header);

}  // namespace portico
