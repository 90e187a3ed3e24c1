#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"
#include "base/tensor_comparison.h"
#include "models/package/signature.h"

namespace portico {

/// How far answers have moved from what they were, output by output and row by row (dim 0; what has none is one row).
///
/// A row has changed where another of its elements is the largest, or a number by itself or anything but floating point
/// is another one (RowsThatDisagree()); with a tolerance also where any of its numbers is beyond that. For one thread.
class AnswerShift {
 public:
  struct Output {
    std::string name;
    uint64_t rows = 0;
    uint64_t changed = 0;
    double max_absolute = 0;
    double max_relative = 0;

    /// What share `q` of the rows differs by at most, absolutely; of the rows that are kept (kMaxKept).
    double Quantile(double q) const;
    double changed_share() const { return rows == 0 ? 0 : static_cast<double>(changed) / static_cast<double>(rows); }

   private:
    friend class AnswerShift;
    static constexpr size_t kMaxKept = size_t{1} << 20;
    void Keep(double difference);

    /// Of every `stride`-th row.
    std::vector<float> differences_;
    uint64_t stride_ = 1;
  };

  explicit AnswerShift(std::optional<Tolerance> tolerance) : tolerance_(tolerance) {}

  /// One request's answers by `specs`. REQUIRES: as many tensors as specs.
  void Add(const std::vector<TensorSpec>& specs, absl::Span<const Tensor> before, absl::Span<const Tensor> after);

  const std::vector<Output>& outputs() const { return outputs_; }
  /// Of requests.
  uint64_t requests() const { return requests_; }
  /// The output of which the largest share of rows has changed; null: there is none.
  const Output* Worst() const;
  /// A table, a line for each output.
  std::string Text() const;

 private:
  Output& Find(const std::string& name);

  const std::optional<Tolerance> tolerance_;
  std::vector<Output> outputs_;
  uint64_t requests_ = 0;
};

}  // namespace portico
