#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace portico {

/// Something that ONNX Runtime executes nodes of a graph by, such as a GPU. Of a list the first that can do a node does
/// it; with "cpu" last the processor does the rest, without it a model with a rest is refused. An empty list: cpu.
struct ExecutionProvider {
  /// Of KnownProviders().
  std::string name;
  /// By ONNX Runtime's own names: device_id, gpu_mem_limit (bytes), …
  std::map<std::string, std::string> options;

  friend bool operator==(const ExecutionProvider&, const ExecutionProvider&) = default;
};

/// Names that a list may have, as people write them: "cuda", "tensorrt", "cpu", …
absl::Span<const absl::string_view> KnownProviders();

/// INVALID_ARGUMENT "execution provider 'cdua': …; 'cuda' is, if that was meant" where a name is not known or comes
/// twice, cpu has options or is not last, or options are too many or too long.
absl::Status CheckProviderList(absl::Span<const ExecutionProvider> providers);

/// "tensorrt, cuda, cpu".
std::string ProviderNames(absl::Span<const ExecutionProvider> providers);

}  // namespace portico
