#include "node/order_inputs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

absl::StatusOr<std::vector<Tensor>> OrderInputs(const Signature& signature, std::vector<NamedTensor> named) {
  const auto has = [&](absl::string_view name) {
    return std::any_of(named.begin(), named.end(), [&](const NamedTensor& n) { return n.name == name; });
  };
  std::vector<Tensor> ordered(signature.inputs.size());
  bool fits = named.size() == signature.inputs.size();
  for (NamedTensor& input : named) {
    const int index = signature.InputIndex(input.name);
    if (index < 0 || ordered[static_cast<size_t>(index)].valid()) {
      fits = false;
      continue;
    }
    // The names stay where they are: a message may need them.
    ordered[static_cast<size_t>(index)] = std::move(input.tensor);
  }
  if (fits) return ordered;
  std::vector<std::string> sent, wanted, extra, missing;
  for (const NamedTensor& input : named) {
    sent.push_back(input.name);
    if (signature.InputIndex(input.name) < 0) extra.push_back(input.name);
  }
  for (const TensorSpec& spec : signature.inputs) {
    wanted.push_back(spec.name);
    if (!has(spec.name)) missing.push_back(spec.name);
  }
  for (std::vector<std::string>* names : {&sent, &wanted, &extra, &missing}) std::sort(names->begin(), names->end());
  if (named.size() != signature.inputs.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input size does not match signature: ", named.size(), "!=", signature.inputs.size(), " len({",
                     absl::StrJoin(sent, ","), "}) != len({", absl::StrJoin(wanted, ","), "}). Sent extra: {",
                     absl::StrJoin(extra, ","), "}. Missing but required: {", absl::StrJoin(missing, ","), "}."));
  }
  if (missing.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("inputs: got one of {", absl::StrJoin(sent, ","), "} twice, want each once"));
  }
  return absl::InvalidArgumentError(absl::StrCat("input '", missing[0], "': missing; the request has inputs {",
                                                 absl::StrJoin(sent, ","), "}, the signature wants {",
                                                 absl::StrJoin(wanted, ","), "}"));
}

}  // namespace portico
