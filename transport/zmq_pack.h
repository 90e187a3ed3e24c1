#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/ref.h"
#include "base/tensor.h"
#include "transport/peer_header.h"
#include "transport/transport.h"

namespace portico {

// What one ZeroMQ message carries between nodes: a pack of messages of the peer protocol. Its first frame holds the
// headers and the small tensors, then comes one frame per large tensor. docs/wire_format.md describes the bytes.

/// A tensor of at most so many bytes travels inside the first frame. Part of the wire format.
inline constexpr uint64_t kPackInlineBytes = 4096;
/// Messages in one pack. Part of the wire format.
inline constexpr uint32_t kPackMaxMessages = 256;

/// Messages that leave together. Not thread-safe.
struct Pack {
  std::string head;
  /// The large tensors in the order of the headers that name them.
  std::vector<Tensor> frames;
  uint32_t messages = 0;
  uint64_t frame_bytes = 0;

  void Append(absl::string_view header, absl::Span<const Tensor> tensors);
  /// Takes no further message.
  bool full() const;
  uint64_t bytes() const { return head.size() + frame_bytes; }
};

/// Packs that wait for one peer, oldest first. Not thread-safe: belongs under its owner's lock.
class PackQueue {
 public:
  /// `header` and small tensors are copied, large ones shared. Returns the number of the pack, which only grows.
  uint64_t Append(absl::string_view header, absl::Span<const Tensor> tensors);
  bool empty() const { return packs_.empty(); }
  uint64_t bytes() const { return bytes_; }
  /// Packs with a lower number have been taken.
  uint64_t first() const { return first_; }
  /// Moves everything to `out`, which is cleared before.
  void TakeAll(std::vector<Pack>* out);

 private:
  std::vector<Pack> packs_;
  uint64_t bytes_ = 0;
  uint64_t first_ = 0;
};

/// A received frame. `origin` keeps `bytes` alive.
struct ReceivedFrame {
  absl::string_view bytes;
  Ref<TensorOrigin> origin;
};

/// Appends the pack's messages to `out`: their tensors view the frames. INVALID_ARGUMENT, and nothing appended, when
/// one byte or frame is not as the format wants it or beyond `limits`. `frames` is used up.
absl::Status Unpack(absl::Span<ReceivedFrame> frames, const PeerLimits& limits, std::vector<PeerMessage>* out);

}  // namespace portico
