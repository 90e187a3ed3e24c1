#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/graph/experts_spec.h"

namespace portico {

/// Which experts answer which rows of one request, and what each answer counts for. Computes from the gates alone and
/// calls nobody. For one thread at a time.
///
/// Each row has k slots, one per expert that is to answer it: slot i of row r is number r·k + i. First the best k
/// experts of the row are in them, as far as there is room (equal gates: the lower expert); where the capacity is
/// limited, all rows choose their best before any chooses its second, in order. After experts have failed, Replace()
/// fills their slots with the best of the row that is not there yet and has not failed, full or not. So which experts a
/// row ends with depends on who failed, not on when.
class ExpertChoice {
 public:
  static constexpr int32_t kNone = -1;

  struct Rule {
    int experts = 1;
    int k = 1;
    ExpertWeights weights = ExpertWeights::kSoftmax;
    /// ExpertsSpec::capacity.
    float capacity = 0;
  };

  /// Why a row has no expert.
  enum class Fault : uint8_t {
    kNone,
    /// NaN or +inf in its gates.
    kNotFinite,
    /// A weight below 0.
    kNegative,
    /// No gate that allows an expert: all −inf, or all 0 where gates are weights.
    kNothing,
  };

  /// What one expert is to answer.
  struct Part {
    int32_t expert;
    /// Rising; lives as long as the choice.
    absl::Span<const int32_t> slots;
  };

  /// `gates`: rows × rule.experts, row by row; not owned. REQUIRES: fewer than 2^31 of them, 1 <= k <= kMaxK,
  /// k <= experts.
  ExpertChoice(const Rule& rule, absl::Span<const float> gates);

  int64_t rows() const { return rows_; }
  int k() const { return rule_.k; }
  /// Experts of one row: kNone where a slot is empty.
  absl::Span<const int32_t> ExpertsOf(int64_t row) const {
    return absl::MakeConstSpan(experts_).subspan(static_cast<size_t>(row * rule_.k), static_cast<size_t>(rule_.k));
  }
  Fault fault(int64_t row) const { return faults_[static_cast<size_t>(row)]; }
  /// Rows with a fault.
  int64_t faulty() const { return faulty_; }
  /// Slots that went to an expert that is none of the row's best k, or to none, because those were full.
  int64_t overflowed() const { return overflowed_; }
  /// Rows, rising, that have fewer experts than they could, because all the others were full.
  absl::Span<const int64_t> crowded() const { return crowded_; }

  /// All slots that are not empty, by expert. Rising.
  std::vector<Part> Parts();
  /// `failed` (those of this time) answer no more: their slots get other experts, which are returned as parts; or
  /// become empty where there is none, or where `refill` is false. Slots for which `answered` (one per slot, or empty)
  /// is true stay.
  std::vector<Part> Replace(absl::Span<const int32_t> failed, bool refill, absl::Span<const uint8_t> answered = {});

  /// The slots of `row` for which `answered` (one per slot of all rows) is true, best gate first, and what each counts
  /// for. Returns how many. REQUIRES: `slots` and `weights` have room for k.
  int Weigh(int64_t row, absl::Span<const uint8_t> answered, int32_t* slots, float* weights) const;

 private:
  absl::Span<const float> GatesOf(int64_t row) const {
    return gates_.subspan(static_cast<size_t>(row) * static_cast<size_t>(rule_.experts),
                          static_cast<size_t>(rule_.experts));
  }
  float floor() const;
  /// Fills the row's slots with its best k.
  Fault Rank(int64_t row);
  void Limit();
  /// The best of the row that is in none of its slots and for which `allowed` is true; kNone where there is none.
  template <typename Allowed>
  int32_t Best(int64_t row, Allowed allowed) const;
  /// `slots` by the expert in each.
  std::vector<Part> PartsOf(absl::Span<const int32_t> slots);

  const Rule rule_;
  const absl::Span<const float> gates_;
  const int64_t rows_;
  std::vector<int32_t> experts_;
  std::vector<Fault> faults_;
  int64_t faulty_ = 0;
  int64_t overflowed_ = 0;
  std::vector<int64_t> crowded_;
  /// By expert; empty while none has failed.
  std::vector<uint8_t> failed_;
  /// What Parts() and Replace() returned views of.
  std::vector<std::unique_ptr<int32_t[]>> buffers_;
};

/// "gate: got NaN or +inf, want ...": why rows with that fault have no answer. REQUIRES: not kNone.
std::string FaultText(ExpertChoice::Fault fault);

/// How evenly gates are spread: the mean over rows of their entropy by the logarithm of the number of experts, 1 where
/// all experts count the same, 0 where one does. At most `max_rows` rows, evenly spaced, are looked at; those with a
/// fault are left out. −1 where there is nothing to tell: no such row, or gates that are no distribution (kNone).
double MeanGateEntropy(const ExpertChoice::Rule& rule, absl::Span<const float> gates, int64_t max_rows);

}  // namespace portico
