#include "base/execution_provider.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/edit_distance.h"

namespace portico {
namespace {

constexpr absl::string_view kNames[] = {"tensorrt", "cuda", "openvino", "dnnl", "xnnpack", "webgpu", "qnn", "cpu"};
constexpr size_t kMaxOptions = 64;
constexpr size_t kMaxText = 4096;

/// The known name that is nearest to one that is not, as a remedy; empty where none is near.
std::string Nearest(absl::string_view name) {
  const absl::string_view nearest = *absl::c_min_element(
      kNames, [&](absl::string_view a, absl::string_view b) { return EditDistance(a, name) < EditDistance(b, name); });
  if (EditDistance(nearest, name) > 3) return "";
  return absl::StrCat("; '", nearest, "' is, if that was meant");
}

absl::Status Refuse(absl::string_view name, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("execution provider '", name, "': ", message));
}

}  // namespace

absl::Span<const absl::string_view> KnownProviders() { return kNames; }

absl::Status CheckProviderList(absl::Span<const ExecutionProvider> providers) {
  for (size_t i = 0; i < providers.size(); ++i) {
    const auto& [name, options] = providers[i];
    if (!absl::c_linear_search(kNames, name)) {
      return Refuse(name.substr(0, 64), absl::StrCat("got a name that is none, want one of ",
                                                     absl::StrJoin(kNames, ", "), Nearest(name.substr(0, 64))));
    }
    for (size_t before = 0; before < i; ++before) {
      if (providers[before].name == name) return Refuse(name, "got it twice, want it once; remove one");
    }
    if (name == "cpu" && i + 1 != providers.size()) {
      return Refuse(name, "got others behind it, want it last: it leaves nothing to them; move or remove it");
    }
    if (name == "cpu" && !options.empty()) return Refuse(name, "got options, want none; remove them");
    if (options.size() > kMaxOptions) {
      return Refuse(name, absl::StrCat("got ", options.size(), " options, want at most ", kMaxOptions));
    }
    for (const auto& [key, value] : options) {
      if (key.size() <= kMaxText && value.size() <= kMaxText) continue;
      return Refuse(name, absl::StrCat("got an option of more than ", kMaxText, " bytes, want less"));
    }
  }
  return absl::OkStatus();
}

std::string ProviderNames(absl::Span<const ExecutionProvider> providers) {
  return absl::StrJoin(providers, ", ",
                       [](std::string* out, const ExecutionProvider& one) { absl::StrAppend(out, one.name); });
}

}  // namespace portico
