#include "node/servables/served_shard.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/memory_limit.h"
#include "base/status_macros.h"
#include "embedding/residency.h"

namespace portico {
namespace {

/// Asking the kernel about a large file takes milliseconds.
constexpr absl::Duration kAskAgainAfter = absl::Seconds(10);

/// Pieces of 2 MB looked at for each file.
constexpr uint64_t kLookAtPieces = 128;

}  // namespace

absl::StatusOr<std::unique_ptr<ServedShard>> ServedShard::Open(const std::string& folder, const TableLookupSpec& spec,
                                                               const Options& options, ShardStore& store,
                                                               const Clock& clock) {
  ASSIGN_OR_RETURN(const ShardParts parts, ShardPartsOf(folder, spec));
  ASSIGN_OR_RETURN(std::shared_ptr<const ShardVersion> version, store.Open(parts));
  return std::unique_ptr<ServedShard>(new ServedShard(std::move(version), options, store, clock));
}

ServedShard::ServedShard(std::shared_ptr<const ShardVersion> version, const Options& options, const ShardStore& store,
                         const Clock& clock)
    : version_(std::move(version)), store_(store), clock_(clock) {
  if (!options.scrub) return;
  Scrubber::Options scrub;
  scrub.bytes_per_second = options.scrub_bytes_per_second;
  scrub.on_end = [this](const absl::Status& status) {
    if (!status.ok()) NoteBroken(status);
  };
  scrubber_ = std::make_unique<Scrubber>(file(), std::move(scrub));
}

bool ServedShard::stays_in_memory() const {
  static const uint64_t memory = MemoryLimit();
  return store_.mapped_bytes() <= memory / 2;
}

std::vector<ServedShard::TableBytes> ServedShard::Bytes() const {
  const absl::Time now = clock_.Now();
  const MutexLock lock(&mutex_);
  if (now - bytes_at_ < kAskAgainAfter) return bytes_;
  bytes_.clear();
  for (const ShardLayout::Table& table : file().layout().tables) {
    TableBytes& bytes = bytes_.emplace_back();
    for (const ShardLayout::Section& section : {table.rows, table.index, table.strings}) {
      bytes.file += section.bytes;
      const double share = static_cast<double>(section.bytes) / static_cast<double>(file().layout().file_bytes);
      bytes.resident += ResidentBytes(file().begin() + section.offset, section.bytes,
                                      static_cast<uint64_t>(share * static_cast<double>(kLookAtPieces)));
      bytes.huge += store_.HugeBytesIn(file(), section);
    }
  }
  bytes_at_ = now;
  return bytes_;
}

void ServedShard::NoteBroken(const absl::Status& what) const {
  const uint64_t broken = file().blocks().broken_blocks();
  uint64_t told = broken_told_.load(std::memory_order_relaxed);
  if (broken <= told || !broken_told_.compare_exchange_strong(told, broken, std::memory_order_relaxed)) return;
  LogError(absl::StrCat(what.message(), broken > 1 ? absl::StrCat(" (", broken, " blocks so far)") : ""));
}

}  // namespace portico
