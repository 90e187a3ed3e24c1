#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/event_thread.h"
#include "base/mutex.h"
#include "transport/call_refusal.h"
#include "transport/call_table.h"
#include "transport/completion_queue.h"
#include "transport/core_channel.h"
#include "transport/stream_address.h"
#include "transport/stream_parts.h"
#include "transport/stream_pipe.h"
#include "transport/transport.h"

namespace portico {

/// The calling side over one connection, which is made again when it is lost.
///
/// Calls come on any thread; replies, deadlines and changes of state are dealt with on the loop's. Owned by its channel
/// and, while it is open, by the loop.
class StreamChannelCore final : public StreamPipe {
 public:
  StreamChannelCore(const StreamParts& parts, StreamLoop& loop, const std::string& endpoint, StreamEndpoint parsed,
                    ChannelOptions options, SocketMaker make_socket);

  /// On the loop's thread: first and last.
  void Open();
  void Close();

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Channel::Done done);
  void Cancel(uint64_t call_id);

  int64_t due_ns() const override { return std::min(expiry_ns_.load(), timer_ns_); }
  void OnDue(absl::Time now) override;

 protected:
  void OnOpen() override;
  void OnMessage(PeerMessage message) override;
  void OnBroken(const absl::Status& why) override;

 private:
  enum class Link : uint8_t { kConnecting, kUp, kLeaving, kLost };

  absl::Status Admit(uint64_t bytes);
  void Forget(const CallTable::Waiting& call);
  bool SetExpiry(int64_t at_ns);
  void TellToCancel(uint64_t call_id);

  void Attempt();
  void OnResolved(absl::StatusOr<std::vector<SocketAddress>> addresses);
  void TryNextAddress();
  void RetryLater(const absl::Status& why);
  void OnReply(PeerMessage message);
  void OnHello(const PeerHeader& hello);
  int DeadTicks(uint32_t pace_ms) const;
  void OnGoaway();
  void MarkLost(absl::string_view why);
  void ExpireCalls(int64_t now_ns);
  void FailAll(absl::StatusCode code, absl::string_view why);
  void OnAttemptTimeout(absl::Time now);
  void SetTimer();
  void Tell(const PeerState& state);

  const StreamParts& parts_;
  const std::string endpoint_;
  const CallRefusal refusal_{endpoint_};
  const StreamEndpoint parsed_;
  const ChannelOptions options_;
  const SocketMaker make_socket_;

  CallTable calls_;
  CompletionQueue completions_;
  std::atomic<uint64_t> next_id_{1};
  std::atomic<uint32_t> in_flight_{0};
  std::atomic<uint64_t> in_flight_bytes_{0};
  std::atomic<Link> link_{Link::kConnecting};
  /// No call in flight has an earlier deadline.
  std::atomic<int64_t> expiry_ns_{CallTable::kNever};
  Mutex mutex_;
  std::string lost_because_ ABSL_GUARDED_BY(mutex_);

  // Only on the loop's thread.
  PeerState peer_;
  std::vector<SocketAddress> addresses_;
  size_t next_address_ = 0;
  bool closed_ = false;
  bool greeted_ = false;
  int dead_ticks_ = 0;
  /// The network has not answered yet.
  bool linking_ = false;
  absl::Duration backoff_;
  int64_t timer_ns_ = CallTable::kNever;
  int64_t connect_by_ns_ = CallTable::kNever;
  int64_t attempt_ns_ = CallTable::kNever;
  int64_t attempt_by_ns_ = CallTable::kNever;
  int64_t tick_ns_ = CallTable::kNever;
};

using StreamChannel = CoreChannel<StreamLoop, StreamChannelCore>;

}  // namespace portico
