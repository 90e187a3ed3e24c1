#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/execution_provider.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// One ONNX model ready to run: the adapter of ONNX Runtime, the only place that includes it. Run() is thread-safe.
///
/// Inputs are handed over without a copy (except strings, and addresses that do not suit the dtype); outputs are ONNX
/// Runtime's own values, which the returned tensors keep alive. Exceptions stop here.
class Session {
 public:
  struct Options {
    /// Threads of one run inside ONNX Runtime; 1: the calling thread alone. They do not spin.
    int intra_op_threads = 1;
    /// Graph optimisation. Off for comparisons.
    bool optimize = true;
    /// Lay the weights of matrix products and convolutions out anew for the kernels: about a third faster at 32 rows,
    /// for as much memory again as those weights take. Off, all weights are used where they are.
    bool prepack = true;
    /// What nodes of the graph run by, the first that can (CheckProviderList). Empty: the processor. By others than
    /// that weights are not used in place: ONNX Runtime has copies of its own, on the device where a node there reads
    /// them.
    std::vector<ExecutionProvider> providers;
    /// Shown in messages.
    std::string name;
  };

  /// `model`: serialized ModelProto. `weights`: its external initializers by name, used in place (see prepack) and kept
  /// alive; copies of them exist while the session is made.
  static absl::StatusOr<std::unique_ptr<Session>> Create(absl::string_view model,
                                                         std::vector<std::pair<std::string, Tensor>> weights,
                                                         const Options& options);
  virtual ~Session() = default;

  /// Blocks while it computes. `inputs` in the model's order. INVALID_ARGUMENT when ONNX Runtime finds them unfit.
  virtual absl::StatusOr<std::vector<Tensor>> Run(absl::Span<const Tensor> inputs) = 0;

  /// What ONNX Runtime inferred; names are the model's, axis kinds are not set.
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
};

}  // namespace portico
