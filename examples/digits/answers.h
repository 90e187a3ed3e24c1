#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/span.h"
#include "examples/digits/heldout.h"

namespace portico::digits {

/// What a product says of every held-out image.
struct Answers {
  /// A row per image.
  std::vector<float> probabilities;
  std::vector<int64_t> labels;

  int64_t classes() const { return static_cast<int64_t>(probabilities.size() / labels.size()); }
};

// Each asks about all images and blocks until the last answer.

/// The unsplit model of `path`, run in this process.
absl::StatusOr<Answers> AskUnsplit(const std::string& path, const Heldout& heldout);
/// The product as the mesh serves it, a few images per request.
absl::StatusOr<Answers> AskGrpc(const std::string& address, const std::string& product, const Heldout& heldout);
absl::StatusOr<Answers> AskRest(const std::string& address, const std::string& product, const Heldout& heldout);

/// Asks about one image over gRPC and returns, from the node's HTTP address, where the time went.
absl::StatusOr<std::string> TraceOne(const std::string& grpc, const std::string& http, const std::string& product,
                                     const Heldout& heldout, int64_t index);

/// The body of a REST request for images [begin, begin + count).
std::string RequestBody(const Heldout& heldout, int64_t begin, int64_t count);

/// OK when every label is the same and no probability differs by more than 1e-5. `what` is for the message.
absl::Status CompareAnswers(const std::string& what, const Answers& got, const Answers& want);

}  // namespace portico::digits
