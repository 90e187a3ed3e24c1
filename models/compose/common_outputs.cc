#include "models/compose/common_outputs.h"

#include <numeric>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace portico {

absl::StatusOr<std::vector<std::string>> CommonOutputs(const Composition& composition,
                                                       const std::vector<BoundMember>& members) {
  const BoundMember& first = members[0];
  std::vector<std::string> names = composition.outputs;
  if (names.empty()) {
    for (const TensorSpec& output : first.outputs) {
      const auto has = [&](const BoundMember& member) { return FindSpec(member.outputs, output.name) != nullptr; };
      if (absl::c_all_of(members, has)) names.push_back(output.name);
    }
  }
  if (names.empty()) {
    std::string all;
    for (const BoundMember& member : members) {
      absl::StrAppend(&all, all.empty() ? "" : "; ", "'", member.member->model, "': ", NamesOf(member.outputs));
    }
    return composition.ErrorAt(composition.line, absl::StrCat("got no output that all have (", all,
                                                              "), want one at least; rename with 'outputs'"));
  }
  for (const BoundMember& member : members) {
    for (const std::string& name : names) {
      const TensorSpec* output = FindSpec(member.outputs, name);
      if (output == nullptr) {
        return composition.ErrorAt(
            member.member->line, absl::StrCat("'", member.member->model, "': got no output '", name, "', want one of ",
                                              NamesOf(member.outputs), "; rename with 'outputs'"));
      }
      const TensorSpec* like = FindSpec(first.outputs, name);
      if (like == nullptr) continue;
      if (const std::string why = Mismatch(*output, *like); !why.empty()) {
        return composition.ErrorAt(member.member->line,
                                   absl::StrCat("'", member.member->model, "': output '", name, "': ", why, ", as '",
                                                first.member->model, "' gives it"));
      }
    }
  }
  return names;
}

size_t OutputIndex(const BoundMember& member, const std::string& name) {
  const TensorSpec* spec = FindSpec(member.outputs, name);
  PORTICO_CHECK(spec != nullptr);
  return static_cast<size_t>(spec - member.outputs.data());
}

absl::Status CheckPinned(const Composition& composition, const BoundMember& member,
                         const std::vector<size_t>& outputs) {
  std::vector<size_t> all(member.outputs.size());
  std::iota(all.begin(), all.end(), size_t{0});
  if (!member.member->pinned || outputs == all) return absl::OkStatus();
  return composition.ErrorAt(
      member.member->line,
      absl::StrCat("'", member.member->model, "': pin: got ", outputs.size(), " of its outputs (",
                   NamesOf(member.outputs), "), want all of them in order; a call by digest goes by position"));
}

}  // namespace portico
