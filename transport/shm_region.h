#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "base/ref.h"
#include "transport/shm_ring.h"

namespace portico {

/// How large the two halves of a connection's memory are. Goes over the socket beside the memory itself.
struct ShmSizes {
  /// A power of two, 4 KiB to 16 MiB.
  uint64_t ring_bytes = 256 << 10;
  /// A multiple of 4096, at most 64 GiB.
  uint64_t arena_bytes = 64 << 20;

  /// INVALID_ARGUMENT for sizes that no peer of ours would send.
  absl::Status Check() const;
};

/// Tensors of one direction that may lie in its arena at once.
inline constexpr uint32_t kShmLeases = 4096;

/// The memory of one connection, which both processes have mapped: for each direction a ring and an arena
/// (docs/wire_format.md). Sealed, so that neither can shrink it under the other. Unmapped with its last Ref, each
/// tensor that lies in it having one: no descriptor stays open for it, and nothing of it stays when both processes are
/// gone.
class ShmRegion final : public RefCounted {
 public:
  /// One direction.
  struct Half {
    ShmRingWords* words;
    char* ring;
    /// By number of the lease: the sequence number of the last one that was given back.
    std::atomic<uint32_t>* given_back;
    char* arena;
  };

  /// New memory; `*fd` is for the peer, to be closed.
  static absl::StatusOr<Ref<ShmRegion>> Create(const ShmSizes& sizes, int* fd);
  /// The peer's. INVALID_ARGUMENT where it is not ordinary memory, not sealed or not as large as it says. `fd` stays
  /// the caller's.
  static absl::StatusOr<Ref<ShmRegion>> Open(const ShmSizes& sizes, int fd);

  const ShmSizes& sizes() const { return sizes_; }
  Half to_server() const { return HalfAt(0); }
  Half to_client() const { return HalfAt(half_bytes_); }

 private:
  ShmRegion(const ShmSizes& sizes, char* base);
  ~ShmRegion() override;
  static absl::StatusOr<Ref<ShmRegion>> Map(const ShmSizes& sizes, int fd);
  static size_t HalfBytes(const ShmSizes& sizes);
  Half HalfAt(size_t offset) const;

  const ShmSizes sizes_;
  const size_t half_bytes_;
  char* const base_;
};

}  // namespace portico
