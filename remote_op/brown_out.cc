#include "remote_op/brown_out.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace portico {

bool BrownOut::Ended(bool overloaded) {
  if (!active()) {
    if (!overloaded || active_.exchange(true, std::memory_order_acq_rel)) return false;
    calls_.store(1, std::memory_order_relaxed);
    overloaded_.store(1, std::memory_order_relaxed);
    return true;
  }
  calls_.fetch_add(1, std::memory_order_relaxed);
  if (overloaded) overloaded_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

BrownOut::State BrownOut::Step() {
  waiting_.calls += calls_.exchange(0, std::memory_order_relaxed);
  waiting_.overloaded += overloaded_.exchange(0, std::memory_order_relaxed);
  if (waiting_.overloaded > 0 && waiting_.calls < kEnoughCalls && ++waited_ < kMaxWait) {
    return {.level = shed_level_.level(), .calls = waiting_.calls, .overloaded = waiting_.overloaded};
  }
  State state = std::exchange(waiting_, {});
  waited_ = 0;
  state.level = shed_level_.Advance(state.calls, state.overloaded, 1);
  level_.store(state.level, std::memory_order_relaxed);
  threshold_.store(Threshold(), std::memory_order_relaxed);
  if (state.level > 0 || state.overloaded > 0) return state;
  state.over = true;
  credit_.store(0, std::memory_order_relaxed);
  seen_.store(0, std::memory_order_relaxed);
  active_.store(false, std::memory_order_release);
  return state;
}

std::vector<int64_t> BrownOut::Take(const Tensor& need, std::vector<int64_t>* rows) {
  const auto need_of = [&](int64_t row) {
    float value = 0;
    std::memcpy(&value, need.bytes().data() + static_cast<size_t>(row) * sizeof value, sizeof value);
    return value;
  };
  // Some of many rows say as much as all.
  const size_t stride = 1 + rows->size() / (kSeen / 4);
  for (size_t i = 0; i < rows->size(); i += stride) See(need_of((*rows)[i]));
  if (level() <= 0) return {};
  const float threshold = threshold_.load(std::memory_order_relaxed);
  std::vector<std::pair<float, int64_t>> candidates;
  for (const int64_t row : *rows) {
    const float value = need_of(row);
    if (value <= threshold) candidates.emplace_back(value, row);
  }
  const size_t count = Afford(rows->size(), candidates.size());
  std::sort(candidates.begin(), candidates.end());
  std::vector<int64_t> taken;
  for (size_t i = 0; i < count; ++i) taken.push_back(candidates[i].second);
  std::sort(taken.begin(), taken.end());
  std::vector<int64_t> left;
  std::set_difference(rows->begin(), rows->end(), taken.begin(), taken.end(), std::back_inserter(left));
  *rows = std::move(left);
  return taken;
}

void BrownOut::See(float need) {
  if (std::isnan(need)) return;
  needs_[seen_.fetch_add(1, std::memory_order_relaxed) % kSeen].store(need, std::memory_order_relaxed);
}

float BrownOut::Threshold() const {
  const uint32_t count = std::min(seen_.load(std::memory_order_relaxed), kSeen);
  const double level = level_.load(std::memory_order_relaxed);
  if (count < kEnoughSeen || level >= 1) return std::numeric_limits<float>::infinity();
  std::array<float, kSeen> needs;
  for (uint32_t i = 0; i < count; ++i) needs[i] = needs_[i].load(std::memory_order_relaxed);
  const auto at = static_cast<size_t>(level * count);
  std::nth_element(needs.begin(), needs.begin() + at, needs.begin() + count);
  return needs[at];
}

size_t BrownOut::Afford(size_t rows, size_t wanted) {
  const auto earned = static_cast<int64_t>(level() * static_cast<double>(rows) * kRow);
  int64_t have = credit_.load(std::memory_order_relaxed), taken = 0, left = 0;
  do {
    taken = std::min((have + earned) / kRow, static_cast<int64_t>(wanted));
    left = std::min(have + earned - taken * kRow, kMaxCredit);
  } while (!credit_.compare_exchange_weak(have, left, std::memory_order_relaxed));
  return static_cast<size_t>(taken);
}

}  // namespace portico
