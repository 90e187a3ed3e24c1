#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/share/share.h"
#include "models/split/called_models.h"

namespace portico {

/// What is proposed, for people: a line for each module, where it is in each product, notes. `columns`: of the
/// terminal.
std::string SharingText(const SharingProposal& proposal, absl::Span<const Product> products, size_t columns);

/// The mesh file that serves modules, and what was `called` beside, on one node and products on another, from packages
/// in `out`.
std::string SharedMeshText(const SharedModels& shared, const CalledModels& called, const std::string& out,
                           int64_t version);

/// "7 FLOP", "1.2 GFLOP", ">= 1.2 GFLOP" where there is more that is not known, "unknown".
std::string FlopText(const SharedModule& module);

}  // namespace portico
