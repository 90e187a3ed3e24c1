#include "embedding/id_bags.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

template <typename... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckShape(const IdBags& bags, const TableSpec& spec, Pooling pooling) {
  const bool strings = spec.id_kind == IdKind::kString;
  if (strings ? !bags.ids.empty() : !bags.strings.empty()) {
    return Bad("ids: got ", strings ? "numbers" : "strings", ", want ", strings ? "strings" : "numbers");
  }
  if (!bags.weights.empty()) {
    if (bags.weights.size() != bags.count())
      return Bad("weights: got ", bags.weights.size(), ", want ", bags.count(), ", one for each id");
    if (pooling == Pooling::kMean) return Bad("weights: got some with mean, want none; take sum");
  }
  if (bags.width != 0) {
    if (!bags.offsets.empty()) return Bad("offsets: got some with padded ids, want none");
    if (bags.count() % bags.width != 0)
      return Bad("ids: got ", bags.count(), ", want a multiple of ", bags.width, ", the width");
    return absl::OkStatus();
  }
  if (bags.offsets.empty()) {
    if (pooling == Pooling::kNone) return absl::OkStatus();
    return Bad("offsets: got none, want where each bag begins, and the number of ids");
  }
  return absl::OkStatus();
}

absl::Status CheckOffsets(const IdBags& bags) {
  if (bags.offsets.empty()) return absl::OkStatus();
  const absl::Span<const int64_t> offsets = bags.offsets;
  if (offsets[0] != 0) return Bad("offset 0: got ", offsets[0], ", want 0");
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1])
      return Bad("offset ", i, ": got ", offsets[i], " behind ", offsets[i - 1], ", want no decrease");
  }
  if (static_cast<uint64_t>(offsets.back()) != bags.count())
    return Bad("offset ", offsets.size() - 1, ": got ", offsets.back(), ", want ", bags.count(), ", the number of ids");
  return absl::OkStatus();
}

}  // namespace

absl::Status IdBags::Validate(const TableSpec& spec, uint64_t table_rows, Pooling pooling) const {
  RETURN_IF_ERROR(CheckShape(*this, spec, pooling));
  RETURN_IF_ERROR(CheckOffsets(*this));
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i])) return Bad("weight ", i, ": got ", weights[i], ", want a finite number");
  }
  if (spec.id_kind != IdKind::kDense) return absl::OkStatus();
  const uint64_t end = spec.unknown == UnknownId::kError ? table_rows : uint64_t{1} << 63;
  for (size_t i = 0; i < ids.size(); ++i) {
    // A negative one is huge without its sign.
    if (static_cast<uint64_t>(ids[i]) < end || ids[i] == padding) continue;
    if (ids[i] < 0) return Bad("id ", i, ": got ", ids[i], ", want 0 or more");
    return absl::NotFoundError(absl::StrCat("id ", i, ": got ", ids[i], ", want less than ", table_rows,
                                            ", the number of rows; or declare what stands for unknown ids"));
  }
  return absl::OkStatus();
}

}  // namespace portico
