#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/dtype.h"
#include "base/row_partition.h"
#include "base/tensor.h"

namespace portico {

/// How the rows of many requests may meet in one tensor.
enum class AxisKind {
  /// The same for the whole request; never joined with another request's.
  kShared,
  /// Dim 0 counts rows and may be joined with other callers' rows.
  kRows,
  /// Values, and the input that divides them into rows; joining rebases the latter. Inputs only.
  kRagged,
};

/// "shared", "rows", "ragged".
absl::string_view AxisKindName(AxisKind kind);

/// One extent of a declared shape.
struct Dim {
  /// −1: known only at run time.
  int64_t extent = -1;
  /// Name of an extent known only at run time; equal names mean equal extents. May be empty.
  std::string symbol;

  friend bool operator==(const Dim&, const Dim&) = default;
};

/// A tensor as a signature declares it.
struct TensorSpec {
  /// What callers say.
  std::string name;
  /// The tensor of the graph that it stands for.
  std::string graph_name;
  /// kInvalid: not known before the model has run (an output whose type the model leaves out); any dtype fits.
  DType dtype = DType::kInvalid;
  /// False: the rank is not known and `dims` is empty.
  bool has_rank = true;
  std::vector<Dim> dims;
  AxisKind axis = AxisKind::kShared;
  /// Of ragged values: how they are divided into rows, and the name of the input that does it. That one is kRagged,
  /// too.
  RowPartition partition = RowPartition::kNone;
  std::string partition_input;

  /// "float32[N,64]"; "float32[...]" without a rank, "any[...]" without a dtype.
  std::string ToString() const;
  /// INVALID_ARGUMENT "input 'x': got int64[2], want float32[N,64]; ..." when dtype, rank or a fixed extent differs.
  /// `what` is "input" or "output". Equal symbols within one tensor are compared too.
  absl::Status Check(absl::string_view what, const Tensor& tensor) const;
};

/// A named function of a servable. Order of inputs and outputs is the graph's and part of the contract: a caller that
/// knows the digest passes tensors by position.
struct Signature {
  std::string name;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;

  /// −1 when there is no such input.
  int InputIndex(absl::string_view input) const;
  int OutputIndex(absl::string_view output) const;
};

inline constexpr absl::string_view kDefaultSignature = "serving_default";

}  // namespace portico
