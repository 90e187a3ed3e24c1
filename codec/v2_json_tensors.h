#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "codec/v2_value.h"
#include "simdjson.h"

/// Tensors in the JSON of the Open Inference Protocol's REST API. For .cc files only: simdjson is a heavy header.

namespace portico {

/// A tensor as far as it is read.
struct V2JsonTensor {
  std::string name;
  DType dtype = DType::kInvalid;
  Shape shape;
  bool has_name = false, has_datatype = false, has_shape = false, has_data = false;
  /// Where it says that its bytes are behind the JSON, how many.
  std::optional<uint64_t> binary_data_size;
  /// From `data`; invalid until it is read.
  Tensor tensor;
};

/// Reads a list of tensors: the inputs of a request, the outputs of a response. JSON goes straight into tensor memory;
/// `data` may be nested or flat. NaN, Infinity and -Infinity may stand for numbers, {"b64": "..."} for bytes. What is
/// wrong is INVALID_ARGUMENT. For one thread:
///
///   Read(list), while a document is walked; ReadLate(document, key) behind that; Take(binary).
class V2JsonTensors {
 public:
  /// What a parameter of a tensor says; fills in binary_data_size.
  using OnParameter = absl::FunctionRef<absl::Status(absl::string_view key, const V2Value& value, V2JsonTensor* out)>;

  /// `kind`: "input" or "output", for messages; not owned, must outlive it.
  explicit V2JsonTensors(absl::string_view kind) : kind_(kind) {}

  absl::Status Read(simdjson::ondemand::value list, OnParameter on_parameter);
  /// Checks that each tensor is complete, and reads `data` that came in front of its datatype in a second walk, over
  /// the list under `key` of `document`.
  absl::Status ReadLate(simdjson::ondemand::document& document, const char* key);
  /// The tensors; those that are in `binary`, in order and all of it, as views that `origin` keeps alive, or as copies
  /// where there is none. `max_bytes`: that strings in `binary` may unfold to.
  absl::StatusOr<std::vector<NamedTensor>> Take(absl::string_view binary, const Ref<TensorOrigin>& origin,
                                                uint64_t max_bytes);

 private:
  std::string Label(const V2JsonTensor& tensor) const;
  /// "'shape' of an input".
  std::string PartOf(absl::string_view key) const;
  absl::Status ReadOne(simdjson::ondemand::value value, OnParameter on_parameter, V2JsonTensor* out);
  absl::Status ReadShape(simdjson::ondemand::value value, V2JsonTensor* out) const;
  absl::StatusOr<Tensor> TensorOf(V2JsonTensor* from, const Ref<TensorOrigin>& origin, uint64_t max_bytes,
                                  absl::string_view* binary) const;

  const absl::string_view kind_;
  /// Stay where they are: builders refer to their names.
  std::deque<V2JsonTensor> tensors_;
};

/// Calls `set(key, value)` for each parameter of the object at `value`.
absl::Status ReadV2JsonParameters(absl::string_view what, simdjson::ondemand::value value,
                                  absl::FunctionRef<absl::Status(absl::string_view key, const V2Value& value)> set);

}  // namespace portico
