#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/execution_provider.h"

struct OrtSessionOptions;

namespace portico {

/// What this ONNX Runtime says it was built with, by the names of KnownProviders(), as far as these go. That it has one
/// does not mean that it starts: its libraries or the device may be missing.
std::vector<std::string> ProvidersOfOnnxRuntime();

/// "ONNX Runtime 1.30.0 (/usr/lib/libonnxruntime.so.1)".
std::string OnnxRuntimeName();

/// Has sessions with these options use `providers`, in order. FAILED_PRECONDITION "execution provider 'cuda': …" where
/// this ONNX Runtime does not have one or cannot start it, with what is there and the remedy. REQUIRES:
/// CheckProviderList().
absl::Status AppendProviders(absl::Span<const ExecutionProvider> providers, OrtSessionOptions* options);

}  // namespace portico
