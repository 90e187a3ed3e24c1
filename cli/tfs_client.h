#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/span.h"
#include "base/tensor.h"
#include "cli/client_security.h"
#include "models/package/signature.h"

namespace portico {

/// A client of the TensorFlow Serving API over one gRPC connection, by the generated stubs: what any client of that API
/// does. Thread-safe.
class TfsClient {
 public:
  struct CallOptions {
    absl::Duration timeout = absl::Seconds(30);
    /// Sent as `traceparent` where sampled.
    TraceContext trace;
  };
  struct Prediction {
    /// By name.
    std::vector<NamedTensor> outputs;
    int64_t version = 0;
  };

  /// `address`: HOST:PORT. Contacts nobody yet.
  explicit TfsClient(const std::string& address, const ClientSecurity& security = {});
  ~TfsClient();

  /// Blocks. `signature` empty: serving_default. An error has the server's code and message.
  absl::StatusOr<Prediction> Predict(const std::string& model, const std::string& signature,
                                     absl::Span<const NamedTensor> inputs, const CallOptions& options);

  /// In place of what a request says.
  struct Overrides {
    /// Empty: the request's.
    std::string model;
    /// 0: the request's.
    int64_t version = 0;
  };
  /// As Predict(), of a serialised PredictRequest. INVALID_ARGUMENT for what is none.
  absl::StatusOr<Prediction> PredictSerialized(absl::string_view request, const Overrides& overrides,
                                               const CallOptions& options);

  /// What a signature takes and gives, by name. Blocks. INVALID_ARGUMENT with the signatures there are when there is
  /// none of that name.
  absl::StatusOr<Signature> FetchSignature(const std::string& model, const std::string& signature,
                                           const CallOptions& options);

 private:
  struct Stubs;
  struct Sent;
  absl::StatusOr<Prediction> Send(const Sent& sent, const CallOptions& options);

  const std::string address_;
  /// Empty: none.
  const std::string authorization_;
  const std::unique_ptr<Stubs> stubs_;
};

}  // namespace portico
