#include "models/package/signature.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {
namespace {

int IndexOf(const std::vector<TensorSpec>& specs, absl::string_view name) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

std::string DimString(const Dim& dim) {
  if (dim.extent >= 0) return absl::StrCat(dim.extent);
  return dim.symbol.empty() ? "?" : dim.symbol;
}

/// What in `tensor` does not fit `spec`; empty when everything does. Signatures have few dims: comparing every pair of
/// symbols costs less than a map would.
std::string Misfit(const TensorSpec& spec, const Tensor& tensor) {
  if (spec.dtype != DType::kInvalid && tensor.dtype() != spec.dtype) return "its dtype differs";
  if (!spec.has_rank) return "";
  if (tensor.shape().size() != spec.dims.size()) return "its number of dims differs";
  for (size_t i = 0; i < spec.dims.size(); ++i) {
    const Dim& dim = spec.dims[i];
    if (dim.extent >= 0) {
      if (tensor.shape()[i] != dim.extent) return absl::StrCat("dim ", i, " must be ", dim.extent);
      continue;
    }
    if (dim.symbol.empty()) continue;
    for (size_t j = 0; j < i; ++j) {
      if (spec.dims[j].extent < 0 && spec.dims[j].symbol == dim.symbol && tensor.shape()[j] != tensor.shape()[i]) {
        return absl::StrCat("dims ", j, " and ", i, " are both '", dim.symbol, "' and must be equal");
      }
    }
  }
  return "";
}

}  // namespace

absl::string_view AxisKindName(AxisKind kind) {
  switch (kind) {
    case AxisKind::kShared:
      return "shared";
    case AxisKind::kRows:
      return "rows";
    case AxisKind::kRagged:
      return "ragged";
  }
  return "unknown";
}

std::string TensorSpec::ToString() const {
  const absl::string_view type = dtype == DType::kInvalid ? "any" : DTypeName(dtype);
  if (!has_rank) return absl::StrCat(type, "[...]");
  return absl::StrCat(
      type, "[", absl::StrJoin(dims, ",", [](std::string* out, const Dim& dim) { out->append(DimString(dim)); }), "]");
}

absl::Status TensorSpec::Check(absl::string_view what, const Tensor& tensor) const {
  const std::string misfit = Misfit(*this, tensor);
  if (misfit.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " '", name, "': got ", DTypeName(tensor.dtype()),
                                                 ShapeString(tensor.shape()), ", want ", ToString(), "; ", misfit));
}

int Signature::InputIndex(absl::string_view input) const { return IndexOf(inputs, input); }
int Signature::OutputIndex(absl::string_view output) const { return IndexOf(outputs, output); }

}  // namespace portico
