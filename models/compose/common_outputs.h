#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/compose/composition.h"
#include "models/compose/member.h"

namespace portico {

/// Which outputs several members of a composition answer with: those that it asks for, or else all of the first one's
/// that all have, in that order. INVALID_ARGUMENT where there is none, where one lacks what is asked for, and where two
/// differ in dtype or shape.
absl::StatusOr<std::vector<std::string>> CommonOutputs(const Composition& composition,
                                                       const std::vector<BoundMember>& members);

/// Position of output `name` of `member`. REQUIRES: it has one.
size_t OutputIndex(const BoundMember& member, const std::string& name);

/// OK unless `member` is pinned and `outputs` are not all of its outputs in order: by digest tensors go by position.
absl::Status CheckPinned(const Composition& composition, const BoundMember& member, const std::vector<size_t>& outputs);

}  // namespace portico
