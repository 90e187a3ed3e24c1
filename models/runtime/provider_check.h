#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/execution_provider.h"

namespace portico {

/// Whether this ONNX Runtime has all of `providers` and they start here: makes a session of one op with each, which
/// loads its libraries and asks for its device, and drops it again. FAILED_PRECONDITION "execution provider 'cuda': …".
/// Takes as long as a device takes to start; nothing for cpu alone. REQUIRES: CheckProviderList().
absl::Status CheckProvidersStart(absl::Span<const ExecutionProvider> providers);

}  // namespace portico
