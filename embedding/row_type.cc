#include "embedding/row_type.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {
namespace {

constexpr std::array<absl::string_view, kRowTypes> kNames = {"float32", "float16", "bfloat16", "int8", "int4"};

}  // namespace

absl::string_view RowTypeName(RowType type) { return kNames[static_cast<size_t>(type)]; }

absl::StatusOr<RowType> RowTypeFromName(absl::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<RowType>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat("row type: got '", name, "', want ", absl::StrJoin(kNames, ", ")));
}

}  // namespace portico
