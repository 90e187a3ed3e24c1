#include "hub/signature_difference.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace portico {
namespace {

template <typename T>
const T* Find(const std::vector<T>& list, const std::string& name) {
  const auto found = absl::c_find_if(list, [&](const T& one) { return one.name == name; });
  return found == list.end() ? nullptr : &*found;
}

bool AreAlike(const TensorSpec& a, const TensorSpec& b) {
  const auto same = [](const Dim& one, const Dim& other) { return one.extent == other.extent; };
  return a.dtype == b.dtype && a.has_rank == b.has_rank && absl::c_equal(a.dims, b.dims, same);
}

void AddTensors(const std::string& subject, const std::vector<TensorSpec>& before, const std::vector<TensorSpec>& after,
                std::vector<std::string>* lines) {
  for (const TensorSpec& spec : before) {
    const TensorSpec* other = Find(after, spec.name);
    if (other == nullptr) {
      lines->push_back(absl::StrCat(subject, " '", spec.name, "' ", spec.ToString(), " is gone"));
    } else if (!AreAlike(spec, *other)) {
      lines->push_back(
          absl::StrCat(subject, " '", spec.name, "' was ", spec.ToString(), " and is ", other->ToString()));
    }
  }
  for (const TensorSpec& spec : after) {
    if (Find(before, spec.name) != nullptr) continue;
    lines->push_back(absl::StrCat(subject, " '", spec.name, "' ", spec.ToString(), " is new"));
  }
}

}  // namespace

std::vector<std::string> SignatureDifferences(const std::vector<Signature>& before,
                                              const std::vector<Signature>& after) {
  std::vector<std::string> lines;
  for (const Signature& signature : before) {
    const std::string subject = absl::StrCat("signature '", signature.name, "'");
    const Signature* other = Find(after, signature.name);
    if (other == nullptr) {
      lines.push_back(absl::StrCat(subject, " is gone"));
      continue;
    }
    AddTensors(absl::StrCat(subject, ": input"), signature.inputs, other->inputs, &lines);
    AddTensors(absl::StrCat(subject, ": output"), signature.outputs, other->outputs, &lines);
  }
  for (const Signature& signature : after) {
    if (Find(before, signature.name) == nullptr) {
      lines.push_back(absl::StrCat("signature '", signature.name, "' is new"));
    }
  }
  return lines;
}

}  // namespace portico
