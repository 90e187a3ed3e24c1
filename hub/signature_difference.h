#pragma once

#include <string>
#include <vector>

#include "models/package/signature.h"

namespace portico {

/// How the signatures of one module differ from another's, a line for each; empty where either can stand in for the
/// other. Signatures, inputs and outputs meet by name; dtypes, ranks and fixed extents count. What extents that vary
/// are called, and the order, do not.
std::vector<std::string> SignatureDifferences(const std::vector<Signature>& before,
                                              const std::vector<Signature>& after);

}  // namespace portico
