#include "embedding/table_spec.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "embedding/row_kernels.h"

namespace portico {
namespace {

constexpr std::array<absl::string_view, kIdKinds> kIdKindNames = {"dense", "sparse", "string"};
constexpr std::array<absl::string_view, kUnknownIds> kUnknownIdNames = {"error", "zeros", "default"};

template <typename T, size_t kCount>
absl::StatusOr<T> FromName(absl::string_view what, const std::array<absl::string_view, kCount>& names,
                           absl::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<T>(found - names.begin());
  return absl::InvalidArgumentError(absl::StrCat(what, ": got '", name, "', want ", absl::StrJoin(names, ", ")));
}

}  // namespace

absl::string_view IdKindName(IdKind kind) { return kIdKindNames[static_cast<size_t>(kind)]; }
absl::string_view UnknownIdName(UnknownId unknown) { return kUnknownIdNames[static_cast<size_t>(unknown)]; }
absl::StatusOr<IdKind> IdKindFromName(absl::string_view name) { return FromName<IdKind>("ids", kIdKindNames, name); }
absl::StatusOr<UnknownId> UnknownIdFromName(absl::string_view name) {
  return FromName<UnknownId>("unknown ids", kUnknownIdNames, name);
}

absl::Status TableSpec::Validate() const {
  const auto bad = [this](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("table '", name, "': ", parts...));
  };
  if (name.empty() || name.size() > 255) return bad("got a name of ", name.size(), " bytes, want 1 to 255");
  if (dim < 1 || dim > kMaxDim) return bad("got dim ", dim, ", want 1 to ", kMaxDim);
  const size_t want = unknown == UnknownId::kDefaultRow ? dim : 0;
  if (default_row.size() != want) return bad("got a default row of ", default_row.size(), " numbers, want ", want);
  for (const float value : default_row) {
    if (!std::isfinite(value)) return bad("got ", value, " in the default row, want finite numbers");
  }
  // Lookups may want it as the table stores its rows.
  std::string row(EncodedBytes(row_type, dim), '\0');
  if (!default_row.empty()) {
    const absl::Status fits = EncodeRow(RowKernels::Best(), row_type, default_row, row.data());
    if (!fits.ok()) return bad("default row: ", fits.message());
  }
  return absl::OkStatus();
}

size_t RowStride(const TableSpec& spec) {
  const size_t bytes = RowHeadBytes(spec.id_kind) + EncodedBytes(spec.row_type, spec.dim);
  const size_t packed = (bytes + 7) / 8 * 8;
  const size_t aligned = (bytes + 63) / 64 * 64;
  // A packed row begins at any multiple of 8 in a line: it touches 1 + (packed - 8) / 64 lines on average.
  return aligned * (aligned / 64) * 64 < packed * (64 + packed - 8) ? aligned : packed;
}

}  // namespace portico
