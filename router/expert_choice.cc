#include "router/expert_choice.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/algorithm/container.h"
#include "base/check.h"

namespace portico {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

ExpertChoice::ExpertChoice(const Rule& rule, absl::Span<const float> gates)
    : rule_(rule), gates_(gates), rows_(static_cast<int64_t>(gates.size()) / rule.experts) {
  PORTICO_CHECK(gates.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  PORTICO_CHECK(rule.k >= 1 && rule.k <= rule.experts && rule.k <= ExpertsSpec::kMaxK);
  experts_.assign(static_cast<size_t>(rows_ * rule_.k), kNone);
  faults_.assign(static_cast<size_t>(rows_), Fault::kNone);
  for (int64_t row = 0; row < rows_; ++row) {
    const Fault fault = Rank(row);
    faults_[static_cast<size_t>(row)] = fault;
    faulty_ += fault != Fault::kNone;
  }
  if (rule_.capacity > 0) Limit();
}

/// Gates have to be above it.
float ExpertChoice::floor() const { return rule_.weights == ExpertWeights::kRenormalize ? 0 : -kInfinity; }

ExpertChoice::Fault ExpertChoice::Rank(int64_t row) {
  const absl::Span<const float> gates = GatesOf(row);
  int32_t* const slots = experts_.data() + row * rule_.k;
  const float least = floor();
  const bool weights = rule_.weights == ExpertWeights::kRenormalize;
  Fault fault = Fault::kNone;
  int count = 0;
  // What a gate has to be above to come into the slots.
  float bar = least;
  for (int32_t e = 0; e < rule_.experts; ++e) {
    const float gate = gates[static_cast<size_t>(e)];
    if (gate <= bar) {
      // Even below the bar it may be what no weight can be.
      if (weights && gate < 0 && gate != -kInfinity) fault = Fault::kNegative;
      continue;
    }
    if (!(gate < kInfinity)) {
      fault = Fault::kNotFinite;
      break;
    }
    int at = count < rule_.k ? count++ : rule_.k - 1;
    for (; at > 0 && gates[static_cast<size_t>(slots[at - 1])] < gate; --at) slots[at] = slots[at - 1];
    slots[at] = e;
    if (count == rule_.k) bar = gates[static_cast<size_t>(slots[rule_.k - 1])];
  }
  if (fault == Fault::kNone && count == 0) fault = Fault::kNothing;
  if (fault != Fault::kNone) std::fill_n(slots, rule_.k, kNone);
  return fault;
}

template <typename Allowed>
int32_t ExpertChoice::Best(int64_t row, Allowed allowed) const {
  const absl::Span<const float> gates = GatesOf(row);
  const absl::Span<const int32_t> taken = ExpertsOf(row);
  int32_t best = kNone;
  float bar = floor();
  for (int32_t e = 0; e < rule_.experts; ++e) {
    const float gate = gates[static_cast<size_t>(e)];
    if (gate <= bar || !allowed(e) || absl::c_linear_search(taken, e)) continue;
    best = e;
    bar = gate;
  }
  return best;
}

void ExpertChoice::Limit() {
  const double share = static_cast<double>(rule_.capacity) * static_cast<double>(rows_) * rule_.k / rule_.experts;
  if (share >= static_cast<double>(rows_)) return;
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(share)));
  std::vector<int64_t> taken(static_cast<size_t>(rule_.experts));
  const auto has_room = [&](int32_t e) { return taken[static_cast<size_t>(e)] < most; };
  // What each row wants, best first; the slots are filled anew.
  const std::vector<int32_t> wanted = experts_;
  absl::c_fill(experts_, kNone);
  for (int i = 0; i < rule_.k; ++i) {
    for (int64_t row = 0; row < rows_; ++row) {
      const auto slot = static_cast<size_t>(row * rule_.k + i);
      if (wanted[slot] == kNone) continue;
      const absl::Span<const int32_t> own = ExpertsOf(row);
      const auto free = [&](int32_t e) { return e != kNone && has_room(e) && !absl::c_linear_search(own, e); };
      const auto first = wanted.begin() + row * rule_.k;
      const auto found = std::find_if(first, first + rule_.k, free);
      const int32_t chosen = found != first + rule_.k ? *found : Best(row, has_room);
      overflowed_ += found == first + rule_.k;
      if (chosen == kNone) {
        crowded_.push_back(row);
        continue;
      }
      experts_[slot] = chosen;
      ++taken[static_cast<size_t>(chosen)];
    }
  }
  absl::c_sort(crowded_);
  crowded_.erase(std::unique(crowded_.begin(), crowded_.end()), crowded_.end());
}

std::vector<ExpertChoice::Part> ExpertChoice::Parts() {
  std::vector<int32_t> slots;
  slots.reserve(experts_.size());
  for (size_t slot = 0; slot < experts_.size(); ++slot) {
    if (experts_[slot] != kNone) slots.push_back(static_cast<int32_t>(slot));
  }
  return PartsOf(slots);
}

std::vector<ExpertChoice::Part> ExpertChoice::PartsOf(absl::Span<const int32_t> slots) {
  // Counted, then placed: begin[e] is where those of expert e begin.
  std::vector<int32_t> begin(static_cast<size_t>(rule_.experts) + 1);
  const auto expert_of = [&](int32_t slot) { return static_cast<size_t>(experts_[static_cast<size_t>(slot)]); };
  for (const int32_t slot : slots) ++begin[expert_of(slot) + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  buffers_.emplace_back(new int32_t[slots.size()]);
  int32_t* const sorted = buffers_.back().get();
  std::vector<Part> parts;
  for (size_t e = 0; e + 1 < begin.size(); ++e) {
    const int32_t count = begin[e + 1] - begin[e];
    if (count == 0) continue;
    parts.push_back({static_cast<int32_t>(e), absl::MakeConstSpan(sorted + begin[e], static_cast<size_t>(count))});
  }
  for (const int32_t slot : slots) sorted[begin[expert_of(slot)]++] = slot;
  return parts;
}

std::vector<ExpertChoice::Part> ExpertChoice::Replace(absl::Span<const int32_t> failed, bool refill,
                                                      absl::Span<const uint8_t> answered) {
  failed_.resize(static_cast<size_t>(rule_.experts));
  for (const int32_t expert : failed) failed_[static_cast<size_t>(expert)] = true;
  const auto works = [&](int32_t e) { return !failed_[static_cast<size_t>(e)]; };
  std::vector<int32_t> filled;
  for (size_t slot = 0; slot < experts_.size(); ++slot) {
    if (experts_[slot] == kNone || works(experts_[slot]) || (!answered.empty() && answered[slot])) continue;
    experts_[slot] = refill ? Best(static_cast<int64_t>(slot) / rule_.k, works) : kNone;
    if (experts_[slot] != kNone) filled.push_back(static_cast<int32_t>(slot));
  }
  return PartsOf(filled);
}

int ExpertChoice::Weigh(int64_t row, absl::Span<const uint8_t> answered, int32_t* slots, float* weights) const {
  const absl::Span<const float> gates = GatesOf(row);
  const auto gate_of = [&](int32_t slot) { return gates[static_cast<size_t>(experts_[static_cast<size_t>(slot)])]; };
  const auto better = [&](int32_t a, int32_t b) {
    const float one = gate_of(a), other = gate_of(b);
    return one > other || (one == other && experts_[static_cast<size_t>(a)] < experts_[static_cast<size_t>(b)]);
  };
  int count = 0;
  for (auto slot = static_cast<int32_t>(row * rule_.k); slot < static_cast<int32_t>((row + 1) * rule_.k); ++slot) {
    if (!answered[static_cast<size_t>(slot)]) continue;
    int at = count++;
    for (; at > 0 && better(slot, slots[at - 1]); --at) slots[at] = slots[at - 1];
    slots[at] = slot;
  }
  if (rule_.weights == ExpertWeights::kNone) {
    for (int i = 0; i < count; ++i) weights[i] = gate_of(slots[i]);
    return count;
  }
  const auto share = [&](int i) {
    const double gate = gate_of(slots[i]);
    return rule_.weights == ExpertWeights::kSoftmax ? std::exp(gate - gate_of(slots[0])) : gate;
  };
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += share(i);
  for (int i = 0; i < count; ++i) weights[i] = static_cast<float>(share(i) / sum);
  return count;
}

std::string FaultText(ExpertChoice::Fault fault) {
  switch (fault) {
    case ExpertChoice::Fault::kNotFinite:
      return "gate: got NaN or +inf, want numbers, or -inf for an expert that is not to answer";
    case ExpertChoice::Fault::kNegative:
      return "gate: got a weight below 0, want weights from 0 on; take softmax where gates are scores";
    default:
      return "gate: got no expert that may answer, want at least one gate above -inf (above 0 where gates are weights)";
  }
}

double MeanGateEntropy(const ExpertChoice::Rule& rule, absl::Span<const float> gates, int64_t max_rows) {
  if (rule.weights == ExpertWeights::kNone) return -1;
  const int64_t rows = static_cast<int64_t>(gates.size()) / rule.experts;
  const int64_t step = std::max<int64_t>(1, (rows + max_rows - 1) / std::max<int64_t>(1, max_rows));
  const double most = rule.experts > 1 ? std::log(rule.experts) : 1;
  Eigen::ArrayXf shares(rule.experts);
  double sum = 0;
  int64_t counted = 0;
  for (int64_t row = 0; row < rows; row += step) {
    const Eigen::Map<const Eigen::ArrayXf> own(gates.data() + row * rule.experts, rule.experts);
    if (rule.weights == ExpertWeights::kSoftmax) {
      const float best = own.maxCoeff<Eigen::PropagateNaN>();
      if (!std::isfinite(best)) continue;
      shares = (own - best).exp();
    } else {
      shares = (own > 0).select(own, 0);
    }
    const float total = shares.sum();
    if (!std::isfinite(total) || total <= 0) continue;
    shares /= total;
    // An expert without a share adds nothing.
    sum -= (shares > 0).select(shares * shares.max(std::numeric_limits<float>::min()).log(), 0).sum();
    ++counted;
  }
  return counted == 0 ? -1 : std::clamp(sum / static_cast<double>(counted) / most, 0.0, 1.0);
}

}  // namespace portico
