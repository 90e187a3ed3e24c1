#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/package_reader.h"
#include "models/package/signature.h"
#include "router/revision.h"

namespace portico {

/// What a request that suits a servable of signatures `usual` would meet otherwise at one of `arm`, for people:
/// "signature 'serving_default': input 'x': got float32[N,3], want float32[N,2]"; empty: nothing. Signatures that only
/// `arm` has are nobody's concern. Pure.
std::string SignatureDifference(const std::vector<Signature>& usual, const std::vector<Signature>& arm);

/// The same of two arms of a split, whose packages are read.
absl::StatusOr<std::string> ArmDifference(const Revision& revision, const TrafficTarget& usual,
                                          const TrafficTarget& arm, PackageReader& packages);

}  // namespace portico
