#include "node/servables/served_shard.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "embedding/residency.h"

namespace portico {
namespace {

/// Asking the kernel about a large file takes milliseconds.
constexpr absl::Duration kAskAgainAfter = absl::Seconds(10);

uint64_t PhysicalMemory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedShard>> ServedShard::Open(const std::string& folder, const TableLookupSpec& spec,
                                                               const Options& options, const Clock& clock) {
  ASSIGN_OR_RETURN(const std::string path, ShardPath(folder, spec));
  ASSIGN_OR_RETURN(std::unique_ptr<ShardFile> file, ShardFile::Open(path));
  if (file->layout().content != spec.content) {
    return absl::FailedPreconditionError(absl::StrCat("shard file '", path, "': got content ",
                                                      file->layout().content.Short(), ", want ", spec.content.Short(),
                                                      " as the package says; restore the file, or make the package "
                                                      "again"));
  }
  return std::unique_ptr<ServedShard>(new ServedShard(std::move(file), options, clock));
}

ServedShard::ServedShard(std::unique_ptr<ShardFile> file, const Options& options, const Clock& clock)
    : file_(std::move(file)), clock_(clock), stays_in_memory_(file_->layout().file_bytes <= PhysicalMemory() / 2) {
  if (!options.scrub) return;
  Scrubber::Options scrub;
  scrub.bytes_per_second = options.scrub_bytes_per_second;
  scrub.on_end = [this](const absl::Status& status) {
    if (!status.ok()) NoteBroken(status);
  };
  scrubber_ = std::make_unique<Scrubber>(*file_, std::move(scrub));
}

std::vector<ServedShard::TableBytes> ServedShard::Bytes() const {
  const absl::Time now = clock_.Now();
  const MutexLock lock(&mutex_);
  if (now - bytes_at_ < kAskAgainAfter) return bytes_;
  bytes_.clear();
  for (const ShardLayout::Table& table : file_->layout().tables) {
    TableBytes& bytes = bytes_.emplace_back();
    for (const ShardLayout::Section& section : {table.rows, table.index, table.strings}) {
      bytes.file += section.bytes;
      bytes.resident += ResidentBytes(file_->begin() + section.offset, section.bytes);
    }
  }
  bytes_at_ = now;
  return bytes_;
}

void ServedShard::NoteBroken(const absl::Status& what) const {
  const uint64_t broken = file_->blocks().broken_blocks();
  uint64_t told = broken_told_.load(std::memory_order_relaxed);
  if (broken <= told || !broken_told_.compare_exchange_strong(told, broken, std::memory_order_relaxed)) return;
  LogError(absl::StrCat(what.message(), broken > 1 ? absl::StrCat(" (", broken, " blocks so far)") : ""));
}

}  // namespace portico
