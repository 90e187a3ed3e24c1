#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/request_context.h"
#include "base/tensor.h"

namespace portico {

/// Runs exactly once, on any thread, never under a lock.
using OpDone = absl::AnyInvocable<void(absl::StatusOr<std::vector<Tensor>>)>;

/// One step of a graph: a segment (ordinary ops run by ONNX Runtime) or a portal. Thread-safe: one op serves all
/// requests of its graph at once.
class AsyncOp {
 public:
  virtual ~AsyncOp() = default;

  /// Starts, and returns without waiting for anything outside this process. `done` gets outputs in the step's order and
  /// may run inside this call. `context` and the tensors are kept alive by who needs them longer.
  virtual void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) = 0;
};

}  // namespace portico
