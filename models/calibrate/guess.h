#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// A name as an expression has it: in backquotes where it must.
std::string QuotedName(const std::string& name);

/// Conditions that suit a trigger's answers, to be tuned where nobody has said which: for one number per row the band
/// `x > a && x < b`; for a row of them its margin, entropy and largest, of the softmax where they are no probabilities.
/// `answers`: what it said to some rows, one for each of `outputs`.
std::vector<std::string> GuessConditions(absl::Span<const TensorSpec> outputs, absl::Span<const Tensor> answers);

/// What of the answers says whether two models agree: the first label (whole numbers, truth values, text), else the
/// column of the largest of a row of numbers, else whether one probability per row is 0.5 or more. INVALID_ARGUMENT
/// where none of these is there.
absl::StatusOr<std::string> GuessDecision(absl::Span<const TensorSpec> outputs, absl::Span<const Tensor> answers);

}  // namespace portico
