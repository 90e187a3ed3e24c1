#pragma once

#include <deque>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "transport/transport.h"

namespace portico {

/// A serving side that keeps every call until the test answers it. Thread-safe.
class ScriptedPeer final : public CallHandler {
 public:
  struct Call {
    PeerMessage message;
    PeerReply reply;
  };

  void OnCall(PeerMessage call, PeerReply reply) override {
    MutexLock lock(&mutex_);
    calls_.push_back({std::move(call), std::move(reply)});
    changed_.NotifyAll();
  }
  void OnCancel(uint64_t connection, uint64_t call_id) override {
    MutexLock lock(&mutex_);
    cancelled_.emplace_back(connection, call_id);
    changed_.NotifyAll();
  }

  /// Blocks until there is one.
  Call TakeCall() {
    MutexLock lock(&mutex_);
    while (calls_.empty()) changed_.Wait(&mutex_);
    Call call = std::move(calls_.front());
    calls_.pop_front();
    return call;
  }
  /// Connection and call id; blocks until there is one.
  std::pair<uint64_t, uint64_t> TakeCancelled() {
    MutexLock lock(&mutex_);
    while (cancelled_.empty()) changed_.Wait(&mutex_);
    const auto cancelled = cancelled_.front();
    cancelled_.pop_front();
    return cancelled;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::pair<uint64_t, uint64_t>> cancelled_ ABSL_GUARDED_BY(mutex_);
};

/// Answers with the tensors and strings it was sent, inside OnCall().
class EchoPeer final : public CallHandler {
 public:
  void OnCall(PeerMessage call, PeerReply reply) override {
    PeerHeader header;
    header.message = call.header.tenant;
    for (const TensorMeta& meta : call.header.tensors) header.tensors.push_back({.name = meta.name});
    reply(header, call.tensors);
  }
};

/// The states a channel was told, in order.
class StateLog {
 public:
  std::function<void(const PeerState&)> Listener() {
    return [this](const PeerState& state) {
      MutexLock lock(&mutex_);
      states_.push_back(state);
      changed_.NotifyAll();
    };
  }
  /// Blocks until there is one.
  PeerState Take() {
    MutexLock lock(&mutex_);
    while (states_.empty()) changed_.Wait(&mutex_);
    PeerState state = std::move(states_.front());
    states_.pop_front();
    return state;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<PeerState> states_ ABSL_GUARDED_BY(mutex_);
};

/// The result of one call, waited for.
class PendingResult {
 public:
  Channel::Done Done() {
    return [state = state_](absl::StatusOr<PeerMessage> result) { state->promise.set_value(std::move(result)); };
  }
  const absl::StatusOr<PeerMessage>& Wait() { return state_->future.get(); }
  bool ready() const { return state_->future.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  struct State {
    std::promise<absl::StatusOr<PeerMessage>> promise;
    std::shared_future<absl::StatusOr<PeerMessage>> future = promise.get_future().share();
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace portico
