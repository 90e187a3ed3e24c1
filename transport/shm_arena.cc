#include "transport/shm_arena.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

constexpr uint64_t kAlignment = 64;
// Given back as fast as lent; the rest is looked at when room is short.
constexpr size_t kLooksPerPut = 8;

/// A peer's lease: gives it back where its last view ends.
class Loan final : public TensorOrigin {
 public:
  Loan(Ref<ShmRegion> region, std::atomic<uint32_t>& given_back, uint32_t sequence, uint64_t bytes)
      : TensorOrigin(bytes), region_(std::move(region)), given_back_(given_back), sequence_(sequence) {}
  ~Loan() override { given_back_.store(sequence_, std::memory_order_release); }

 private:
  const Ref<ShmRegion> region_;
  std::atomic<uint32_t>& given_back_;
  const uint32_t sequence_;
};

/// Whether code may take such values for places or counts after having checked them.
bool MustNotChange(DType dtype) {
  switch (dtype) {
    case DType::kString:
    case DType::kBool:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUint32:
    case DType::kUint64:
      return true;
    default:
      return false;
  }
}

}  // namespace

ShmArena::ShmArena(Ref<ShmRegion> region, const ShmRegion::Half& half)
    : region_(std::move(region)), half_(half), leases_(kShmLeases) {
  unused_.reserve(kShmLeases);
  for (uint32_t i = kShmLeases; i-- > 0;) unused_.push_back(i);
  lent_.reserve(kShmLeases);
  if (const uint64_t size = region_->sizes().arena_bytes; size != 0) free_.push_back({0, size});
}

std::optional<StreamLoan> ShmArena::Put(absl::string_view bytes) {
  // A tensor that can never fit is not worth a look.
  if (bytes.size() > region_->sizes().arena_bytes) return std::nullopt;
  const uint64_t size = std::max<uint64_t>((bytes.size() + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  Collect(kLooksPerPut);
  std::optional<Extent> extent = Take(size);
  if (!extent) {
    Collect(lent_.size());
    extent = Take(size);
    if (!extent) return std::nullopt;
  }
  const uint32_t number = unused_.back();
  unused_.pop_back();
  Lease& lease = leases_[number];
  lease.extent = *extent;
  // 0 is what the word begins as.
  if (++lease.sequence == 0) ++lease.sequence;
  lent_.push_back(number);
  lent_bytes_ += size;
  std::memcpy(half_.arena + extent->offset, bytes.data(), bytes.size());
  return StreamLoan{extent->offset, number, lease.sequence};
}

void ShmArena::Collect(size_t most) {
  for (; most > 0 && !lent_.empty(); --most) {
    if (next_look_ >= lent_.size()) next_look_ = 0;
    const uint32_t number = lent_[next_look_];
    const Lease& lease = leases_[number];
    if (half_.given_back[number].load(std::memory_order_acquire) != lease.sequence) {
      ++next_look_;
      continue;
    }
    Free(lease.extent);
    lent_bytes_ -= lease.extent.size;
    lent_[next_look_] = lent_.back();
    lent_.pop_back();
    unused_.push_back(number);
  }
}

std::optional<ShmArena::Extent> ShmArena::Take(uint64_t size) {
  if (unused_.empty()) return std::nullopt;
  const auto found =
      std::find_if(free_.begin(), free_.end(), [size](const Extent& extent) { return extent.size >= size; });
  if (found == free_.end()) return std::nullopt;
  const Extent taken{found->offset, size};
  found->offset += size;
  found->size -= size;
  if (found->size == 0) free_.erase(found);
  return taken;
}

void ShmArena::Free(const Extent& extent) {
  auto after = std::lower_bound(free_.begin(), free_.end(), extent.offset,
                                [](const Extent& a, uint64_t offset) { return a.offset < offset; });
  const bool joins_before = after != free_.begin() && (after - 1)->offset + (after - 1)->size == extent.offset;
  const bool joins_after = after != free_.end() && extent.offset + extent.size == after->offset;
  if (joins_before && joins_after) {
    (after - 1)->size += extent.size + after->size;
    free_.erase(after);
  } else if (joins_before) {
    (after - 1)->size += extent.size;
  } else if (joins_after) {
    after->offset = extent.offset;
    after->size += extent.size;
  } else {
    free_.insert(after, extent);
  }
}

ShmLender::ShmLender(Ref<ShmRegion> region, const ShmRegion::Half& half) : region_(std::move(region)), half_(half) {}

absl::StatusOr<Tensor> ShmLender::Lend(DType dtype, const Shape& shape, uint64_t bytes, const StreamLoan& loan) {
  const uint64_t arena = region_->sizes().arena_bytes;
  if (loan.lease >= kShmLeases || loan.offset % kAlignment != 0 || loan.offset > arena || bytes > arena - loan.offset) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory: got a tensor of ", bytes, " bytes at ", loan.offset,
                                                   " under lease ", loan.lease, ", want one within ", arena,
                                                   " bytes and ", kShmLeases, " leases"));
  }
  // From here on its end gives the lease back, whatever becomes of the tensor.
  const Ref<TensorOrigin> origin = MakeRef<Loan>(region_, half_.given_back[loan.lease], loan.sequence, bytes);
  const absl::string_view lent(half_.arena + loan.offset, bytes);
  if (!MustNotChange(dtype)) return Tensor::View(dtype, shape, lent, origin);
  const Tensor copy = Tensor::CopyOf(DType::kUint8, {static_cast<int64_t>(bytes)}, lent);
  return Tensor::View(dtype, shape, copy.bytes(), copy.origin());
}

}  // namespace portico
