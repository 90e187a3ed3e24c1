#pragma once

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "node/inference.h"
#include "router/live_revisions.h"
#include "transport/transport.h"

namespace portico {

/// Answers other nodes' portals. Thread-safe; one serves all listeners of a node.
class PeerFrontend final : public CallHandler {
 public:
  /// `inference` is not owned and must outlive the frontend. Of calls that are not sampled, spans at least `span_floor`
  /// long are sent back: the request may turn out to be slow where it entered. `revisions`: with which revision calls
  /// of none are stamped, for they enter the mesh here, from a client or a node outside; null: with none. Not owned.
  PeerFrontend(Inference& inference, absl::Duration span_floor, const LiveRevisions* revisions)
      : inference_(inference), span_floor_(span_floor), revisions_(revisions) {}

  void OnCall(PeerMessage call, PeerReply reply) override;
  void OnCancel(uint64_t connection, uint64_t call_id) override;

 private:
  struct Call;
  void Forget(const std::pair<uint64_t, uint64_t>& key);

  Inference& inference_;
  const absl::Duration span_floor_;
  const LiveRevisions* const revisions_;
  Mutex mutex_;
  /// Calls in hand by (connection, call id), so that a cancel finds them.
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, Ref<const RequestContext>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
