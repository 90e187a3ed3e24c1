#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// Rows to try models on, from arrays or from recorded requests, told apart by the name of the input they are for.
/// Requests of one shape are joined, so that they can be run many rows at a time. For one thread.
class TrialData {
 public:
  /// `inputs`: what a request holds; those whose axis is kRows have a row each for every row.
  explicit TrialData(std::vector<TensorSpec> inputs) : inputs_(std::move(inputs)) {}

  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  /// Of all that was added.
  int64_t rows() const { return rows_; }

  /// Adds the rows of one request, behind those that were added before; tensors of other names are left out.
  /// INVALID_ARGUMENT where an input is missing or does not fit, and where two have not equally many rows.
  absl::Status Add(absl::Span<const NamedTensor> tensors);

  /// Calls `visit` with all rows, at most `batch` at a time, until it says so: with their inputs in the order of
  /// inputs(), and how many they are. Each time in the same order, which is that of Add() where all have one shape.
  absl::Status Visit(int64_t batch, const std::function<absl::Status(const std::vector<NamedTensor>&, int64_t)>& visit);

 private:
  /// Requests that can be joined.
  struct Group {
    int64_t rows = 0;
    /// Per input; joined by Join().
    std::vector<std::vector<Tensor>> parts;
  };
  bool Joins(const Group& group, const std::vector<Tensor>& tensors) const;

  std::vector<TensorSpec> inputs_;
  std::vector<Group> groups_;
  int64_t rows_ = 0;
};

}  // namespace portico
