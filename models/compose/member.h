#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/digest.h"
#include "models/compose/composition.h"
#include "models/package/package.h"

namespace portico {

/// What a composition has to know of a model it is made of.
struct Ingredient {
  Digest digest;
  std::vector<Signature> signatures;
  bool axes_declared = false;
  /// Where its graph is to be copied.
  std::shared_ptr<const Package> package;
};

/// Looks a model of the mesh up: its highest version that is served, with its package where `whole`. The error's
/// message alone is used.
using FindIngredient = std::function<absl::StatusOr<Ingredient>(const std::string& model, bool whole)>;

/// In a composition the first extent of whatever counts rows.
inline constexpr absl::string_view kRowSymbol = "N";

/// A member whose signature is known. Specs have the composition's names and symbols and the axis kind kRows where dim
/// 0 counts rows, in the order of the member's signature; `theirs` has the member's own names.
struct BoundMember {
  const CompositionMember* member = nullptr;
  Ingredient ingredient;
  Signature theirs;
  bool copied = false;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

/// INVALID_ARGUMENT with file and line for a model that is not there, a signature it has not, names in `inputs` and
/// `outputs` that are not its, ragged inputs.
absl::StatusOr<BoundMember> BindMember(const Composition& composition, const CompositionMember& member,
                                       bool copied_by_default, const FindIngredient& find);

/// Why a tensor of `have` cannot be used as `want`; empty where it can: dtype, rank and fixed extents are equal where
/// both know them, and both count rows or neither.
std::string Mismatch(const TensorSpec& have, const TensorSpec& want);

/// "a, b, c".
std::string NamesOf(const std::vector<TensorSpec>& specs);
/// null: not there.
const TensorSpec* FindSpec(const std::vector<TensorSpec>& specs, absl::string_view name);

}  // namespace portico
