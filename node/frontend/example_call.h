#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/package/signature.h"

namespace portico {

/// A REST API of a node.
enum class RestApi { kTfs, kV2 };

/// "tfs", "v2".
absl::string_view RestApiName(RestApi api);

/// The most elements of all inputs together that an example has.
inline constexpr uint64_t kMaxExampleElements = uint64_t{1} << 20;

/// The path that requests of one version of a model are posted to; a slash in its name is "--" there.
std::string ExamplePath(RestApi api, absl::string_view model, int64_t version);

/// The elements of all inputs of ExampleBody(), which fails where this does; makes nothing.
absl::StatusOr<uint64_t> ExampleElements(RestApi api, const Signature& signature);

/// The body of a request that `signature` takes: one row, whose values are made up and have the dtypes and shapes that
/// it declares. FAILED_PRECONDITION where no body can be made: a rank that is not known, ragged inputs, a dtype that
/// the API has no JSON for, too many elements.
absl::StatusOr<std::string> ExampleBody(RestApi api, const Signature& signature);

/// The most bytes of a body that stands in a command; one of more than half as many elements has more.
inline constexpr size_t kMaxInlineBody = 2048;

/// A command for a shell that posts `body` to `url` with curl or, where `body` is empty, what `body_url` answers.
/// `with_token`: with the bearer token that is in PORTICO_TOKEN.
std::string CurlCommand(absl::string_view url, absl::string_view body, absl::string_view body_url, bool with_token);

}  // namespace portico
