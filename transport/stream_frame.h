#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

// How messages of the peer protocol lie in a stream of bytes (`tcp://`, `unix://`): each is a prefix, its header and
// small tensors, then its large ones. docs/wire_format.md describes the bytes; StreamReader reads them.

/// A tensor of at most so many bytes lies behind the header, with the other small ones. Part of the wire format.
inline constexpr uint64_t kStreamInlineBytes = 4096;

/// What a message begins with. All numbers are little-endian; everything behind it is padded to multiples of 8.
struct StreamPrefix {
  static constexpr char kMagic[4] = {'P', 'T', 'S', '1'};
  static constexpr size_t kBytes = 16;

  /// 0: a heartbeat, which has nothing behind it.
  uint32_t header_bytes = 0;
  /// All small tensors, padding included.
  uint32_t inline_bytes = 0;
  /// Large tensors.
  uint32_t frames = 0;

  void Store(char* at) const;
  /// False where the magic is missing.
  bool Load(const char* at);
};

inline constexpr size_t StreamPadded(size_t size) { return (size + 7) / 8 * 8; }

/// Messages that wait to be written to one connection, oldest first: small parts copied together, large tensors by
/// reference, so that many messages leave in one call of the kernel. Not thread-safe: belongs under its owner's lock.
class StreamQueue {
 public:
  /// `header` and small tensors are copied, large ones shared.
  void Append(absl::string_view header, absl::Span<const Tensor> tensors);
  void AppendHeartbeat() { Append({}, {}); }

  bool empty() const { return bytes_ == 0; }
  uint64_t bytes() const { return bytes_; }
  /// What to write first, in at most `most` pieces. Returns their number.
  int Pieces(iovec* out, int most) const;
  /// The first piece. REQUIRES: not empty.
  struct Front {
    const char* at;
    size_t size;
    /// It is of a large tensor; of all of it.
    bool tensor;
    bool begins_tensor;
  };
  Front front() const;
  /// `size` bytes of the front have been written.
  void Consume(size_t size);
  void Clear();

 private:
  /// Either a block of this queue's own or a large tensor.
  struct Piece {
    std::unique_ptr<char[]> block;
    size_t capacity = 0;
    Tensor tensor;
    const char* at = nullptr;
    size_t size = 0;
  };

  /// Room for `size` bytes at the end.
  char* Extend(size_t size);

  std::vector<Piece> pieces_;
  size_t first_ = 0;
  uint64_t bytes_ = 0;
  /// Kept for the next piece.
  std::unique_ptr<char[]> spare_;
};

}  // namespace portico
