#include "batcher/call_queue.h"

#include <algorithm>
#include <utility>

namespace portico {
namespace {

/// So few places that calls have left are not worth moving the others.
constexpr size_t kFewPlaces = 16;

}  // namespace

WaitingCall CallQueue::PopFront() {
  WaitingCall call = std::move(calls_.front());
  calls_.pop_front();
  if (gone_ > 0) FreePlaces();
  return call;
}

void CallQueue::Push(WaitingCall call) {
  auto at = calls_.end();
  while (at != calls_.begin() && std::prev(at)->ticket > call.ticket) --at;
  calls_.insert(at, std::move(call));
}

std::optional<WaitingCall> CallQueue::Take(uint64_t ticket) {
  const auto found = std::lower_bound(calls_.begin(), calls_.end(), ticket,
                                      [](const WaitingCall& call, uint64_t wanted) { return call.ticket < wanted; });
  if (found == calls_.end() || found->ticket != ticket || IsGone(*found)) return std::nullopt;
  WaitingCall call = std::move(*found);
  ++gone_;
  FreePlaces();
  return call;
}

void CallQueue::FreePlaces() {
  while (!calls_.empty() && IsGone(calls_.front())) {
    calls_.pop_front();
    --gone_;
  }
  if (gone_ <= kFewPlaces || gone_ <= calls_.size() / 2) return;
  std::erase_if(calls_, IsGone);
  gone_ = 0;
}

}  // namespace portico
