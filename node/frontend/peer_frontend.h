#pragma once

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "node/inference.h"
#include "transport/transport.h"

namespace portico {

/// Answers other nodes' portals. Thread-safe; one serves all listeners of a node.
class PeerFrontend final : public CallHandler {
 public:
  /// Not owned; must outlive the frontend.
  explicit PeerFrontend(Inference& inference) : inference_(inference) {}

  void OnCall(PeerMessage call, PeerReply reply) override;
  void OnCancel(uint64_t connection, uint64_t call_id) override;

 private:
  struct Call;
  void Forget(const std::pair<uint64_t, uint64_t>& key);

  Inference& inference_;
  Mutex mutex_;
  /// Calls in hand by (connection, call id), so that a cancel finds them.
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, Ref<const RequestContext>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
