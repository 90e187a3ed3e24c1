#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/compose/expression.h"
#include "models/package/signature.h"
#include "models/runtime/session.h"

namespace portico {

/// Texts as numbers, each one of its own, so that they can be told apart where rows are counted.
using TextNumbers = absl::flat_hash_map<std::string, double>;

/// What expressions over a model's answers come to, a number for each row: the same ops that a cascade's condition is
/// compiled to, run by ONNX Runtime over many rows at a time. For one thread.
class RowValues {
 public:
  struct Wanted {
    /// Term `root` of `expression`, which is used during Create() alone.
    const Expression* expression = nullptr;
    int root = 0;
  };

  /// `outputs`: what the answers are, in order. INVALID_ARGUMENT for names that are not there and types that don't fit,
  /// as when a cascade is composed. `texts` is not owned and must outlive this; those that share it give equal texts
  /// equal numbers.
  static absl::StatusOr<std::unique_ptr<RowValues>> Create(const std::vector<Wanted>& wanted,
                                                           absl::Span<const TensorSpec> outputs, TextNumbers& texts);

  /// As what the values are compared: kFloat, kDouble, kInt64, kBool or kString.
  DType dtype(size_t index) const;

  /// Appends a value for each row of `answers` to each of `columns`, one per wanted term; true is 1. INVALID_ARGUMENT
  /// where that is not `rows` values.
  absl::Status Append(absl::Span<const Tensor> answers, int64_t rows, std::vector<std::vector<double>>& columns);

 private:
  explicit RowValues(TextNumbers& texts) : texts_(texts) {}
  absl::Status AppendColumn(const Tensor& values, std::vector<double>& column);

  TextNumbers& texts_;
  std::unique_ptr<Session> session_;
  /// Of the answers, those that the session takes.
  std::vector<size_t> used_;
};

}  // namespace portico
