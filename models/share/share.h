#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/share/sharing_proposal.h"
#include "models/split/split.h"

namespace portico {

/// What products become when they share modules.
struct SharedModels {
  /// As many and in the order of the proposal's.
  std::vector<SplitModel> modules;
  /// What remains of each product that uses one, with its place among the products.
  struct Rewritten {
    int product = -1;
    SplitModel model;
    /// Places among `modules`.
    std::vector<int> modules;
  };
  std::vector<Rewritten> products;
};

/// Cuts the modules of `proposal` out of the products. Each is cut out of every product that has it and must come to
/// the same digest: FAILED_PRECONDITION otherwise. Where the products declare different shapes at its border, the
/// module's are those that fit them all.
absl::StatusOr<SharedModels> CutShared(absl::Span<const Product> products, const SharingProposal& proposal);

/// Compares a rewritten product, run over the modules, with the model that was loaded; see VerifySplit().
absl::StatusOr<VerifyReport> VerifyShared(const Product& product, const SharedModels& shared,
                                          const SharedModels::Rewritten& rewritten, const VerifyOptions& options);

/// Writes all modules and rewritten products as `out`/<name>/<version>/model.onnx, or nothing; see WriteSplit().
/// REQUIRES: VerifyShared() found nothing in any of them.
absl::Status WriteShared(SharedModels shared, const std::string& out, int64_t version);

}  // namespace portico
