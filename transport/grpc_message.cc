#include "transport/grpc_message.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"

namespace portico {
namespace {

/// A tensor of at most so many bytes is copied behind the header: cheaper than a slice of its own.
constexpr size_t kCopyBytes = 4096;

/// A slice that owns a share of the tensor's memory.
grpc::Slice Share(const Tensor& tensor) {
  return grpc::Slice(
      const_cast<char*>(tensor.bytes().data()), tensor.bytes().size(),
      [](void* origin) { delete static_cast<Ref<TensorOrigin>*>(origin); }, new Ref<TensorOrigin>(tensor.origin()));
}

/// A received message's slices, and its header where that had to be joined.
class SliceOrigin final : public TensorOrigin {
 public:
  explicit SliceOrigin(size_t bytes) : TensorOrigin(bytes) {}
  std::vector<grpc::Slice> slices;
  std::string header;
};

/// Memory of one tensor that lay in several slices.
class JoinedBytes final : public TensorOrigin {
 public:
  explicit JoinedBytes(size_t bytes) : TensorOrigin(bytes), data(new char[bytes]) {}
  const std::unique_ptr<char[]> data;
};

/// Reads slices from the front. REQUIRES of all reads: at most left() bytes.
class SliceCursor {
 public:
  SliceCursor(const std::vector<grpc::Slice>& slices, size_t bytes) : slices_(slices), left_(bytes) { SkipEmpty(); }

  size_t left() const { return left_; }
  /// The next `bytes` where they lie in one slice; otherwise null, and nothing is read.
  const char* TakeWhole(size_t bytes) {
    if (bytes == 0) return "";
    if (slices_[slice_].size() - offset_ < bytes) return nullptr;
    const char* at = reinterpret_cast<const char*>(slices_[slice_].begin()) + offset_;
    Advance(bytes);
    return at;
  }
  void Copy(size_t bytes, char* out) {
    while (bytes > 0) {
      const size_t piece = std::min(bytes, slices_[slice_].size() - offset_);
      std::memcpy(out, slices_[slice_].begin() + offset_, piece);
      out += piece;
      bytes -= piece;
      Advance(piece);
    }
  }

 private:
  void Advance(size_t bytes) {
    offset_ += bytes;
    left_ -= bytes;
    SkipEmpty();
  }
  void SkipEmpty() {
    while (slice_ < slices_.size() && offset_ == slices_[slice_].size()) {
      ++slice_;
      offset_ = 0;
    }
  }

  const std::vector<grpc::Slice>& slices_;
  size_t slice_ = 0;
  size_t offset_ = 0;
  size_t left_;
};

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("peer message: ", what));
}

absl::StatusOr<uint64_t> ReadHeaderLength(SliceCursor& cursor) {
  uint64_t length = 0;
  for (int shift = 0; shift < 35 && cursor.left() > 0; shift += 7) {
    char byte;
    cursor.Copy(1, &byte);
    length |= (static_cast<uint64_t>(byte) & 0x7f) << shift;
    if ((byte & 0x80) == 0) return length;
  }
  return Malformed("got no length of the header, want a varint");
}

absl::StatusOr<Tensor> ReadTensor(const TensorMeta& meta, SliceCursor& cursor, const Ref<SliceOrigin>& origin) {
  if (const char* whole = cursor.TakeWhole(meta.bytes)) {
    return Tensor::View(meta.dtype, meta.shape, {whole, meta.bytes}, origin);
  }
  auto joined = MakeRef<JoinedBytes>(meta.bytes);
  cursor.Copy(meta.bytes, joined->data.get());
  const absl::string_view bytes(joined->data.get(), meta.bytes);
  return Tensor::View(meta.dtype, meta.shape, bytes, std::move(joined));
}

void Flush(std::string* pending, std::vector<grpc::Slice>* slices) {
  if (pending->empty()) return;
  slices->emplace_back(pending->data(), pending->size());
  pending->clear();
}

}  // namespace

void WriteGrpcMessage(const PeerHeader& header, const PeerEnvelope& envelope, grpc::ByteBuffer* out) {
  static thread_local std::string encoded;
  static thread_local std::string pending;
  encoded.clear();
  pending.clear();
  EncodeHeader(header, envelope, &encoded);
  WireWriter(&pending).RawVarint(encoded.size());
  pending.append(encoded);
  std::vector<grpc::Slice> slices;
  for (const Tensor& tensor : envelope.tensors) {
    if (tensor.bytes().size() <= kCopyBytes) {
      pending.append(tensor.bytes().data(), tensor.bytes().size());
    } else {
      Flush(&pending, &slices);
      slices.push_back(Share(tensor));
    }
  }
  Flush(&pending, &slices);
  *out = grpc::ByteBuffer(slices.data(), slices.size());
}

void WriteGrpcHeader(absl::string_view header, grpc::ByteBuffer* out) {
  std::string bytes;
  WireWriter(&bytes).RawVarint(header.size());
  bytes.append(header.data(), header.size());
  const grpc::Slice slice(bytes);
  *out = grpc::ByteBuffer(&slice, 1);
}

absl::Status ReadGrpcMessage(const grpc::ByteBuffer& buffer, const PeerLimits& limits, PeerMessage* message) {
  // gRPC gave no more than max_message_bytes; nothing below takes more memory than has come.
  auto origin = MakeRef<SliceOrigin>(buffer.Length());
  if (!buffer.Dump(&origin->slices).ok()) return Malformed("got a buffer that cannot be read");
  SliceCursor cursor(origin->slices, buffer.Length());
  ASSIGN_OR_RETURN(const uint64_t length, ReadHeaderLength(cursor));
  if (length > limits.max_header_bytes || length > cursor.left()) {
    return Malformed(absl::StrCat("got a header of ", length, " bytes, want at most ",
                                  std::min<uint64_t>(limits.max_header_bytes, cursor.left())));
  }
  const char* header = cursor.TakeWhole(length);
  if (header == nullptr) {
    origin->header.resize(length);
    cursor.Copy(length, origin->header.data());
    header = origin->header.data();
  }
  RETURN_IF_ERROR(DecodeHeader({header, length}, limits, &message->header));
  uint64_t want = 0;
  for (const TensorMeta& meta : message->header.tensors) {
    want += meta.bytes;
    if (want > cursor.left()) break;
  }
  if (want != cursor.left()) {
    return Malformed(absl::StrCat("got ", cursor.left(), " bytes of tensors, want as many as the header says: ", want));
  }
  message->tensors.reserve(message->header.tensors.size());
  for (const TensorMeta& meta : message->header.tensors) {
    ASSIGN_OR_RETURN(Tensor tensor, ReadTensor(meta, cursor, origin));
    message->tensors.push_back(std::move(tensor));
  }
  message->origin = std::move(origin);
  return absl::OkStatus();
}

}  // namespace portico
