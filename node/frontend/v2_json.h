#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/package/signature.h"
#include "node/frontend/v2_codec.h"
#include "node/frontend/v2_parameters.h"

namespace portico {

/// The body of a REST infer request, read.
struct V2InferJson {
  struct Output {
    std::string name;
    V2TensorParameters parameters;
  };

  std::string id;
  V2RequestParameters parameters;
  std::vector<NamedTensor> inputs;
  std::vector<Output> outputs;
};

/// Reads `json`, and the tensors that it says are in `binary` behind it: in its order, all of it. JSON goes straight
/// into tensor memory; `data` may be nested or flat. NaN, Infinity and -Infinity may stand for numbers, {"b64": "..."}
/// for bytes. INVALID_ARGUMENT for whatever is wrong with the body; UNIMPLEMENTED for parameters of what is not served.
/// REQUIRES: HttpRequest::kBodyPadding readable bytes behind `json`. `max_bytes`: that strings in `binary` may unfold
/// to. Copies all that it keeps.
absl::StatusOr<V2InferJson> ReadV2InferJson(absl::string_view json, absl::string_view binary, uint64_t max_bytes);

/// The only input of `signature` from a raw body: its one variable extent is what the length says; a string is the body
/// itself. INVALID_ARGUMENT where that leaves anything open.
absl::StatusOr<Tensor> ReadV2RawBody(const Signature& signature, absl::string_view body);

/// Of a repository index request, whose body may be empty: whether it asks only for models that are ready.
absl::StatusOr<bool> ReadV2IndexJson(absl::string_view body);
/// Of a load or unload request, whose body may be empty. UNIMPLEMENTED for parameters of what is not served.
absl::Status CheckV2LoadJson(absl::string_view body);

/// The body of the answer: `json` bytes of it are JSON; binary tensors follow.
struct V2InferBody {
  std::string bytes;
  size_t json = 0;
};

/// `outputs[i]` for each i of `selected`, as binary data where `binary` says so. UNIMPLEMENTED for a dtype that the
/// protocol does not have, FAILED_PRECONDITION for strings that JSON cannot hold.
absl::StatusOr<V2InferBody> WriteV2InferJson(const V2Answer& answer, const Signature& signature,
                                             absl::Span<const int> selected, absl::Span<const bool> binary,
                                             absl::Span<const Tensor> outputs);

}  // namespace portico
