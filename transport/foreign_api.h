#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codec/received_message.h"
#include "codec/spliced_message.h"
#include "transport/foreign_endpoint.h"
#include "transport/transport.h"

namespace portico {

/// One request to a foreign server: what is asked, and the message.
struct ForeignRequest {
  /// Over gRPC: the method.
  const char* method = nullptr;
  /// Over REST: the path. Without a body it is a GET, else a POST.
  std::string target;
  SplicedMessage body;
  /// Over REST, where binary data follow JSON: how much of the body is JSON. 0: all.
  uint64_t json_bytes = 0;
  /// What the response is read by, where that needs anything.
  std::vector<WantedOutput> wanted;
};

/// What a foreign API calls things: turns calls of the peer protocol into its requests and its responses into replies.
/// Thread-safe; moves nothing itself.
class ForeignApi {
 public:
  virtual ~ForeignApi() = default;

  /// INVALID_ARGUMENT where the API has no word for what the call says: a digest, tensors without names, a signature
  /// (v2). UNIMPLEMENTED for a dtype that it does not have.
  virtual absl::StatusOr<ForeignRequest> MakeCall(const PeerHeader& header, absl::Span<const Tensor> tensors) const = 0;

  /// Fills in tensors and their names; views of what `message.origin` keeps alive where possible, what is converted
  /// takes at most `limits.max_message_bytes`. INTERNAL for what is no response of this API, or beyond `limits`.
  /// `wanted`: the request's.
  virtual absl::Status ReadReply(const ReceivedMessage& message, absl::Span<const WantedOutput> wanted,
                                 const PeerLimits& limits, PeerMessage* reply) const = 0;
  /// The server has answered a call with an error.
  virtual void OnError(const absl::Status& status) const {}

  /// Asks whether the server can serve `model`, of which any version where `version` is −1, or, where the name is
  /// empty, anything at all.
  virtual ForeignRequest MakeProbe(const std::string& model, int64_t version) const = 0;
  /// Whether the answer says yes: with the version where it names one, else 0. UNAVAILABLE with the reason where it
  /// says no. An error that a server which is there gives to a question about nothing in particular is a yes.
  virtual absl::StatusOr<int64_t> ReadProbe(const std::string& model,
                                            const absl::StatusOr<ReceivedMessage>& answer) const = 0;
};

std::unique_ptr<ForeignApi> NewForeignApi(const ForeignEndpoint& endpoint);
/// One factory per API and wire.
std::unique_ptr<ForeignApi> NewTfsForeignApi();
std::unique_ptr<ForeignApi> NewV2ForeignApi();
std::unique_ptr<ForeignApi> NewTfsRestApi();
std::unique_ptr<ForeignApi> NewV2RestApi();

/// What every API demands of a call: no digest, and a name for each tensor.
absl::Status CheckForeignCall(const PeerHeader& header, absl::Span<const Tensor> tensors);

/// v2 has no signatures: INVALID_ARGUMENT for a call that names one other than the default.
absl::Status CheckNoSignature(const PeerHeader& header);

/// What an error says to a question of the TensorFlow Serving API, which has none about the server: that it answers
/// about no model shows that it is there.
absl::StatusOr<int64_t> ReadTfsProbeError(const std::string& model, const absl::Status& status);
/// What the newest AVAILABLE version says; −1: none is.
absl::StatusOr<int64_t> ReadTfsProbeVersion(const std::string& model, int64_t newest);

/// Adds an output; `name` must live as long as `reply->origin`. INTERNAL beyond `limits`.
absl::Status AddForeignOutput(absl::string_view name, absl::StatusOr<Tensor> tensor, const PeerLimits& limits,
                              PeerMessage* reply);

/// Adds outputs whose names are nowhere in the message: `reply->origin` keeps them from here on, and what it kept.
absl::Status AddForeignOutputs(std::vector<NamedTensor> outputs, const PeerLimits& limits, PeerMessage* reply);

/// "PREFIX/NAME", or "PREFIX/NAME/versions/N" where the version is not −1; the name as part of a URL's path.
std::string ForeignModelPath(absl::string_view prefix, absl::string_view name, int64_t version);

}  // namespace portico
