#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/package/signature.h"
#include "node/frontend/tfs_example.h"

namespace portico {

/// The body of a REST classify or regress request: {"signature_name", "context", "examples": [{feature: value or list
/// of values, …}, …]}, as the tensorflow.Examples that gRPC would have brought.
struct ExamplesJson {
  const Signature* signature = nullptr;
  std::vector<std::string> examples;
  std::string context;

  ExamplesView view() const { return {{examples.begin(), examples.end()}, context}; }
};

/// Reads such a body. A feature with the name of an input becomes a list of that input's kind (whole numbers may stand
/// for floats); any other goes by what its values are: whole numbers and booleans, numbers, or strings and {"b64": …}.
/// `find` gives the signature of a name ("" for the default), or null. INVALID_ARGUMENT for whatever is wrong with the
/// body. REQUIRES: HttpRequest::kBodyPadding readable bytes behind `body`.
absl::StatusOr<ExamplesJson> ReadExamplesJson(absl::string_view body,
                                              absl::FunctionRef<const Signature*(absl::string_view)> find);

}  // namespace portico
