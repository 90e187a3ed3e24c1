#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "transport/core_listener.h"
#include "transport/malformed_log.h"
#include "transport/stream_address.h"
#include "transport/transport.h"
#include "transport/zmq_pack.h"
#include "transport/zmq_reactor.h"
#include "transport/zmq_watch.h"

namespace portico {

class ZmqListenerCore;

/// One connection that has said HELLO. What its core's lock guards is marked so.
struct ZmqPeer final : public RefCounted {
  ZmqPeer(Ref<ZmqListenerCore> core, std::string routing_id, uint64_t connection, int fd);

  /// Any thread. Answers `call_id` unless that is of no use any more.
  void Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors);

  const Ref<ZmqListenerCore> core;
  const std::string routing_id;
  const uint64_t connection;
  const int fd;
  const Ref<SendBudget> budget = MakeRef<SendBudget>();
  /// Guarded: replies that wait, calls that are not answered, and whether the connection has ended.
  PackQueue outbox;
  absl::flat_hash_set<uint64_t> open_calls;
  bool gone = false;
};

/// The serving side over one ROUTER. Tells connections apart by routing id and, through the socket's monitor, by
/// descriptor: so it knows when one ends, and can cut one that breaks a limit, which libzmq itself does not offer.
///
/// Calls come on the reactor's thread; replies from any. Lives as long as a reply is owed; closed by its ZmqListener.
class ZmqListenerCore final : public ZmqEndpoint {
 public:
  /// `socket` is bound; `handler` is used only until Close().
  /// `file`: of a Unix socket, which goes with Close().
  ZmqListenerCore(ZmqReactor& reactor, const std::string& endpoint, CallHandler& handler, ListenOptions options,
                  ZmqSocket socket, ZmqSocket monitor, ListeningSocket file);

  /// On the reactor's thread, first.
  void Open();
  /// Takes no more calls and hands what is answered to libzmq. On the reactor's thread, which it leaves.
  void Stop();
  /// Until libzmq has written all that it was handed, or for a while. After Stop().
  void WaitUntilFlushed() const;
  /// Last.
  void Close();
  /// On the reactor's thread.
  void Announce(const PeerState& self);
  void GoAway();

  /// Any thread. Answers `call_id` unless that is of no use any more.
  void Reply(ZmqPeer& peer, uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors);

  void Pump(absl::Time now) override;
  const std::string& endpoint() const { return endpoint_; }

 private:
  struct Connection {
    ConnectionWatch watch;
    absl::Time since;
    /// Null until it has said HELLO.
    Ref<ZmqPeer> peer;
  };

  bool ReceiveBatch();
  void OnReceived(ReceivedMessage& received);
  void OnMessage(ZmqPeer& peer, PeerMessage message);
  /// The first message of a connection has to be a HELLO. False if it is not.
  bool Greet(Connection& connection, const std::string& routing_id, int fd, const PeerHeader& hello);
  void OnCall(ZmqPeer& peer, PeerMessage message);
  void OnCancel(ZmqPeer& peer, uint64_t call_id);
  void OnEvents();
  void OnAccepted(int fd);
  void OnDisconnected(int fd);
  void OnMalformed(const absl::Status& why);
  bool Flushed() const;
  void CutOverfull();
  void CheckConnections(absl::Time now);
  /// The descriptor of the connection that a message came by; −1 where it has ended.
  int FdOf(const ReceivedMessage& received);
  void Queue(ZmqPeer& peer, absl::string_view header, absl::Span<const Tensor> tensors)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void QueueToAll(absl::string_view header);
  bool SendQueued() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(socket_mutex_);

  const std::string endpoint_;
  const ListenOptions options_;

  Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  /// Peers with something in their outbox, each once.
  std::vector<Ref<ZmqPeer>> to_send_ ABSL_GUARDED_BY(mutex_);
  /// Peers whose replies pile up.
  std::vector<Ref<ZmqPeer>> overfull_ ABSL_GUARDED_BY(mutex_);

  // Kept between rounds so as not to be allocated each time.
  std::vector<Ref<ZmqPeer>> sending_to_ ABSL_GUARDED_BY(socket_mutex_);
  std::vector<Pack> sending_ ABSL_GUARDED_BY(socket_mutex_);

  // Only on the reactor's thread.
  CallHandler& handler_;
  ZmqSocket monitor_;
  ListeningSocket file_;
  std::vector<int> fds_;
  std::string hello_;
  bool leaving_ = false;
  bool stopped_ = false;
  absl::flat_hash_map<int, Connection> connections_;
  /// Routing ids of those that have said HELLO, and the descriptor of each.
  absl::flat_hash_map<std::string, int> peers_;
  std::vector<ReceivedMessage> received_;
  std::vector<PeerMessage> unpacked_;
  std::vector<Ref<SendBudget>> flushing_;
  MalformedLog malformed_{endpoint_, reactor_.clock()};
};

using ZmqListener = CoreListener<ZmqReactor, ZmqListenerCore>;

}  // namespace portico
