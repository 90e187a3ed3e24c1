#include "transport/zmq_pack.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr char kMagic[4] = {'P', 'T', 'C', '1'};
constexpr size_t kPrefixBytes = 8;
constexpr size_t kAlignment = 8;
// A pack that has grown beyond either is closed: more would only delay its first message.
constexpr size_t kFullHeadBytes = 64 << 10;
constexpr uint64_t kFullFrameBytes = 1 << 20;

size_t Padded(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

void StoreU32(char* at, uint32_t value) { std::memcpy(at, &value, sizeof(value)); }
uint32_t LoadU32(const char* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

bool Inlined(uint64_t tensor_bytes) { return tensor_bytes <= kPackInlineBytes; }

/// Reads the first frame from front to back. Every position is a multiple of 8 before and after.
class HeadReader {
 public:
  explicit HeadReader(absl::string_view head) : head_(head) {}

  size_t left() const { return head_.size() - at_; }
  /// The next `size` bytes, padding removed behind them. False when the frame ends before.
  bool Take(size_t size, absl::string_view* bytes) {
    if (size > left() || Padded(size) > left()) return false;
    *bytes = head_.substr(at_, size);
    at_ += Padded(size);
    return true;
  }

 private:
  const absl::string_view head_;
  size_t at_ = 0;
};

absl::Status Truncated(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("pack: got a first frame that ends inside ", what));
}

absl::Status UnpackMessage(HeadReader& head, absl::Span<ReceivedFrame>* frames, const Ref<TensorOrigin>& origin,
                           const PeerLimits& limits, PeerMessage* message) {
  absl::string_view prefix, header;
  if (!head.Take(kPrefixBytes, &prefix)) return Truncated("a message's prefix");
  if (!head.Take(LoadU32(prefix.data()), &header)) return Truncated("a header");
  RETURN_IF_ERROR(DecodeHeader(header, limits, &message->header));
  message->tensors.reserve(message->header.tensors.size());
  uint32_t own_frames = 0;
  for (const TensorMeta& meta : message->header.tensors) {
    ReceivedFrame data{{}, origin};
    if (Inlined(meta.bytes)) {
      if (!head.Take(meta.bytes, &data.bytes)) return Truncated("a tensor");
    } else if (frames->empty()) {
      return absl::InvalidArgumentError("pack: got fewer frames than the headers name");
    } else {
      data = std::move(frames->front());
      frames->remove_prefix(1);
      ++own_frames;
    }
    ASSIGN_OR_RETURN(Tensor tensor, Tensor::View(meta.dtype, meta.shape, data.bytes, std::move(data.origin)));
    message->tensors.push_back(std::move(tensor));
  }
  if (const uint32_t want = LoadU32(prefix.data() + 4); own_frames != want) {
    return absl::InvalidArgumentError(absl::StrCat("pack: got ", own_frames, " frames for a message, want ", want));
  }
  message->origin = origin;
  return absl::OkStatus();
}

absl::Status UnpackAll(absl::Span<ReceivedFrame> frames, const PeerLimits& limits, std::vector<PeerMessage>* out) {
  if (frames.empty()) return absl::InvalidArgumentError("pack: got no frame");
  ReceivedFrame& first = frames.front();
  if (first.bytes.size() < kPrefixBytes || std::memcmp(first.bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return absl::InvalidArgumentError("pack: got a first frame without the magic 'PTC1'; the peer is not a node");
  }
  if (reinterpret_cast<uintptr_t>(first.bytes.data()) % kAlignment != 0) {
    // libzmq cuts small messages out of its receive buffer as they lie there.
    const Tensor copy = Tensor::CopyOf(DType::kUint8, {static_cast<int64_t>(first.bytes.size())}, first.bytes);
    first = {copy.bytes(), copy.origin()};
  }
  const uint32_t messages = LoadU32(first.bytes.data() + 4);
  if (messages == 0 || messages > kPackMaxMessages) {
    return absl::InvalidArgumentError(absl::StrCat("pack: got ", messages, " messages, want 1 to ", kPackMaxMessages));
  }
  HeadReader head(first.bytes.substr(kPrefixBytes));
  const Ref<TensorOrigin> origin = first.origin;
  frames.remove_prefix(1);
  for (uint32_t i = 0; i < messages; ++i) {
    RETURN_IF_ERROR(UnpackMessage(head, &frames, origin, limits, &out->emplace_back()));
  }
  if (head.left() != 0 || !frames.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("pack: got ", head.left(), " bytes and ", frames.size(), " frames more than the headers name"));
  }
  return absl::OkStatus();
}

}  // namespace

bool Pack::full() const {
  return messages >= kPackMaxMessages || head.size() >= kFullHeadBytes || frame_bytes >= kFullFrameBytes;
}

void Pack::Append(absl::string_view header, absl::Span<const Tensor> tensors) {
  size_t at = messages == 0 ? kPrefixBytes : head.size();
  size_t size = at + kPrefixBytes + Padded(header.size());
  uint32_t own_frames = 0;
  for (const Tensor& tensor : tensors) {
    if (Inlined(tensor.bytes().size())) size += Padded(tensor.bytes().size());
  }
  head.resize(size);  // Zeroes the padding.
  char* out = head.data();
  if (messages == 0) std::memcpy(out, kMagic, sizeof(kMagic));
  const size_t prefix = at;
  at += kPrefixBytes;
  std::memcpy(out + at, header.data(), header.size());
  at += Padded(header.size());
  for (const Tensor& tensor : tensors) {
    const absl::string_view bytes = tensor.bytes();
    if (!Inlined(bytes.size())) {
      ++own_frames;
      frame_bytes += bytes.size();
      // Memory that nobody owns for us has to be ours before the caller goes on.
      frames.push_back(tensor.origin() ? tensor : Tensor::CopyOf(tensor.dtype(), tensor.shape(), bytes));
    } else if (!bytes.empty()) {
      std::memcpy(out + at, bytes.data(), bytes.size());
      at += Padded(bytes.size());
    }
  }
  StoreU32(out + prefix, static_cast<uint32_t>(header.size()));
  StoreU32(out + prefix + 4, own_frames);
  StoreU32(out + 4, ++messages);
}

uint64_t PackQueue::Append(absl::string_view header, absl::Span<const Tensor> tensors) {
  if (packs_.empty() || packs_.back().full()) packs_.emplace_back();
  Pack& pack = packs_.back();
  const uint64_t before = pack.bytes();
  pack.Append(header, tensors);
  bytes_ += pack.bytes() - before;
  return first_ + packs_.size() - 1;
}

void PackQueue::TakeAll(std::vector<Pack>* out) {
  out->clear();
  first_ += packs_.size();
  bytes_ = 0;
  packs_.swap(*out);
}

absl::Status Unpack(absl::Span<ReceivedFrame> frames, const PeerLimits& limits, std::vector<PeerMessage>* out) {
  const size_t before = out->size();
  absl::Status status = UnpackAll(frames, limits, out);
  if (!status.ok()) out->resize(before);
  return status;
}

}  // namespace portico
