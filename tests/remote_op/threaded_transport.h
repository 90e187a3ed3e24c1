#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "transport/transport.h"

namespace portico {

/// Peers that answer on threads of their own; one call in `fails` fails, none where that is 0.
class ThreadedTransport final : public Transport {
 public:
  /// What a servable answers to a call's tensors; called by several threads at once.
  using Answer = std::function<PeerMessage(const std::string& servable, const std::vector<Tensor>& tensors)>;

  ThreadedTransport(unsigned fails, Answer answer) : fails_(fails), answer_(std::move(answer)) {}

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    PeerState state;
    state.connected = true;
    options.on_state(state);
    return std::make_unique<ThreadedChannel>(*this);
  }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, CallHandler&, ListenOptions) override {
    return absl::UnimplementedError("the test is the peer");
  }

 private:
  class ThreadedChannel final : public Channel {
   public:
    explicit ThreadedChannel(ThreadedTransport& transport) : transport_(transport) {}
    ~ThreadedChannel() override {
      // Tasks that are queued look for their calls here.
      while (queued_.load() > 0) std::this_thread::yield();
    }
    uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline, Done done) override {
      uint64_t id;
      {
        MutexLock lock(&mutex_);
        id = ++last_;
        open_.emplace(id, std::move(done));
      }
      ++queued_;
      transport_.pool_.Schedule([this, id, servable = std::string(header.servable),
                                 sent = std::vector<Tensor>(tensors.begin(), tensors.end())] {
        AnswerCall(id, servable, sent);
        --queued_;
      });
      return id;
    }
    void Cancel(uint64_t id) override {
      if (Done done = Take(id)) done(absl::CancelledError("cancelled"));
    }

   private:
    Done Take(uint64_t id) {
      MutexLock lock(&mutex_);
      const auto found = open_.find(id);
      if (found == open_.end()) return nullptr;
      Done done = std::move(found->second);
      open_.erase(found);
      return done;
    }
    void AnswerCall(uint64_t id, const std::string& servable, const std::vector<Tensor>& tensors) {
      Done done = Take(id);
      if (!done) return;
      if (transport_.fails_ > 0 && transport_.calls_.fetch_add(1) % transport_.fails_ == 0) {
        return done(absl::UnavailableError("away"));
      }
      done(transport_.answer_(servable, tensors));
    }

    ThreadedTransport& transport_;
    std::atomic<int> queued_{0};
    Mutex mutex_;
    uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
    std::map<uint64_t, Done> open_ ABSL_GUARDED_BY(mutex_);
  };

  const unsigned fails_;
  const Answer answer_;
  std::atomic<unsigned> calls_{0};
  ThreadPool pool_{{.threads = 4, .name = "peers"}};
};

}  // namespace portico
