#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ref.h"
#include "codec/received_message.h"
#include "transport/foreign_api.h"

namespace portico {

/// What travels beside a request: names in lower case and values.
using ForeignHeaders = std::vector<std::pair<std::string, std::string>>;

/// One request and its answer. Thread-safe.
class ForeignExchange : public RefCounted {
 public:
  /// Exactly once, on a thread of the wire, unless it was never started. A status is the server's, code and message, or
  /// the wire's own: UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED.
  using Done = absl::AnyInvocable<void(absl::StatusOr<ReceivedMessage>)>;

  /// Once. `timeout` may be infinite. `wait`: for a connection, where there is none.
  virtual void Start(absl::Duration timeout, bool wait) = 0;
  /// Also before Start(). The exchange ends with CANCELLED unless it has ended.
  virtual void Cancel() = 0;
};

/// How requests get to one foreign server. Must outlive its exchanges. Thread-safe.
class ForeignWire {
 public:
  virtual ~ForeignWire() = default;
  virtual Ref<ForeignExchange> NewExchange(ForeignRequest request, const ForeignHeaders& headers,
                                           ForeignExchange::Done done) = 0;
};

/// What a wire to one server is made of.
struct ForeignWireOptions {
  std::string address;
  bool tls = false;
  /// PEM; empty: the system's root certificates, and no certificate of our own.
  std::string root_certificates;
  std::string own_certificate;
  std::string own_key;
  uint64_t max_message_bytes = 0;
};

std::unique_ptr<ForeignWire> NewForeignGrpcWire(const ForeignWireOptions& options);

class RestLoop;
/// HTTP/1.1 on connections that are kept open, at most 64 at once; calls beyond that wait for one. Cancelling a call
/// closes its connection. `loop` is not owned and must outlive the wire. INVALID_ARGUMENT for what is no PEM text.
absl::StatusOr<std::unique_ptr<ForeignWire>> NewForeignRestWire(const ForeignWireOptions& options, RestLoop& loop);

}  // namespace portico
