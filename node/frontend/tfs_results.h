#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// What Classify and Regress make of a signature's outputs.
enum class ResultKind { kClassify, kRegress };

/// The kind that a task's method_name ("tensorflow/serving/classify", …) means. UNIMPLEMENTED for any other.
absl::StatusOr<ResultKind> ResultKindOf(absl::string_view method_name);

/// FAILED_PRECONDITION, in the TensorFlow Serving API's words, when `signature` has no outputs for it: `classes` and/or
/// `scores` to classify, `outputs` to regress. Other outputs are not looked at.
absl::Status CheckResultSignature(ResultKind kind, const Signature& signature);

/// The outputs of a run that are the result, checked: INVALID_ARGUMENT in the API's words where they are no such
/// thing. Views `outputs`, which must outlive it.
struct ExampleResults {
  static absl::StatusOr<ExampleResults> Of(ResultKind kind, const Signature& signature,
                                           absl::Span<const Tensor> outputs, int64_t examples);

  ResultKind kind = ResultKind::kClassify;
  int64_t examples = 0;
  /// Of kClassify: string[examples, num_classes] and float[examples, num_classes]; one of the two may be null.
  const Tensor* classes = nullptr;
  const Tensor* scores = nullptr;
  int64_t num_classes = 0;
  /// Of kRegress: float, one per example.
  const Tensor* values = nullptr;
};

/// Appends a serialised ClassificationResult or RegressionResult.
void AppendResultsProto(const ExampleResults& results, std::string* out);

/// {"results": [[["label",0.5],…],…]} or {"results": [0.5,…]}. FAILED_PRECONDITION for labels that are not UTF-8.
absl::StatusOr<std::string> ResultsJson(const ExampleResults& results);

}  // namespace portico
