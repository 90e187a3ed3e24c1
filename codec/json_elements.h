#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// How strings are written as JSON.
enum class JsonBytes {
  /// As text; CheckJsonTensor() says whether they are.
  kText,
  /// {"b64": "..."}.
  kBase64,
};

/// Whether JSON can hold the tensor; `kind` is "input" or "output", for messages. UNIMPLEMENTED for a dtype that it has
/// no form for; FAILED_PRECONDITION for strings that are not UTF-8 and to be written as text. `remedy` ends the
/// latter's message.
absl::Status CheckJsonTensor(absl::string_view kind, absl::string_view name, const Tensor& tensor, JsonBytes bytes,
                             absl::string_view remedy);

/// Appends elements [begin, begin + count) in row-major order, commas between them. REQUIRES: in range; checked.
void AppendJsonElements(const Tensor& tensor, uint64_t begin, uint64_t count, JsonBytes bytes, std::string* out);

/// Appends the part of the tensor below `depth` as nested lists, from element `*next` on, and moves `*next` behind it.
/// REQUIRES: depth is at most the rank.
void AppendJsonLists(const Tensor& tensor, size_t depth, JsonBytes bytes, uint64_t* next, std::string* out);

}  // namespace portico
