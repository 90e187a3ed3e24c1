#include "models/compose/composition.h"

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status Composition::ErrorAt(int at_line, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(file, ":", at_line, ": model '", name, "': ", message));
}

absl::string_view CompositionKindName(Composition::Kind kind) {
  switch (kind) {
    case Composition::Kind::kCascade:
      return "cascade";
    case Composition::Kind::kExperts:
      return "experts";
    case Composition::Kind::kSequence:
      return "sequence";
    case Composition::Kind::kEnsemble:
      return "ensemble";
  }
  return "";
}

}  // namespace portico
