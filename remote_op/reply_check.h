#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/signature.h"
#include "transport/transport.h"

namespace portico {

/// Turns a reply into the outputs a portal declares, or says what does not fit. Immutable, thread-safe.
///
/// With a digest the target's outputs are known in order, so they come by position; without one they come by name,
/// since another version of the target may have another order.
class ReplyCheck {
 public:
  ReplyCheck(std::string target, std::vector<TensorSpec> outputs, bool by_name);

  /// The outputs in the portal's order. INTERNAL, naming target, output, what came and what was wanted, unless they are
  /// exactly the declared ones: dtype, rank, fixed extents, equal extents for equal symbols.
  absl::StatusOr<std::vector<Tensor>> Take(PeerMessage reply) const;

 private:
  /// Two extents that one symbol names.
  struct SameExtent {
    size_t output_a, dim_a;
    size_t output_b, dim_b;
  };

  absl::Status Wrong(absl::string_view what) const;
  absl::Status CheckSymbols(const std::vector<Tensor>& outputs) const;

  const std::string target_;
  const std::vector<TensorSpec> outputs_;
  const bool by_name_;
  std::vector<SameExtent> same_;
};

}  // namespace portico
