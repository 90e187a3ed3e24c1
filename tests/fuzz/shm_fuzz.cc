#include <algorithm>
#include <cstring>
#include <optional>

#include "tests/fuzz/fuzz.h"
#include "transport/shm_arena.h"
#include "transport/shm_region.h"
#include "transport/stream_reader.h"

namespace portico {
namespace {

constexpr ShmSizes kSizes{.ring_bytes = 4096, .arena_bytes = 16 << 10};

/// One connection's memory, used for all inputs.
const Ref<ShmRegion>& Region() {
  static const Ref<ShmRegion> region = [] {
    int fd = -1;
    Ref<ShmRegion> made = *ShmRegion::Create(kSizes, &fd);
    close(fd);
    return made;
  }();
  return region;
}

/// Input: what the peer does, one step after the other: a byte that says what, and what goes with it. After each, this
/// side reads what the ring is said to hold, as ShmSocket and StreamPipe do.
void FuzzOne(absl::string_view input) {
  const ShmRegion::Half half = Region()->to_server();
  std::memset(static_cast<void*>(half.words), 0, sizeof(ShmRingWords));
  for (uint32_t i = 0; i < kShmLeases; ++i) half.given_back[i].store(0, std::memory_order_relaxed);
  uint64_t written = 0;
  ShmRingReader ring(*half.words, half.ring, kSizes.ring_bytes);
  ShmLender lender(Region(), half);
  StreamBuffers buffers;
  StreamReader reader({}, buffers);
  reader.Reset(&lender);
  reader.Greeted();
  std::vector<PeerMessage> kept;
  while (!input.empty()) {
    const uint8_t step = TakeByte(&input);
    const size_t size = std::min<size_t>(input.size(), TakeByte(&input) * 8);
    const absl::string_view bytes = input.substr(0, std::min(size, input.size()));
    input.remove_prefix(bytes.size());
    uint64_t number = 0;
    std::memcpy(&number, bytes.data(), std::min<size_t>(bytes.size(), 8));
    switch (step % 8) {
      case 0:
        half.words->written.store(number);
        break;
      case 1:
        half.words->writer_waits.store(static_cast<uint32_t>(number));
        break;
      case 2:
        std::memcpy(half.arena + step % 4 * 4096, bytes.data(), bytes.size());
        break;
      case 3:
        kept.clear();
        break;
      default:
        // Well-behaved: bytes behind those before.
        for (const char byte : bytes) half.ring[written++ % kSizes.ring_bytes] = byte;
        half.words->written.store(written);
    }
    for (int round = 0; round < 16; ++round) {
      const size_t ready = ring.Ready();
      if (ring.broken()) return;
      if (ready == 0) break;
      iovec space[2];
      const int count = reader.Space(space);
      FuzzCheck(count >= 1 && space[0].iov_len > 0, "there is room for what comes");
      const size_t taken = std::min(ready, space[0].iov_len);
      ring.Read(space[0].iov_base, taken);
      ring.Publish();
      reader.Commit(taken);
      for (;;) {
        PeerMessage message;
        const absl::StatusOr<bool> whole = reader.Next(&message);
        if (!whole.ok()) return;
        if (!*whole) break;
        for (const Tensor& tensor : message.tensors) {
          // Touches every byte: under AddressSanitizer and on the last page of the mapping.
          uint32_t sum = 0;
          for (const char byte : tensor.bytes()) sum += static_cast<uint8_t>(byte);
          if (tensor.dtype() == DType::kString) {
            for (uint64_t i = 0; i < tensor.num_elements(); ++i)
              sum += static_cast<uint32_t>(tensor.StringAt(i).size());
          }
          asm volatile("" : : "r"(sum));
        }
        kept.push_back(std::move(message));
        if (kept.size() > 64) kept.clear();
      }
      reader.Rest();
    }
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
