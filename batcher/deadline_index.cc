#include "batcher/deadline_index.h"

#include <algorithm>

namespace portico {
namespace {

/// Free chunks keep their memory, up to so many.
constexpr size_t kMaxIdleChunks = 16;

}  // namespace

DeadlineIndex::Place DeadlineIndex::Add(const Entry& entry) {
  if (open_ == kNone || chunks_[open_].entries.size() == kChunk) {
    if (free_.empty()) {
      open_ = static_cast<Place>(chunks_.size());
      chunks_.emplace_back();
      soonest_of_.push_back(absl::InfiniteFuture());
    } else {
      open_ = free_.back();
      free_.pop_back();
    }
    chunks_[open_].entries.reserve(kChunk);
  }
  chunks_[open_].entries.push_back(entry);
  ++chunks_[open_].waiting;
  soonest_of_[open_] = std::min(soonest_of_[open_], entry.deadline);
  soonest_ = std::min(soonest_, entry.deadline);
  return open_;
}

void DeadlineIndex::Drop(Place place) {
  Chunk& chunk = chunks_[place];
  if (--chunk.waiting > 0) return;
  chunk.entries.clear();
  soonest_of_[place] = absl::InfiniteFuture();
  if (place == open_) return;
  if (free_.size() >= kMaxIdleChunks) chunk.entries.shrink_to_fit();
  free_.push_back(place);
}

std::vector<DeadlineIndex::Entry> DeadlineIndex::TakePassed(absl::Time now, size_t most) {
  std::vector<Entry> passed;
  absl::Time soonest = absl::InfiniteFuture();
  for (size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    if (soonest_of_[chunk] <= now) TakeFrom(chunk, now, most, &passed);
    soonest = std::min(soonest, soonest_of_[chunk]);
    // Where chunks were not looked at, what is known of the soonest holds on.
    if (passed.size() == most) return passed;
  }
  soonest_ = soonest;
  return passed;
}

void DeadlineIndex::TakeFrom(size_t chunk, absl::Time now, size_t most, std::vector<Entry>* passed) {
  std::vector<Entry>& entries = chunks_[chunk].entries;
  absl::Time soonest = absl::InfiniteFuture();
  const auto left = std::remove_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    if (entry.deadline <= now && passed->size() < most) {
      passed->push_back(entry);
      return true;
    }
    soonest = std::min(soonest, entry.deadline);
    return false;
  });
  entries.erase(left, entries.end());
  soonest_of_[chunk] = soonest;
}

}  // namespace portico
