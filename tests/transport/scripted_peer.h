#pragma once

#include <deque>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "transport/transport.h"

namespace portico {

/// As long as tests wait for what has to come. One that waits in vain has failed, and goes on with nothing in hand.
inline constexpr absl::Duration kScriptPatience = absl::Minutes(1);

/// Waits for what is to become true. False, and a failure, when it does not.
template <typename Condition>
bool Comes(Condition condition) {
  for (const absl::Time until = absl::Now() + kScriptPatience; !condition();) {
    if (absl::Now() >= until) {
      ADD_FAILURE() << "waited for in vain";
      return false;
    }
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

/// Takes the first one of `queue`, which `changed` is told of; `otherwise`, and a failure, where none comes.
template <typename T>
T TakeFirst(std::deque<T>& queue, CondVar& changed, Mutex& mutex, T otherwise) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
  const absl::Time until = absl::Now() + kScriptPatience;
  while (queue.empty()) {
    if (absl::Now() >= until) {
      ADD_FAILURE() << "waited for in vain";
      return otherwise;
    }
    changed.WaitFor(&mutex, until - absl::Now());
  }
  T first = std::move(queue.front());
  queue.pop_front();
  return first;
}

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
    return TakeFirst(calls_, changed_, mutex_, Call{PeerMessage(), [](const PeerHeader&, absl::Span<const Tensor>) {}});
  }
  /// Connection and call id; blocks until there is one.
  std::pair<uint64_t, uint64_t> TakeCancelled() {
    MutexLock lock(&mutex_);
    return TakeFirst(cancelled_, changed_, mutex_, {});
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
    return TakeFirst(states_, changed_, mutex_, PeerState());
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
  /// Blocks until it is there; INTERNAL, and a failure, when it never is.
  const absl::StatusOr<PeerMessage>& Wait() {
    static const absl::StatusOr<PeerMessage> never = absl::InternalError("test: the call never completed");
    if (state_->future.wait_for(absl::ToChronoSeconds(2 * kScriptPatience)) == std::future_status::ready) {
      return state_->future.get();
    }
    ADD_FAILURE() << never.status();
    return never;
  }
  bool ready() const { return state_->future.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  struct State {
    std::promise<absl::StatusOr<PeerMessage>> promise;
    std::shared_future<absl::StatusOr<PeerMessage>> future = promise.get_future().share();
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace portico
