#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// tensorflow.serving.Input read in place: what Classify, Regress and MultiInference take. Everything is a view of the
/// message.
struct ExamplesView {
  /// Serialised tensorflow.Examples.
  std::vector<absl::string_view> examples;
  /// A serialised Example whose features belong to each of `examples`, which win where both have one; may be empty.
  absl::string_view context;
};

/// Reads a serialised Input. INVALID_ARGUMENT "Input is empty." without examples, for what is no such message, and for
/// more than a million examples.
absl::StatusOr<ExamplesView> ReadExamples(absl::string_view input);

/// The inputs of `signature`, in its order, from the features of their names: example i becomes row i, a feature's
/// values the rest of the row. Values are read from the wire straight into the tensor's memory. float_list fits float
/// and double, int64_list the integers and bool, bytes_list string; features that are no input are skipped, as
/// TensorFlow's parser does.
///
/// A signature whose only input is `inputs`, strings, one per row, gets the serialised examples instead.
///
/// INVALID_ARGUMENT naming example and feature where one is missing, of another kind, out of range or of another
/// length; RESOURCE_EXHAUSTED where the tensors took over `max_bytes`; UNIMPLEMENTED for an input that features cannot
/// express.
absl::StatusOr<std::vector<Tensor>> ExampleTensors(const Signature& signature, const ExamplesView& examples,
                                                   uint64_t max_bytes);

}  // namespace portico
