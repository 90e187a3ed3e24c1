#include "models/runtime/row_check.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

using Extents = std::vector<std::pair<std::string, int64_t>>;

/// Extents tried for symbols that do not count rows, until the session takes one: pictures and sequences have least
/// sizes.
constexpr std::array<int64_t, 3> kOtherExtents = {3, 16, 64};
/// How many rows each half of a joined run has. One row alone shows what squeezes.
constexpr std::array<std::pair<int64_t, int64_t>, 3> kRounds = {{{2, 3}, {1, 2}, {3, 2}}};

bool CountsRows(const TensorSpec& spec, const std::string& symbol) {
  return spec.has_rank && !spec.dims.empty() && spec.dims[0].extent < 0 && spec.dims[0].symbol == symbol;
}

/// The symbol of dim 0 that the inputs share.
absl::StatusOr<std::string> CommonSymbol(const std::vector<TensorSpec>& inputs) {
  std::string symbol;
  for (const TensorSpec& input : inputs) {
    if (input.dims.empty() || input.dims[0].extent >= 0) continue;
    const std::string& first = input.dims[0].symbol;
    if (first.empty()) {
      return absl::FailedPreconditionError(absl::StrCat("input '", input.name,
                                                        "' has no symbol for its first extent; give it one, or declare "
                                                        "axis: rows in servable.yaml"));
    }
    if (!symbol.empty() && symbol != first) {
      return absl::FailedPreconditionError(
          absl::StrCat("inputs begin with different symbols, '", symbol, "' and '", first, "'"));
    }
    symbol = first;
  }
  if (symbol.empty()) return absl::FailedPreconditionError("no input has a symbolic first extent");
  return symbol;
}

/// Sets the kinds by the declared shapes.
absl::Status DeclareKinds(const Session& session, const std::string& symbol, RowAxes& axes) {
  const auto refuse_elsewhere = [&](const TensorSpec& spec) {
    for (size_t i = 1; i < spec.dims.size(); ++i) {
      if (spec.dims[i].extent < 0 && spec.dims[i].symbol == symbol) {
        return absl::FailedPreconditionError(absl::StrCat("'", spec.name, "' is ", spec.ToString(),
                                                          ": the row symbol '", symbol, "' behind its first extent"));
      }
    }
    return absl::OkStatus();
  };
  bool any = false;
  for (const TensorSpec& input : session.inputs()) {
    RETURN_IF_ERROR(refuse_elsewhere(input));
    axes.inputs.push_back(CountsRows(input, symbol) ? AxisKind::kRows : AxisKind::kShared);
    any |= axes.inputs.back() == AxisKind::kRows;
  }
  if (!any) return absl::FailedPreconditionError(absl::StrCat("no input begins with the row symbol '", symbol, "'"));
  for (const TensorSpec& output : session.outputs()) {
    RETURN_IF_ERROR(refuse_elsewhere(output));
    if (!CountsRows(output, symbol)) {
      return absl::FailedPreconditionError(absl::StrCat("output '", output.name, "' is ", output.ToString(),
                                                        ": it does not begin with the row symbol '", symbol, "'"));
    }
    axes.outputs.push_back(AxisKind::kRows);
  }
  return absl::OkStatus();
}

/// Runs two halves apart and together, and compares.
class JoinCheck {
 public:
  JoinCheck(Session& session, const std::string& symbol, const std::vector<AxisKind>& kinds)
      : session_(session), symbol_(symbol), kinds_(kinds) {
    for (const TensorSpec& input : session.inputs()) {
      for (const Dim& dim : input.dims) {
        if (dim.extent < 0 && !dim.symbol.empty() && dim.symbol != symbol) others_.push_back(dim.symbol);
      }
    }
  }

  absl::Status Check() {
    RETURN_IF_ERROR(ChooseExtent());
    for (size_t round = 0; round < kRounds.size(); ++round) {
      const auto [first_rows, second_rows] = kRounds[round];
      RETURN_IF_ERROR(CheckRound(Inputs(first_rows, 2 * round + 1), Inputs(second_rows, 2 * round + 2), first_rows));
    }
    return absl::OkStatus();
  }

 private:
  std::vector<Tensor> Inputs(int64_t rows, uint64_t seed) const {
    Extents extents = {{symbol_, rows}};
    for (const std::string& other : others_) extents.emplace_back(other, other_extent_);
    return GenerateInputs(session_.inputs(), extents, seed);
  }

  absl::Status ChooseExtent() {
    absl::Status first;
    for (const int64_t extent : kOtherExtents) {
      other_extent_ = extent;
      const auto outputs = session_.Run(Inputs(2, 0));
      if (outputs.ok()) return absl::OkStatus();
      if (first.ok()) first = outputs.status();
      if (others_.empty()) break;
    }
    return WithContext("generated inputs fail", first);
  }

  static bool HasWholeRows(const Tensor& tensor) {
    const uint64_t rows = static_cast<uint64_t>(tensor.rows());
    return rows == 0 || tensor.num_elements() / rows * BitsPerElement(tensor.dtype()) % 8 == 0;
  }

  absl::Status CheckRound(std::vector<Tensor> first, std::vector<Tensor> second, int64_t first_rows) {
    std::vector<Tensor> joined;
    for (size_t i = 0; i < first.size(); ++i) {
      if (kinds_[i] == AxisKind::kRows) {
        if (!HasWholeRows(first[i])) return absl::FailedPreconditionError("a row does not fill whole bytes");
        joined.push_back(ConcatRows({first[i], second[i]}));
      } else {
        second[i] = first[i];
        joined.push_back(first[i]);
      }
    }
    ASSIGN_OR_RETURN(const std::vector<Tensor> want_first, session_.Run(first));
    ASSIGN_OR_RETURN(const std::vector<Tensor> want_second, session_.Run(second));
    ASSIGN_OR_RETURN(const std::vector<Tensor> got, session_.Run(joined));
    for (size_t i = 0; i < got.size(); ++i) {
      const absl::Status same = Compare(got[i], want_first[i], want_second[i], first_rows);
      if (!same.ok()) {
        return WithContext(absl::StrCat("output '", session_.outputs()[i].name, "' of joined rows"), same);
      }
    }
    return absl::OkStatus();
  }

  static absl::Status Compare(const Tensor& got, const Tensor& first, const Tensor& second, int64_t first_rows) {
    const int64_t rows = got.shape().empty() ? -1 : got.shape()[0];
    const int64_t second_rows = second.shape().empty() ? -1 : second.shape()[0];
    const bool has_rows = !first.shape().empty() && first.shape()[0] == first_rows && second_rows >= 0;
    if (!has_rows || rows != first_rows + second_rows) {
      return absl::FailedPreconditionError(absl::StrCat("got ", ShapeString(got.shape()), " where apart they are ",
                                                        ShapeString(first.shape()), ShapeString(second.shape())));
    }
    if (!HasWholeRows(got)) return absl::FailedPreconditionError("a row does not fill whole bytes");
    RETURN_IF_ERROR(CompareTensors(got.Slice(0, first_rows), first));
    return CompareTensors(got.Slice(first_rows, second_rows), second);
  }

  Session& session_;
  const std::string& symbol_;
  const std::vector<AxisKind>& kinds_;
  std::vector<std::string> others_;
  int64_t other_extent_ = 0;
};

absl::Status Infer(Session& session, RowAxes& axes) {
  ASSIGN_OR_RETURN(const std::string symbol, CommonSymbol(session.inputs()));
  RETURN_IF_ERROR(DeclareKinds(session, symbol, axes));
  for (size_t i = 0; i < axes.inputs.size(); ++i) {
    const TensorSpec& input = session.inputs()[i];
    if (!input.has_rank) return absl::FailedPreconditionError(absl::StrCat("input '", input.name, "' has no rank"));
  }
  return JoinCheck(session, symbol, axes.inputs).Check();
}

}  // namespace

RowAxes InferRowAxes(Session& session) {
  RowAxes axes;
  const absl::Status inferred = Infer(session, axes);
  axes.joinable = inferred.ok();
  if (axes.joinable) return axes;
  axes.reason = std::string(inferred.message());
  axes.inputs.assign(session.inputs().size(), AxisKind::kShared);
  axes.outputs.assign(session.outputs().size(), AxisKind::kShared);
  return axes;
}

}  // namespace portico
