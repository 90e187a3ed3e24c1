#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "codec/json_padding.h"
#include "codec/json_tensor_builder.h"
#include "simdjson.h"

/// What the JSON readers of REST servers and clients share: simdjson's on-demand reading into tensor memory. For .cc
/// files only: simdjson is a heavy header.

namespace portico {

static_assert(simdjson::SIMDJSON_PADDING <= kJsonPadding);

/// INVALID_ARGUMENT "JSON Parse error: …".
absl::Status JsonParseError(simdjson::error_code error);
/// INVALID_ARGUMENT for a key that an object has twice.
absl::Status RepeatedJsonKey(absl::string_view key);

/// INVALID_ARGUMENT for a document that is not an object: "JSON Parse error: …" where it is no JSON at all, else "JSON
/// Value: Is not object".
absl::Status NotAJsonObject(simdjson::ondemand::document& document);

#define RETURN_IF_JSON_ERROR(expr)                                                                      \
  do {                                                                                                  \
    if (const simdjson::error_code json_error_ = (expr)) return ::portico::JsonParseError(json_error_); \
  } while (false)

/// The first byte from `text` on that is no white space. REQUIRES: text of a document, which padding ends.
const char* SkipJsonSpace(const char* text);

/// Whether `text`, of a value, is an object of named tensors, and not {"b64": …}, which is one string.
bool IsNamedJson(const char* text);

/// A value and what it holds, at `depth` of the builder's tensor: nested lists of elements of the builder's dtype;
/// {"b64": "..."} stands for bytes; NaN, Infinity and -Infinity for numbers. INVALID_ARGUMENT for what does not fit.
absl::Status ReadJsonTensor(simdjson::ondemand::value value, size_t depth, JsonTensorBuilder* out);

/// Calls `read(document)` with the document of `body` and returns what it returns. REQUIRES: kJsonPadding readable
/// bytes behind `body`, the first of them 0, which goes on with no text: the parser takes a token that begins at the
/// end for one of the document's and would look for its end outside of memory. INTERNAL for another first byte.
template <typename Read>
auto ReadJsonDocument(absl::string_view body, Read read)
    -> decltype(read(std::declval<simdjson::ondemand::document&>())) {
  if (*body.end() != '\0') return absl::InternalError("JSON text: got no zero byte behind it, want one");
  // A parser keeps memory of the size of the largest body it saw: small ones share one per thread.
  constexpr size_t kSharedParserBytes = 1 << 20;
  static thread_local simdjson::ondemand::parser shared;
  std::optional<simdjson::ondemand::parser> own;
  simdjson::ondemand::parser& parser = body.size() <= kSharedParserBytes ? shared : own.emplace();
  simdjson::ondemand::document document;
  RETURN_IF_JSON_ERROR(parser.iterate(body.data(), body.size(), body.size() + kJsonPadding).get(document));
  return read(document);
}

/// The same for a text that tensors may follow, as those of the Open Inference Protocol do: read from a copy, unless a
/// zero byte ends it. REQUIRES: kJsonPadding readable bytes behind `head`. Nothing that is read may view the text.
template <typename Read>
auto ReadJsonHead(absl::string_view head, Read read) -> decltype(read(std::declval<simdjson::ondemand::document&>())) {
  if (*head.end() == '\0') return ReadJsonDocument(head, read);
  const std::string copy = absl::StrCat(head, std::string(kJsonPadding, '\0'));
  return ReadJsonDocument(absl::string_view(copy).substr(0, head.size()), read);
}

}  // namespace portico
