#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "transport/core_listener.h"
#include "transport/malformed_log.h"
#include "transport/stream_address.h"
#include "transport/stream_parts.h"
#include "transport/stream_pipe.h"
#include "transport/transport.h"

namespace portico {

class StreamListenerCore;

/// One caller's connection, in a loop of its own choice. Calls come on that loop's thread; replies from any. Lives as
/// long as a reply is owed.
class StreamPeer final : public StreamPipe {
 public:
  StreamPeer(StreamLoop& loop, Ref<StreamListenerCore> core, uint64_t connection);

  void Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors);
  StreamLoop& loop() { return loop_; }

  // On the loop's thread.
  void Accept(std::unique_ptr<StreamSocket> socket, absl::Time now);
  void Say(absl::string_view header);
  void OnTick(absl::Time now);
  /// Takes no more calls and no more replies; what is queued still goes out.
  void Stop();
  void Close();

 protected:
  void OnOpen() override {}
  void OnMessage(PeerMessage message) override;
  void OnBroken(const absl::Status& why) override;

 private:
  void OnCall(PeerMessage message);
  void OnCancel(uint64_t call_id);

  const Ref<StreamListenerCore> core_;
  const uint64_t connection_;
  bool greeted_ = false;
  absl::Time accepted_;
  Mutex mutex_;
  absl::flat_hash_set<uint64_t> open_calls_ ABSL_GUARDED_BY(mutex_);
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
};

/// The serving side: accepts connections, spreads them over the loops, and keeps them. Owned by its listener, by its
/// loop while it is open, and by its peers. All on its loop's thread unless said otherwise.
class StreamListenerCore final : public StreamLoop::Source {
 public:
  /// `handler` is used only until Stop().
  StreamListenerCore(const StreamParts& parts, StreamLoop& loop, CallHandler& handler, ListenOptions options,
                     ListeningSocket socket, SocketMaker make_socket);

  void Open();
  /// Takes no more calls and connections. Peers get what is queued for them.
  void Stop();
  /// Any thread. Until peers have taken what was queued, or for a while (not so on the loop's own thread), and all are
  /// closed.
  void WaitUntilFlushed();
  /// Last.
  void Close();
  void Announce(const PeerState& self);
  void GoAway();

  void OnReady(uint32_t events) override;
  int64_t due_ns() const override { return due_ns_; }
  void OnDue(absl::Time now) override;

  const std::string& endpoint() const { return endpoint_; }

 private:
  friend class StreamPeer;
  // On the peer's loop.
  void Greet(StreamPeer& peer);
  void OnGone(uint64_t connection);

  void Forget(uint64_t connection);
  void SayToAll(const std::string& header);
  /// Runs `task` for every peer, on that one's loop.
  void ForEachPeer(std::function<void(StreamPeer&)> task);

  const StreamParts& parts_;
  StreamLoop& loop_;
  CallHandler& handler_;
  const ListenOptions options_;
  const std::string endpoint_;
  const bool local_;
  ListeningSocket socket_;
  const SocketMaker make_socket_;
  absl::flat_hash_map<uint64_t, Ref<StreamPeer>> peers_;
  int64_t due_ns_ = StreamLoop::kNever;
  bool accepting_ = true;
  std::atomic<bool> stopped_{false};
  MalformedLog malformed_{endpoint_, loop_.clock()};

  Mutex mutex_;
  CondVar changed_;
  bool flushed_ ABSL_GUARDED_BY(mutex_) = false;
  std::string hello_ ABSL_GUARDED_BY(mutex_);
  bool leaving_ ABSL_GUARDED_BY(mutex_) = false;
};

using StreamListener = CoreListener<StreamLoop, StreamListenerCore>;

}  // namespace portico
