#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "transport/shm_region.h"
#include "transport/stream_lender.h"

namespace portico {

/// Where a sender puts large tensors for the other process to view. All it has to know is in its own memory; of the
/// other's it reads only which leases were given back, and one that lies about those spoils only what itself reads.
///
/// Takes the lowest place that fits, so that of the shared memory only so much is ever touched as was needed at once.
/// One thread at a time. Keeps the region alive.
class ShmArena {
 public:
  /// Writes to `half`, which is `region`'s.
  ShmArena(Ref<ShmRegion> region, const ShmRegion::Half& half);

  /// Copies `bytes` to where the peer can view them. Nothing where there is no room.
  std::optional<StreamLoan> Put(absl::string_view bytes);
  /// Bytes that the peer has not given back, as far as was looked.
  uint64_t lent_bytes() const { return lent_bytes_; }

 private:
  struct Extent {
    uint64_t offset;
    uint64_t size;
  };
  struct Lease {
    Extent extent{};
    uint32_t sequence = 0;
  };

  /// Looks at `most` leases, whether they were given back.
  void Collect(size_t most);
  std::optional<Extent> Take(uint64_t size);
  void Free(const Extent& extent);

  const Ref<ShmRegion> region_;
  const ShmRegion::Half half_;
  std::vector<Lease> leases_;
  std::vector<uint32_t> unused_;
  std::vector<uint32_t> lent_;
  size_t next_look_ = 0;
  /// By offset; no two touch.
  std::vector<Extent> free_;
  uint64_t lent_bytes_ = 0;
};

/// The receiving side: makes tensors of what the peer put into its arena.
///
/// Most are views. Those whose values a kernel uses as places or counts (strings, integers of 32 and 64 bits, bools)
/// are copied first: the peer could change them after they were checked. Used on the loop's thread; what it lent may
/// end on any.
class ShmLender final : public StreamLender {
 public:
  /// Reads `half`, which is `region`'s.
  ShmLender(Ref<ShmRegion> region, const ShmRegion::Half& half);
  absl::StatusOr<Tensor> Lend(DType dtype, const Shape& shape, uint64_t bytes, const StreamLoan& loan) override;

 private:
  const Ref<ShmRegion> region_;
  const ShmRegion::Half half_;
};

}  // namespace portico
