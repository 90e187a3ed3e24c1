#include "transport/stream_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

// Less room than this is not worth a read.
constexpr size_t kMinRead = 4 << 10;
static_assert(StreamLoan::kBytes <= StreamPrefix::kBytes, "there is room for as much at any time");

absl::Status Beyond(absl::string_view what, uint64_t got, uint64_t limit) {
  return absl::InvalidArgumentError(absl::StrCat("stream: got ", got, " ", what, ", want at most ", limit));
}

}  // namespace

void StreamReader::Reset(StreamLender* lender) {
  lender_ = lender;
  greeted_ = false;
  chunk_ = nullptr;
  begin_ = end_ = head_bytes_ = read_ahead_ = 0;
  in_body_ = false;
  message_ = PeerMessage();
  body_ = Tensor();
}

void StreamReader::MakeRoom(size_t bytes) {
  if (!chunk_) {
    chunk_ = buffers_.TakeOpen(&begin_);
    end_ = begin_;
  }
  const size_t room = chunk_->capacity() - begin_;
  if (room >= std::max(bytes, buffered() + kMinRead) || (room >= bytes && buffered() > kMinRead)) return;
  Ref<StreamChunk> next = buffers_.Take(bytes);
  std::memcpy(next->data(), chunk_->data() + begin_, buffered());
  end_ = buffered();
  begin_ = 0;
  chunk_ = std::move(next);
}

int StreamReader::Space(iovec space[2]) {
  int count = 0;
  if (body_.valid()) {
    space[count++] = {body_.mutable_bytes() + filled_, body_bytes_ - filled_};
    MakeRoom(StreamPrefix::kBytes);
  } else {
    MakeRoom(std::max(head_bytes_, StreamPrefix::kBytes));
  }
  size_t room = chunk_->capacity() - end_;
  if (read_ahead_ != 0) {
    const size_t want = std::max(head_bytes_, read_ahead_);
    room = std::min(room, want > buffered() ? want - buffered() : kMinRead);
  }
  if (room != 0) space[count++] = {chunk_->data() + end_, room};
  return count;
}

void StreamReader::Commit(size_t bytes) {
  bytes_ += bytes;
  if (body_.valid()) {
    const size_t of_body = std::min(bytes, body_bytes_ - filled_);
    filled_ += of_body;
    bytes -= of_body;
  }
  end_ += bytes;
}

absl::StatusOr<bool> StreamReader::Next(PeerMessage* message) {
  while (!in_body_) {
    if (head_bytes_ == 0) {
      if (buffered() < StreamPrefix::kBytes) return false;
      RETURN_IF_ERROR(ReadPrefix());
    }
    if (buffered() < head_bytes_) return false;
    ++messages_;
    if (prefix_.header_bytes != 0) {
      RETURN_IF_ERROR(ReadHead());
      begin_ += std::exchange(head_bytes_, 0);
      break;
    }
    begin_ += std::exchange(head_bytes_, 0);  // A heartbeat.
  }
  ASSIGN_OR_RETURN(const bool whole, ReadBody());
  if (whole) *message = std::move(message_);
  return whole;
}

absl::Status StreamReader::ReadPrefix() {
  if (!prefix_.Load(chunk_->data() + begin_)) {
    return absl::InvalidArgumentError("stream: got a message without the magic 'PTS1'; the peer is not a node");
  }
  if (prefix_.header_bytes > limits_.max_header_bytes) {
    return Beyond("bytes of a header", prefix_.header_bytes, limits_.max_header_bytes);
  }
  const bool bare = !greeted_ || prefix_.header_bytes == 0;
  const uint64_t max_tensors = bare ? 0 : limits_.max_tensors;
  if (prefix_.frames > max_tensors) return Beyond("large tensors", prefix_.frames, max_tensors);
  if (prefix_.inline_bytes > max_tensors * kStreamInlineBytes) {
    return Beyond("bytes of small tensors", prefix_.inline_bytes, max_tensors * kStreamInlineBytes);
  }
  head_bytes_ = StreamPrefix::kBytes + StreamPadded(prefix_.header_bytes) + prefix_.inline_bytes;
  return absl::OkStatus();
}

absl::Status StreamReader::ReadHead() {
  const char* at = chunk_->data() + begin_ + StreamPrefix::kBytes;
  message_ = PeerMessage();
  RETURN_IF_ERROR(DecodeHeader({at, prefix_.header_bytes}, limits_, &message_.header));
  at += StreamPadded(prefix_.header_bytes);
  uint64_t inline_bytes = 0;
  uint32_t frames = 0;
  for (const TensorMeta& meta : message_.header.tensors) {
    if (meta.bytes > kStreamInlineBytes) {
      ++frames;
    } else {
      inline_bytes += StreamPadded(meta.bytes);
    }
  }
  if (frames != prefix_.frames || inline_bytes != prefix_.inline_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("stream: got a prefix of ", prefix_.frames, " large tensors and ",
                                                   prefix_.inline_bytes, " bytes of small ones, want the header's ",
                                                   frames, " and ", inline_bytes));
  }
  message_.origin = chunk_;
  message_.tensors.reserve(message_.header.tensors.size());
  for (const TensorMeta& meta : message_.header.tensors) {
    Tensor& tensor = message_.tensors.emplace_back();
    if (meta.bytes > kStreamInlineBytes) continue;
    ASSIGN_OR_RETURN(tensor, Tensor::View(meta.dtype, meta.shape, {at, meta.bytes}, message_.origin));
    at += StreamPadded(meta.bytes);
  }
  read_ahead_ = frames == 0 || lender_ != nullptr ? 0 : head_bytes_;
  in_body_ = true;
  filling_ = 0;
  body_ = Tensor();
  return absl::OkStatus();
}

absl::StatusOr<bool> StreamReader::ReadBody() {
  for (; filling_ < message_.tensors.size(); ++filling_) {
    const TensorMeta& meta = message_.header.tensors[filling_];
    if (meta.bytes <= kStreamInlineBytes) continue;
    if (!body_.valid()) {
      if (lender_ != nullptr) {
        if (buffered() < StreamLoan::kBytes) return false;
        StreamLoan loan;
        loan.Load(chunk_->data() + begin_);
        begin_ += StreamLoan::kBytes;
        if (loan.offset != StreamLoan::kNone) {
          ASSIGN_OR_RETURN(message_.tensors[filling_], lender_->Lend(meta.dtype, meta.shape, meta.bytes, loan));
          continue;
        }
      }
      body_bytes_ = StreamPadded(meta.bytes);
      body_ = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(body_bytes_)});
      filled_ = 0;
    }
    const size_t step = std::min(buffered(), body_bytes_ - filled_);
    std::memcpy(body_.mutable_bytes() + filled_, chunk_->data() + begin_, step);
    filled_ += step;
    begin_ += step;
    if (filled_ < body_bytes_) {
      // The rest goes past the buffer, which may so end anywhere; what follows in it has to lie aligned again.
      begin_ = end_ = StreamPadded(begin_);
      return false;
    }
    ASSIGN_OR_RETURN(message_.tensors[filling_],
                     Tensor::View(meta.dtype, meta.shape, body_.bytes().substr(0, meta.bytes), body_.origin()));
    body_ = Tensor();
  }
  in_body_ = false;
  return true;
}

void StreamReader::Rest() {
  if (!chunk_ || buffered() != 0) return;
  buffers_.GiveOpen(std::move(chunk_), begin_);
  chunk_ = nullptr;
  begin_ = end_ = 0;
}

}  // namespace portico
