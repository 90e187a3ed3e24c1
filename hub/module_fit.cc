#include "hub/module_fit.h"

#include <string>
#include <tuple>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "hub/signature_difference.h"

namespace portico {
namespace {

std::string Names(const std::vector<TensorSpec>& specs) {
  return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& spec) { out->append(spec.name); });
}

}  // namespace

absl::Status CheckStandsIn(const Manifest& from, const Manifest& to) {
  const std::string subject = absl::StrCat("module '", to.handle.ToString(), "'");
  const std::string other = absl::StrCat("'", from.handle.ToString(), "'");
  if (!from.family.empty() && !to.family.empty() && from.family != to.family) {
    return absl::FailedPreconditionError(absl::StrCat(subject, ": got family '", to.family, "', want '", from.family,
                                                      "' as ", other, " has; choose a module of that family, or cut ",
                                                      "the product anew"));
  }
  const std::vector<std::string> lines = SignatureDifferences(from.signatures, to.signatures);
  if (!lines.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        subject, ": got other signatures than ", other, ", want the same:\n  ", absl::StrJoin(lines, "\n  "),
        "\npublish a version with the signatures that portals were cut for (servable.yaml can rename), or "
        "cut the product anew"));
  }
  for (const Signature& signature : from.signatures) {
    const auto same = absl::c_find_if(to.signatures, [&](const Signature& one) { return one.name == signature.name; });
    for (const auto& [what, want, got] : {std::tuple("inputs", &signature.inputs, &same->inputs),
                                          std::tuple("outputs", &signature.outputs, &same->outputs)}) {
      if (Names(*want) == Names(*got)) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          subject, ": got ", what, " of signature '", signature.name, "' in the order ", Names(*got), ", want ",
          Names(*want), " as ", other, " has: portals pass them by position; publish a version with that order"));
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
