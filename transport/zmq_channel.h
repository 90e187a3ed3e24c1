#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "transport/call_refusal.h"
#include "transport/completion_queue.h"
#include "transport/core_channel.h"
#include "transport/transport.h"
#include "transport/zmq_pack.h"
#include "transport/zmq_reactor.h"
#include "transport/zmq_watch.h"

namespace portico {

/// The calling side of one peer over a DEALER: holds the calls in flight, sends them in packs, completes each exactly
/// once.
///
/// Call() runs on its caller's thread up to the queue (and to the socket while the reactor sleeps); everything else,
/// completions above all, on the reactor's thread. Shared by its ZmqChannel and the reactor until Close().
class ZmqChannelCore final : public ZmqEndpoint {
 public:
  /// `socket` is connecting; `monitor` is its monitor.
  ZmqChannelCore(ZmqReactor& reactor, const std::string& endpoint, ChannelOptions options, ZmqSocket socket,
                 ZmqSocket monitor);

  /// Puts it into the reactor. On the reactor's thread, first.
  void Open();

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Channel::Done done);
  void Cancel(uint64_t call_id);
  /// Completes what is in flight with CANCELLED and closes the socket. On the reactor's thread.
  void Close();

  void Pump(absl::Time now) override;

 private:
  /// How far the connection is. Calls wait for the first one; after a loss they fail at once.
  enum class Link { kConnecting, kUp, kLeaving, kLost };

  struct Waiting {
    Channel::Done done;
    int64_t deadline_ns = 0;
    uint64_t bytes = 0;
    /// The pack it was put into, which tells whether it was sent.
    uint64_t pack = 0;
  };

  absl::Status Admit(uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SendQueued() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(socket_mutex_);
  bool ReceiveBatch();
  void OnMessage(PeerMessage message);
  void OnReply(PeerMessage message);
  void OnHello(const PeerHeader& hello);
  void OnGoaway();
  void OnEvents();
  void OnLost(absl::string_view why);
  /// Fails the calls in flight; new ones are refused until the next HELLO.
  void MarkLost(absl::string_view why);
  /// The peer broke the protocol: drops the connection and ignores what it still says.
  void Reset(const absl::Status& why);
  void Cut(absl::string_view why);
  /// Whether the peer has said nothing for so long, while calls waited for it, that it is given up.
  bool Silent(int64_t now_ns);
  /// Expires calls and looks at the connection, and sets the next time for it.
  void OnDue(absl::Time now);
  void ExpireCalls(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Fails every call by way of `completions_`; `why` goes before whether it was sent.
  void FailAll(absl::StatusCode code, absl::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(const PeerState& state);

  const std::string endpoint_;
  const CallRefusal refusal_{endpoint_};
  const ChannelOptions options_;
  const Ref<SendBudget> budget_ = MakeRef<SendBudget>();
  std::atomic<uint64_t> next_id_{1};
  CompletionQueue completions_;

  Mutex mutex_;
  Link link_ ABSL_GUARDED_BY(mutex_) = Link::kConnecting;
  std::string lost_because_ ABSL_GUARDED_BY(mutex_);
  PeerState peer_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  /// No call's deadline is sooner. Not moved back when calls complete, so that most calls need no look at it.
  int64_t expiry_ns_ ABSL_GUARDED_BY(mutex_) = kNever;
  PackQueue outbox_ ABSL_GUARDED_BY(mutex_);

  // Kept between rounds so as not to be allocated each time.
  std::vector<Pack> sending_ ABSL_GUARDED_BY(socket_mutex_);
  std::vector<ReceivedMessage> received_;
  std::vector<PeerMessage> unpacked_;

  // Only on the reactor's thread.
  ZmqSocket monitor_;
  std::vector<int> fds_;
  ConnectionWatch watch_;
  int64_t silent_checks_ = 0;
  int64_t next_listen_ns_ = 0;
  bool connected_ = false;
  /// When to stop waiting for the first connection.
  int64_t connect_by_ns_ = kNever;
  bool hello_owed_ = false;
  bool resetting_ = false;
  bool closed_ = false;
};

using ZmqChannel = CoreChannel<ZmqReactor, ZmqChannelCore>;

}  // namespace portico
