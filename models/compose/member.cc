#include "models/compose/member.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Turns a member's specs into the composition's.
class Translator {
 public:
  Translator(const CompositionMember& member, const Ingredient& ingredient, const Signature& signature)
      : member_(member), declared_(ingredient.axes_declared) {
    for (const TensorSpec& input : signature.inputs) {
      if (!BeginsOpen(input) || (declared_ && input.axis != AxisKind::kRows) ||
          absl::c_linear_search(member.shared, input.name)) {
        continue;
      }
      row_symbol_ = input.dims[0].symbol;
      break;
    }
    for (const TensorSpec& input : signature.inputs) {
      for (size_t i = 0; i < input.dims.size(); ++i) {
        const std::string& symbol = input.dims[i].symbol;
        if (!symbol.empty() && symbol != row_symbol_) other_symbols_.push_back(symbol);
      }
    }
    // "spam-full.L": an extent of one model is no other model's.
    prefix_ = member.model;
    std::replace_if(
        prefix_.begin(), prefix_.end(), [](char c) { return !absl::ascii_isalnum(static_cast<unsigned char>(c)); },
        '_');
    if (absl::ascii_isdigit(static_cast<unsigned char>(prefix_[0]))) prefix_.insert(0, "_");
  }

  TensorSpec Translate(const TensorSpec& spec, const CompositionMember::Names& names, bool input) const {
    TensorSpec ours = spec;
    const auto renamed = absl::c_find_if(names, [&](const auto& name) { return name.first == spec.name; });
    if (renamed != names.end()) ours.name = renamed->second;
    ours.graph_name.clear();
    ours.axis = CountsRows(spec, input) ? AxisKind::kRows : AxisKind::kShared;
    for (size_t i = 0; i < ours.dims.size(); ++i) {
      std::string& symbol = ours.dims[i].symbol;
      if (i == 0 && ours.axis == AxisKind::kRows) {
        symbol = std::string(kRowSymbol);
      } else if (!symbol.empty()) {
        symbol = Ours(symbol);
      }
    }
    return ours;
  }

 private:
  static bool BeginsOpen(const TensorSpec& spec) { return !spec.dims.empty() && spec.dims[0].extent < 0; }

  bool CountsRows(const TensorSpec& spec, bool input) const {
    if (!BeginsOpen(spec) || (input && absl::c_linear_search(member_.shared, spec.name))) return false;
    if (declared_) return spec.axis == AxisKind::kRows;
    if (spec.dims[0].symbol == row_symbol_) return true;
    // Exporters give outputs a symbol of their own, or none, where they can't tell.
    return !input && !absl::c_linear_search(other_symbols_, spec.dims[0].symbol);
  }

  std::string Ours(const std::string& symbol) const {
    std::string ours = absl::StrCat(prefix_, ".", symbol);
    // Commas and blanks mean something in a portal's shapes.
    std::replace_if(
        ours.begin(), ours.end(), [](char c) { return c == ',' || absl::ascii_isspace(static_cast<unsigned char>(c)); },
        '_');
    return ours;
  }

  const CompositionMember& member_;
  const bool declared_;
  std::string row_symbol_;
  /// Of inputs, in other places than the rows'.
  std::vector<std::string> other_symbols_;
  std::string prefix_;
};

/// That each of the names is one of `specs`, and that no two tensors get one name.
absl::Status CheckNames(const Composition& composition, const CompositionMember& member, absl::string_view what,
                        const CompositionMember::Names& names, const std::vector<TensorSpec>& theirs,
                        const std::vector<TensorSpec>& ours) {
  for (const auto& [name, renamed] : names) {
    if (FindSpec(theirs, name) != nullptr) continue;
    return composition.ErrorAt(member.line, absl::StrCat("'", member.model, "': ", what, "s: got '", name,
                                                         "', want one of its ", what, "s: ", NamesOf(theirs)));
  }
  for (size_t i = 0; i < ours.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (ours[i].name != ours[j].name) continue;
      return composition.ErrorAt(
          member.line, absl::StrCat("'", member.model, "': ", what, "s: got name '", ours[i].name, "' for two, '",
                                    theirs[j].name, "' and '", theirs[i].name, "', want a name for each"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string NamesOf(const std::vector<TensorSpec>& specs) {
  if (specs.empty()) return "none";
  return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& spec) { out->append(spec.name); });
}

const TensorSpec* FindSpec(const std::vector<TensorSpec>& specs, absl::string_view name) {
  const auto found = absl::c_find_if(specs, [&](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string Mismatch(const TensorSpec& have, const TensorSpec& want) {
  const auto differ = [&] { return absl::StrCat("got ", have.ToString(), ", want ", want.ToString()); };
  if (have.dtype != want.dtype && have.dtype != DType::kInvalid && want.dtype != DType::kInvalid) return differ();
  if (!have.has_rank || !want.has_rank) return "";
  if (have.dims.size() != want.dims.size()) return differ();
  for (size_t i = 0; i < have.dims.size(); ++i) {
    if (have.dims[i].extent >= 0 && want.dims[i].extent >= 0 && have.dims[i].extent != want.dims[i].extent) {
      return differ();
    }
  }
  if (have.axis != want.axis) {
    const TensorSpec& rows = have.axis == AxisKind::kRows ? have : want;
    return absl::StrCat(differ(), ", of which only '", rows.ToString(), "' counts rows; see 'shared'");
  }
  return "";
}

absl::StatusOr<BoundMember> BindMember(const Composition& composition, const CompositionMember& member,
                                       bool copied_by_default, const FindIngredient& find) {
  BoundMember bound;
  bound.member = &member;
  bound.copied = member.copied.value_or(copied_by_default);
  absl::StatusOr<Ingredient> ingredient = find(member.model, bound.copied);
  if (!ingredient.ok()) return composition.ErrorAt(member.line, ingredient.status().message());
  bound.ingredient = *std::move(ingredient);
  const std::vector<Signature>& signatures = bound.ingredient.signatures;
  const auto signature = absl::c_find_if(signatures, [&](const Signature& s) { return s.name == member.signature; });
  if (signature == signatures.end()) {
    return composition.ErrorAt(
        member.line, absl::StrCat("'", member.model, "': got signature '", member.signature, "', want one of ",
                                  absl::StrJoin(signatures, ", ",
                                                [](std::string* out, const Signature& s) { out->append(s.name); })));
  }
  bound.theirs = *signature;
  for (const std::string& shared : member.shared) {
    if (FindSpec(bound.theirs.inputs, shared) != nullptr) continue;
    return composition.ErrorAt(member.line, absl::StrCat("'", member.model, "': shared: got '", shared,
                                                         "', want one of its inputs: ", NamesOf(bound.theirs.inputs)));
  }
  for (const TensorSpec& input : bound.theirs.inputs) {
    if (input.axis != AxisKind::kRagged) continue;
    return composition.ErrorAt(member.line, absl::StrCat("'", member.model, "': got ragged input '", input.name,
                                                         "', want dense tensors; compositions know no others"));
  }
  const Translator translator(member, bound.ingredient, bound.theirs);
  for (const TensorSpec& spec : bound.theirs.inputs) {
    bound.inputs.push_back(translator.Translate(spec, member.inputs, true));
  }
  for (const TensorSpec& spec : bound.theirs.outputs) {
    bound.outputs.push_back(translator.Translate(spec, member.outputs, false));
  }
  RETURN_IF_ERROR(CheckNames(composition, member, "input", member.inputs, bound.theirs.inputs, bound.inputs));
  RETURN_IF_ERROR(CheckNames(composition, member, "output", member.outputs, bound.theirs.outputs, bound.outputs));
  return bound;
}

}  // namespace portico
