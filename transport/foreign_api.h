#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codec/received_message.h"
#include "codec/spliced_message.h"
#include "transport/foreign_endpoint.h"
#include "transport/transport.h"

namespace portico {

/// One request to a foreign server: which method, and the message.
struct ForeignRequest {
  const char* method = nullptr;
  SplicedMessage body;
};

/// What a foreign API calls things: turns calls of the peer protocol into its requests and its responses into replies.
/// Immutable, thread-safe; moves nothing itself.
class ForeignApi {
 public:
  virtual ~ForeignApi() = default;

  /// INVALID_ARGUMENT where the API has no word for what the call says: a digest, tensors without names, a signature
  /// (v2). UNIMPLEMENTED for a dtype that it does not have.
  virtual absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const = 0;

  /// Fills in tensors and their names; views of what `message.origin` keeps alive where possible, what is converted
  /// takes at most `limits.max_message_bytes`. INTERNAL for what is no response of this API, or beyond `limits`.
  virtual absl::Status ReadReply(const ReceivedMessage& message, const PeerLimits& limits,
                                 PeerMessage* reply) const = 0;

  /// Asks whether the server can serve `model`, or, where that is empty, anything at all.
  virtual ForeignRequest MakeProbe(const std::string& model) const = 0;
  /// Whether the answer says yes: with the version where it names one, else 0. UNAVAILABLE with the reason where it
  /// says no. An error that a server which is there gives to a question about nothing in particular is a yes.
  virtual absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                            const absl::StatusOr<ReceivedMessage>& answer) const = 0;
};

std::unique_ptr<ForeignApi> NewForeignApi(ForeignEndpoint::Api api);
/// One factory per API.
std::unique_ptr<ForeignApi> NewTfsForeignApi();
std::unique_ptr<ForeignApi> NewV2ForeignApi();

/// What every API demands of a call: no digest, and a name for each tensor.
absl::Status CheckForeignCall(const PeerHeader& header, absl::Span<const Tensor> tensors);

/// Adds an output. INTERNAL beyond `limits`.
absl::Status AddForeignOutput(absl::string_view name, absl::StatusOr<Tensor> tensor, const PeerLimits& limits,
                              PeerMessage* reply);

}  // namespace portico
