#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "transport/zmq_reactor.h"

namespace portico {

/// Answers libzmq's question who may connect (ZAP, rfc.zeromq.org/spec/27): a CURVE key on the list of the listener's
/// domain. One per libzmq context. Runs on a reactor; lists change from any thread.
class ZmqGatekeeper final : public ZmqEndpoint {
 public:
  static absl::StatusOr<Ref<ZmqGatekeeper>> Make(ZmqReactor& reactor, void* context);
  ZmqGatekeeper(ZmqReactor& reactor, ZmqSocket socket);

  /// On the reactor's thread, first and last.
  void Open();
  void Close();

  /// `keys`: Z85, checked. Replaces the domain's list.
  void Allow(const std::string& domain, const std::vector<std::string>& keys);

  void Pump(absl::Time now) override;

 private:
  bool SendQueued() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(socket_mutex_) { return false; }
  bool Allowed(absl::string_view domain, absl::string_view mechanism, absl::string_view key);

  Mutex mutex_;
  /// The keys' 32 bytes by domain.
  absl::flat_hash_map<std::string, absl::flat_hash_set<std::string>> allowed_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> fds_;
};

/// The 32 bytes of a key in Z85. INVALID_ARGUMENT, naming `what`, when it is not 40 characters of Z85.
absl::StatusOr<std::string> DecodeCurveKey(absl::string_view what, const std::string& key);

}  // namespace portico
