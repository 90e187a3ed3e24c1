#include "transport/peer_header.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"

namespace portico {
namespace {

// Every entry of a repeated field takes at least two bytes on the wire but up to a hundred in memory.
constexpr size_t kMaxRepeated = 1 << 16;
constexpr size_t kDigestBytes = 32;

// --- Encoding ---

uint64_t BytesFieldSize(uint64_t length) { return 1 + WireWriter::VarintSize(length) + length; }
uint64_t BytesFieldSizeOrNone(absl::string_view value) { return value.empty() ? 0 : BytesFieldSize(value.size()); }
uint64_t VarintFieldSizeOrNone(uint64_t value) { return value == 0 ? 0 : 1 + WireWriter::VarintSize(value); }

void PutVarint(WireWriter& out, uint32_t field, uint64_t value) {
  if (value != 0) out.Varint(field, value);
}
void PutFixed64(WireWriter& out, uint32_t field, uint64_t value) {
  if (value != 0) out.Fixed64(field, value);
}
void PutBytes(WireWriter& out, uint32_t field, absl::string_view value) {
  if (!value.empty()) out.Bytes(field, value);
}

uint64_t ZigZag(int64_t value) { return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63); }

// A version of −1 means unset and is left out; v travels as v + 1.
uint64_t WireVersion(int64_t version) { return static_cast<uint64_t>(version) + 1; }
int64_t VersionOf(uint64_t wire) { return static_cast<int64_t>(wire - 1); }

void PutTensor(WireWriter& out, absl::string_view name, DType dtype, const Shape& shape, uint64_t bytes) {
  uint64_t extents = 0;
  for (const int64_t extent : shape) extents += WireWriter::VarintSize(static_cast<uint64_t>(extent));
  const auto type = static_cast<uint64_t>(dtype);
  out.BytesHeader(20, BytesFieldSizeOrNone(name) + VarintFieldSizeOrNone(type) +
                          (shape.empty() ? 0 : BytesFieldSize(extents)) + VarintFieldSizeOrNone(bytes));
  PutBytes(out, 1, name);
  PutVarint(out, 2, type);
  if (!shape.empty()) {
    out.BytesHeader(3, extents);
    for (const int64_t extent : shape) out.RawVarint(static_cast<uint64_t>(extent));
  }
  PutVarint(out, 4, bytes);
}

void PutRowStatus(WireWriter& out, const RowStatus& row) {
  out.BytesHeader(23, VarintFieldSizeOrNone(row.row) + VarintFieldSizeOrNone(row.code) +
                          BytesFieldSizeOrNone(row.message) + BytesFieldSizeOrNone(row.ranges) +
                          BytesFieldSizeOrNone(row.portal) + BytesFieldSizeOrNone(row.kind));
  PutVarint(out, 1, row.row);
  PutVarint(out, 2, row.code);
  PutBytes(out, 3, row.message);
  PutBytes(out, 4, row.ranges);
  PutBytes(out, 5, row.portal);
  PutBytes(out, 6, row.kind);
}

void PutSpan(WireWriter& out, const WireSpan& span) {
  out.BytesHeader(25, (span.span_id != 0 ? 9 : 0) + (span.parent_span_id != 0 ? 9 : 0) +
                          BytesFieldSizeOrNone(span.name) + BytesFieldSizeOrNone(span.node) +
                          VarintFieldSizeOrNone(static_cast<uint64_t>(span.start_us)) +
                          VarintFieldSizeOrNone(span.duration_ns) + BytesFieldSizeOrNone(span.error) +
                          BytesFieldSizeOrNone(span.attributes));
  PutFixed64(out, 1, span.span_id);
  PutFixed64(out, 2, span.parent_span_id);
  PutBytes(out, 3, span.name);
  PutBytes(out, 4, span.node);
  PutVarint(out, 5, static_cast<uint64_t>(span.start_us));
  PutVarint(out, 6, span.duration_ns);
  PutBytes(out, 7, span.error);
  PutBytes(out, 8, span.attributes);
}

void PutServed(WireWriter& out, const ServedEntry& served) {
  const auto version = static_cast<uint64_t>(served.version);
  out.BytesHeader(
      28, BytesFieldSizeOrNone(served.name) + VarintFieldSizeOrNone(version) + BytesFieldSizeOrNone(served.digest));
  PutBytes(out, 1, served.name);
  PutVarint(out, 2, version);
  PutBytes(out, 3, served.digest);
}

void PutBeforeTensors(WireWriter& out, const PeerHeader& header, PeerHeader::Kind kind, uint64_t call_id,
                      uint64_t timeout_us) {
  PutVarint(out, 1, header.protocol);
  PutVarint(out, 2, static_cast<uint64_t>(kind));
  PutVarint(out, 3, call_id);
  PutBytes(out, 4, header.servable);
  PutVarint(out, 5, WireVersion(header.version));
  PutBytes(out, 6, header.digest);
  PutVarint(out, 7, header.revision);
  PutVarint(out, 8, header.map_epoch);
  PutBytes(out, 9, header.signature);
  PutVarint(out, 10, timeout_us);
  PutFixed64(out, 11, header.trace_id_high);
  PutFixed64(out, 12, header.trace_id_low);
  PutFixed64(out, 13, header.parent_span_id);
  PutVarint(out, 14, header.sampled ? 1 : 0);
  PutBytes(out, 15, header.tenant);
  PutBytes(out, 16, header.product);
  PutVarint(out, 17, ZigZag(header.priority));
  PutVarint(out, 18, header.hop);
  PutVarint(out, 19, header.attempt);
}

void PutAfterTensors(WireWriter& out, const PeerHeader& header) {
  PutVarint(out, 21, header.code);
  PutBytes(out, 22, header.message);
  for (const RowStatus& row : header.row_status) PutRowStatus(out, row);
  for (const absl::string_view note : header.notes) out.Bytes(24, note);
  for (const WireSpan& span : header.spans) PutSpan(out, span);
  PutVarint(out, 26, header.incarnation);
  PutBytes(out, 27, header.node);
  for (const ServedEntry& served : header.served) PutServed(out, served);
  PutBytes(out, 29, header.trace_state);
  PutFixed64(out, 30, header.key);
  PutFixed64(out, 31, header.draw);
  PutVarint(out, 32, header.shadow ? 1 : 0);
  PutVarint(out, 33, header.lists_all ? 1 : 0);
  PutVarint(out, 40, header.pace_ms);
}

// --- Decoding ---

// Field and type as one number, so that a known field of another type is skipped as protobuf skips it.
constexpr uint32_t Tag(uint32_t field, WireReader::Type type) { return field << 3 | static_cast<uint32_t>(type); }
constexpr auto kVarint = WireReader::Type::kVarint;
constexpr auto kFixed64 = WireReader::Type::kFixed64;
constexpr auto kBytes = WireReader::Type::kBytes;
uint32_t TagOf(const WireReader& in) { return Tag(in.field(), in.type()); }

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("header: got ", what, " that is not of the protobuf wire format"));
}

absl::Status OverLimit(absl::string_view what, uint64_t got, uint64_t limit) {
  return absl::InvalidArgumentError(absl::StrCat("header: got ", got, " ", what, ", want at most ", limit));
}

absl::Status AddExtent(uint64_t extent, const PeerLimits& limits, Shape* shape) {
  if (shape->size() >= limits.max_rank) return OverLimit("dimensions of a tensor", shape->size() + 1, limits.max_rank);
  shape->push_back(static_cast<int64_t>(extent));
  return absl::OkStatus();
}

absl::Status CheckTensorBytes(const TensorMeta& tensor, const PeerLimits& limits) {
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(tensor.shape));
  if (tensor.bytes > limits.max_frame_bytes)
    return OverLimit("bytes of a tensor", tensor.bytes, limits.max_frame_bytes);
  if (tensor.dtype == DType::kString) {
    // At most 2^60 elements, so this does not overflow.
    if (const uint64_t offsets = (elements + 1) * sizeof(uint64_t); tensor.bytes < offsets) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "': got ", tensor.bytes,
                                                     " bytes, want at least ", offsets, " for the offsets of string",
                                                     ShapeString(tensor.shape)));
    }
  } else if (const uint64_t want = BytesFor(tensor.dtype, elements); tensor.bytes != want) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "': got ", tensor.bytes, " bytes, want ",
                                                   want, " for ", DTypeName(tensor.dtype), ShapeString(tensor.shape)));
  }
  return absl::OkStatus();
}

absl::Status DecodeTensor(absl::string_view bytes, const PeerLimits& limits, TensorMeta* tensor) {
  uint64_t dtype = 0;
  WireReader in(bytes);
  while (in.Next()) {
    switch (TagOf(in)) {
      case Tag(1, kBytes):
        tensor->name = in.Bytes();
        break;
      case Tag(2, kVarint):
        dtype = in.Varint();
        break;
      case Tag(3, kBytes): {
        absl::string_view packed = in.Bytes();
        while (!packed.empty()) {
          uint64_t extent = 0;
          if (!ConsumeVarint(&packed, &extent)) return Malformed("a shape");
          RETURN_IF_ERROR(AddExtent(extent, limits, &tensor->shape));
        }
        break;
      }
      case Tag(3, kVarint):
        RETURN_IF_ERROR(AddExtent(in.Varint(), limits, &tensor->shape));
        break;
      case Tag(4, kVarint):
        tensor->bytes = in.Varint();
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed("a tensor");
  ASSIGN_OR_RETURN(tensor->dtype, DTypeFromNumber(static_cast<int64_t>(static_cast<uint32_t>(dtype))));
  return CheckTensorBytes(*tensor, limits);
}

bool DecodeRowStatus(absl::string_view bytes, RowStatus* row) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (TagOf(in)) {
      case Tag(1, kVarint):
        row->row = in.Varint();
        break;
      case Tag(2, kVarint):
        row->code = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(3, kBytes):
        row->message = in.Bytes();
        break;
      case Tag(4, kBytes):
        row->ranges = in.Bytes();
        break;
      case Tag(5, kBytes):
        row->portal = in.Bytes();
        break;
      case Tag(6, kBytes):
        row->kind = in.Bytes();
        break;
      default:
        break;
    }
  }
  return !in.failed();
}

bool DecodeSpan(absl::string_view bytes, WireSpan* span) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (TagOf(in)) {
      case Tag(1, kFixed64):
        span->span_id = in.Fixed64();
        break;
      case Tag(2, kFixed64):
        span->parent_span_id = in.Fixed64();
        break;
      case Tag(3, kBytes):
        span->name = in.Bytes();
        break;
      case Tag(4, kBytes):
        span->node = in.Bytes();
        break;
      case Tag(5, kVarint):
        span->start_us = in.Int();
        break;
      case Tag(6, kVarint):
        span->duration_ns = in.Varint();
        break;
      case Tag(7, kBytes):
        span->error = in.Bytes();
        break;
      case Tag(8, kBytes):
        span->attributes = in.Bytes();
        break;
      default:
        break;
    }
  }
  return !in.failed();
}

bool DecodeServed(absl::string_view bytes, ServedEntry* served) {
  WireReader in(bytes);
  while (in.Next()) {
    switch (TagOf(in)) {
      case Tag(1, kBytes):
        served->name = in.Bytes();
        break;
      case Tag(2, kVarint):
        served->version = in.Int();
        break;
      case Tag(3, kBytes):
        served->digest = in.Bytes();
        break;
      default:
        break;
    }
  }
  return !in.failed() && (served->digest.empty() || served->digest.size() == kDigestBytes);
}

// Adds one entry to a repeated field. Null when the field is full.
template <typename List>
auto* Next(List& list) {
  return list.size() < kMaxRepeated ? &list.emplace_back() : nullptr;
}

PeerHeader::Kind KindOf(uint64_t number) {
  // Kinds of later versions are for the receiver to ignore, not an error.
  return number <= static_cast<uint64_t>(PeerHeader::Kind::kGoaway) ? static_cast<PeerHeader::Kind>(number)
                                                                    : PeerHeader::Kind::kUnknown;
}

absl::Status DecodeRepeated(WireReader& in, const PeerLimits& limits, PeerHeader* header) {
  switch (TagOf(in)) {
    case Tag(20, kBytes):
      if (header->tensors.size() >= limits.max_tensors) {
        return OverLimit("tensors", header->tensors.size() + 1, limits.max_tensors);
      }
      return DecodeTensor(in.Bytes(), limits, &header->tensors.emplace_back());
    case Tag(23, kBytes): {
      RowStatus* row = Next(header->row_status);
      return row != nullptr && DecodeRowStatus(in.Bytes(), row) ? absl::OkStatus() : Malformed("a row's status");
    }
    case Tag(24, kBytes): {
      absl::string_view* note = Next(header->notes);
      if (note == nullptr) return OverLimit("notes", kMaxRepeated + 1, kMaxRepeated);
      *note = in.Bytes();
      return absl::OkStatus();
    }
    case Tag(25, kBytes): {
      WireSpan* span = Next(header->spans);
      return span != nullptr && DecodeSpan(in.Bytes(), span) ? absl::OkStatus() : Malformed("a span");
    }
    case Tag(28, kBytes): {
      ServedEntry* served = Next(header->served);
      return served != nullptr && DecodeServed(in.Bytes(), served) ? absl::OkStatus() : Malformed("a served entry");
    }
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckHeader(const PeerHeader& header, const PeerLimits& limits) {
  if (header.protocol != PeerHeader::kProtocol) {
    return absl::InvalidArgumentError(absl::StrCat("header: got protocol ", header.protocol, ", want ",
                                                   PeerHeader::kProtocol,
                                                   "; the peer is not a node or of another release"));
  }
  if (!header.digest.empty() && header.digest.size() != kDigestBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("header: got a digest of ", header.digest.size(), " bytes, want ", kDigestBytes));
  }
  if (header.version < -1) {
    return absl::InvalidArgumentError(
        absl::StrCat("header: got version ", header.version, ", want 0 or more, or none"));
  }
  uint64_t total = 0;
  for (const TensorMeta& tensor : header.tensors) {
    total += tensor.bytes;
    if (total > limits.max_message_bytes) return OverLimit("bytes of all tensors", total, limits.max_message_bytes);
  }
  return absl::OkStatus();
}

}  // namespace

void EncodeHeader(const PeerHeader& header, std::string* out) {
  WireWriter writer(out);
  PutBeforeTensors(writer, header, header.kind, header.call_id, header.timeout_us);
  for (const TensorMeta& tensor : header.tensors) {
    PutTensor(writer, tensor.name, tensor.dtype, tensor.shape, tensor.bytes);
  }
  PutAfterTensors(writer, header);
}

void EncodeHeader(const PeerHeader& header, const PeerEnvelope& envelope, std::string* out) {
  WireWriter writer(out);
  PutBeforeTensors(writer, header, envelope.kind, envelope.call_id, envelope.timeout_us);
  for (size_t i = 0; i < envelope.tensors.size(); ++i) {
    const Tensor& tensor = envelope.tensors[i];
    PutTensor(writer, header.tensors.empty() ? absl::string_view() : header.tensors[i].name, tensor.dtype(),
              tensor.shape(), tensor.bytes().size());
  }
  PutAfterTensors(writer, header);
}

absl::Status CheckSendable(absl::string_view what, const PeerHeader& header, absl::Span<const Tensor> tensors,
                           const PeerLimits& limits) {
  if (!header.tensors.empty() && header.tensors.size() != tensors.size()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": got ", header.tensors.size(), " names for ", tensors.size(),
                                                   " tensors, want one each or none"));
  }
  if (tensors.size() > limits.max_tensors) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": got ", tensors.size(), " tensors, want at most ", limits.max_tensors));
  }
  uint64_t total = 0;
  for (const Tensor& tensor : tensors) {
    const uint64_t bytes = tensor.bytes().size();
    total += bytes;
    if (!tensor.valid()) return absl::InvalidArgumentError(absl::StrCat(what, ": got a tensor without a type"));
    if (tensor.shape().size() > limits.max_rank) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": got a tensor of rank ", tensor.shape().size(), ", want at most ", limits.max_rank));
    }
    if (bytes > limits.max_frame_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": got a tensor of ", bytes, " bytes, want at most ", limits.max_frame_bytes));
    }
  }
  if (total > limits.max_message_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": got ", total, " bytes of tensors, want at most ", limits.max_message_bytes));
  }
  return absl::OkStatus();
}

absl::Status DecodeHeader(absl::string_view bytes, const PeerLimits& limits, PeerHeader* header) {
  if (bytes.size() > limits.max_header_bytes) return OverLimit("bytes", bytes.size(), limits.max_header_bytes);
  *header = PeerHeader();
  header->protocol = 0;
  WireReader in(bytes);
  while (in.Next()) {
    switch (TagOf(in)) {
      case Tag(1, kVarint):
        header->protocol = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(2, kVarint):
        header->kind = KindOf(in.Varint());
        break;
      case Tag(3, kVarint):
        header->call_id = in.Varint();
        break;
      case Tag(4, kBytes):
        header->servable = in.Bytes();
        break;
      case Tag(5, kVarint):
        header->version = VersionOf(in.Varint());
        break;
      case Tag(6, kBytes):
        header->digest = in.Bytes();
        break;
      case Tag(7, kVarint):
        header->revision = in.Varint();
        break;
      case Tag(8, kVarint):
        header->map_epoch = in.Varint();
        break;
      case Tag(9, kBytes):
        header->signature = in.Bytes();
        break;
      case Tag(10, kVarint):
        header->timeout_us = in.Varint();
        break;
      case Tag(11, kFixed64):
        header->trace_id_high = in.Fixed64();
        break;
      case Tag(12, kFixed64):
        header->trace_id_low = in.Fixed64();
        break;
      case Tag(13, kFixed64):
        header->parent_span_id = in.Fixed64();
        break;
      case Tag(14, kVarint):
        header->sampled = in.Bool();
        break;
      case Tag(15, kBytes):
        header->tenant = in.Bytes();
        break;
      case Tag(16, kBytes):
        header->product = in.Bytes();
        break;
      case Tag(17, kVarint): {
        const auto raw = static_cast<uint32_t>(in.Varint());
        header->priority = static_cast<int32_t>(raw >> 1 ^ (0 - (raw & 1)));
        break;
      }
      case Tag(18, kVarint):
        header->hop = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(19, kVarint):
        header->attempt = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(21, kVarint):
        header->code = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(22, kBytes):
        header->message = in.Bytes();
        break;
      case Tag(26, kVarint):
        header->incarnation = in.Varint();
        break;
      case Tag(27, kBytes):
        header->node = in.Bytes();
        break;
      case Tag(40, kVarint):
        header->pace_ms = static_cast<uint32_t>(in.Varint());
        break;
      case Tag(29, kBytes):
        header->trace_state = in.Bytes();
        break;
      case Tag(30, kFixed64):
        header->key = in.Fixed64();
        break;
      case Tag(31, kFixed64):
        header->draw = in.Fixed64();
        break;
      case Tag(32, kVarint):
        header->shadow = in.Bool();
        break;
      case Tag(33, kVarint):
        header->lists_all = in.Bool();
        break;
      default:
        RETURN_IF_ERROR(DecodeRepeated(in, limits, header));
        break;
    }
  }
  if (in.failed()) return Malformed("bytes");
  return CheckHeader(*header, limits);
}

}  // namespace portico
