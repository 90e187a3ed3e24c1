#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// How strings are written as JSON.
enum class JsonBytes {
  /// As text; CheckJsonOutput() says whether they are.
  kText,
  /// {"b64": "..."}.
  kBase64,
};

/// Whether JSON can hold the tensor. UNIMPLEMENTED for a dtype that it has no form for; FAILED_PRECONDITION for strings
/// that are not UTF-8 and to be written as text. `remedy` ends the latter's message.
absl::Status CheckJsonOutput(absl::string_view name, const Tensor& tensor, JsonBytes bytes, absl::string_view remedy);

/// Appends elements [begin, begin + count) in row-major order, commas between them. REQUIRES: in range; checked.
void AppendJsonElements(const Tensor& tensor, uint64_t begin, uint64_t count, JsonBytes bytes, std::string* out);

}  // namespace portico
