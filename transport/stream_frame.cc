#include "transport/stream_frame.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace portico {
namespace {

constexpr size_t kBlockBytes = 16 << 10;

}  // namespace

void StreamPrefix::Store(char* at) const {
  std::memcpy(at, kMagic, sizeof(kMagic));
  std::memcpy(at + 4, &header_bytes, 4);
  std::memcpy(at + 8, &inline_bytes, 4);
  std::memcpy(at + 12, &frames, 4);
}

bool StreamPrefix::Load(const char* at) {
  std::memcpy(&header_bytes, at + 4, 4);
  std::memcpy(&inline_bytes, at + 8, 4);
  std::memcpy(&frames, at + 12, 4);
  return std::memcmp(at, kMagic, sizeof(kMagic)) == 0;
}

char* StreamQueue::Extend(size_t size) {
  bytes_ += size;
  if (pieces_.size() > first_) {
    Piece& last = pieces_.back();
    if (last.block) {
      char* const end = const_cast<char*>(last.at) + last.size;
      if (end + size <= last.block.get() + last.capacity) {
        last.size += size;
        return end;
      }
    }
  }
  Piece piece;
  if (size <= kBlockBytes) {
    piece.block = spare_ ? std::move(spare_) : std::unique_ptr<char[]>(new char[kBlockBytes]);
    piece.capacity = kBlockBytes;
  } else {
    piece.block.reset(new char[size]);
    piece.capacity = size;
  }
  piece.at = piece.block.get();
  piece.size = size;
  char* const at = piece.block.get();
  pieces_.push_back(std::move(piece));
  return at;
}

void StreamQueue::Append(absl::string_view header, absl::Span<const Tensor> tensors) {
  StreamPrefix prefix{static_cast<uint32_t>(header.size()), 0, 0};
  for (const Tensor& tensor : tensors) {
    const size_t size = tensor.bytes().size();
    if (size > kStreamInlineBytes) {
      ++prefix.frames;
    } else {
      prefix.inline_bytes += static_cast<uint32_t>(StreamPadded(size));
    }
  }
  char* at = Extend(StreamPrefix::kBytes + StreamPadded(header.size()) + prefix.inline_bytes);
  prefix.Store(at);
  at += StreamPrefix::kBytes;
  const auto put = [&at](absl::string_view bytes) {
    if (bytes.empty()) return;
    const size_t padded = StreamPadded(bytes.size());
    std::memset(at + padded - 8, 0, 8);
    std::memcpy(at, bytes.data(), bytes.size());
    at += padded;
  };
  put(header);
  for (const Tensor& tensor : tensors) {
    if (tensor.bytes().size() <= kStreamInlineBytes) put(tensor.bytes());
  }
  if (prefix.frames == 0) return;
  for (const Tensor& tensor : tensors) {
    const absl::string_view bytes = tensor.bytes();
    if (bytes.size() <= kStreamInlineBytes) continue;
    Piece piece;
    // Memory that nobody owns for us has to be ours before the caller goes on.
    piece.tensor = tensor.origin() ? tensor : Tensor::CopyOf(tensor.dtype(), tensor.shape(), bytes);
    piece.at = piece.tensor.bytes().data();
    piece.size = bytes.size();
    bytes_ += bytes.size();
    pieces_.push_back(std::move(piece));
    if (const size_t padding = StreamPadded(bytes.size()) - bytes.size(); padding != 0) {
      std::memset(Extend(padding), 0, padding);
    }
  }
}

int StreamQueue::Pieces(iovec* out, int most) const {
  int count = 0;
  for (size_t i = first_; i < pieces_.size() && count < most; ++i, ++count) {
    out[count] = {const_cast<char*>(pieces_[i].at), pieces_[i].size};
  }
  return count;
}

StreamQueue::Front StreamQueue::front() const {
  const Piece& piece = pieces_[first_];
  const bool tensor = !piece.block;
  return {piece.at, piece.size, tensor, tensor && piece.size == piece.tensor.bytes().size()};
}

void StreamQueue::Consume(size_t size) {
  bytes_ -= size;
  while (size > 0) {
    Piece& piece = pieces_[first_];
    const size_t step = std::min(size, piece.size);
    piece.at += step;
    piece.size -= step;
    size -= step;
    if (piece.size != 0) return;
    if (piece.block && piece.capacity == kBlockBytes) spare_ = std::move(piece.block);
    piece = Piece();
    ++first_;
  }
  if (first_ == pieces_.size()) {
    pieces_.clear();
    first_ = 0;
  }
}

void StreamQueue::Clear() {
  pieces_.clear();
  first_ = 0;
  bytes_ = 0;
}

}  // namespace portico
