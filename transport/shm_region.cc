#include "transport/shm_region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxRing = uint64_t{16} << 20;
constexpr uint64_t kMaxArena = uint64_t{64} << 30;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
// The words, then the leases' sequence numbers.
constexpr size_t kControlBytes =
    (sizeof(ShmRingWords) + kShmLeases * sizeof(std::atomic<uint32_t>) + kPage - 1) / kPage * kPage;

absl::Status Failed(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("shared memory: ", what, ": ", std::strerror(errno)));
}

}  // namespace

absl::Status ShmSizes::Check() const {
  if (ring_bytes < kPage || ring_bytes > kMaxRing || (ring_bytes & (ring_bytes - 1)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory: got a ring of ", ring_bytes,
                                                   " bytes, want a power of two from ", kPage, " to ", kMaxRing));
  }
  if (arena_bytes > kMaxArena || arena_bytes % kPage != 0) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory: got an arena of ", arena_bytes,
                                                   " bytes, want a multiple of ", kPage, " up to ", kMaxArena));
  }
  return absl::OkStatus();
}

size_t ShmRegion::HalfBytes(const ShmSizes& sizes) { return kControlBytes + sizes.ring_bytes + sizes.arena_bytes; }

ShmRegion::ShmRegion(const ShmSizes& sizes, char* base) : sizes_(sizes), half_bytes_(HalfBytes(sizes)), base_(base) {}

ShmRegion::~ShmRegion() { munmap(base_, 2 * half_bytes_); }

ShmRegion::Half ShmRegion::HalfAt(size_t offset) const {
  char* const at = base_ + offset;
  return {reinterpret_cast<ShmRingWords*>(at), at + kControlBytes,
          reinterpret_cast<std::atomic<uint32_t>*>(at + sizeof(ShmRingWords)), at + kControlBytes + sizes_.ring_bytes};
}

absl::StatusOr<Ref<ShmRegion>> ShmRegion::Map(const ShmSizes& sizes, int fd) {
  void* const base = mmap(nullptr, 2 * HalfBytes(sizes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return Failed("mmap");
  return Ref<ShmRegion>(new ShmRegion(sizes, static_cast<char*>(base)));
}

absl::StatusOr<Ref<ShmRegion>> ShmRegion::Create(const ShmSizes& sizes, int* fd) {
  RETURN_IF_ERROR(sizes.Check());
  const int made = memfd_create("portico-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return Failed("memfd_create");
  absl::StatusOr<Ref<ShmRegion>> region =
      ftruncate(made, static_cast<off_t>(2 * HalfBytes(sizes))) == 0 && fcntl(made, F_ADD_SEALS, kSeals) == 0
          ? Map(sizes, made)
          : Failed("size and seal");
  if (region.ok()) {
    *fd = made;
  } else {
    close(made);
  }
  return region;
}

absl::StatusOr<Ref<ShmRegion>> ShmRegion::Open(const ShmSizes& sizes, int fd) {
  RETURN_IF_ERROR(sizes.Check());
  // Sealed and of ordinary pages: a read can then never end in SIGBUS.
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return absl::InvalidArgumentError("shared memory: got memory that is not sealed, want one that cannot shrink");
  }
  struct statfs system {};
  struct stat file {};
  if (fstatfs(fd, &system) != 0 || fstat(fd, &file) != 0) return Failed("stat");
  if (system.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError("shared memory: got memory of another kind, want ordinary pages");
  }
  if (static_cast<uint64_t>(file.st_size) != 2 * HalfBytes(sizes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared memory: got ", file.st_size, " bytes, want ", 2 * HalfBytes(sizes)));
  }
  return Map(sizes, fd);
}

}  // namespace portico
