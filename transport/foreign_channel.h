#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/event_thread.h"
#include "base/mutex.h"
#include "transport/foreign_api.h"
#include "transport/foreign_wire.h"
#include "transport/transport.h"

namespace portico {

/// The calling side towards one server of somebody else's make: an API and a wire behind the interface of a peer.
///
/// Such a server says no HELLO. It is asked instead: every second whether each of its models is ready (or, where we
/// know of none, the server itself). While one is, it is connected and serves those; while it answers nothing or no,
/// calls fail at once. Calls before the first answer wait for it, at most `connect_timeout`.
///
/// Threads: any in Call() and Cancel(); the wire's in answers; `events` starts probes and
/// tells of what they found.
class ForeignChannel final : public Channel {
 public:
  /// `token`: sent as `authorization: Bearer`; empty: none. `events` and `clock` are not owned and must outlive it.
  ForeignChannel(const std::string& name, ForeignEndpoint endpoint, std::string token, std::unique_ptr<ForeignApi> api,
                 std::unique_ptr<ForeignWire> wire, ChannelOptions options, EventThread& events, const Clock& clock);
  ~ForeignChannel() override;

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override;
  void Cancel(uint64_t call_id) override;

 private:
  enum class Link : uint8_t { kNever, kUp, kDown };
  struct InFlight {
    Ref<ForeignExchange> exchange;
    /// No connection came in time.
    bool gave_up = false;
  };

  ForeignHeaders HeadersFor(const PeerHeader& header) const;
  /// As the server calls what is called here.
  PeerHeader Renamed(const PeerHeader& header) const;
  absl::Status Admit(uint64_t bytes);
  void ReleaseWindow(uint64_t bytes);
  void OnAnswer(uint64_t id, uint64_t bytes, absl::Span<const WantedOutput> wanted, Done done,
                absl::StatusOr<ReceivedMessage> answer);
  absl::StatusOr<PeerMessage> ReadAnswer(absl::StatusOr<ReceivedMessage> answer, absl::Span<const WantedOutput> wanted,
                                         bool gave_up) const;
  void StartProbes();
  void OnProbe(size_t model, const absl::StatusOr<ReceivedMessage>& answer);
  /// On `events`: all of a round have answered.
  void OnRound();
  void OnConnectTimeout();
  /// Tells `state` where it is news.
  void Become(PeerState state);
  void Finished();

  const std::string name_;
  const ForeignEndpoint endpoint_;
  const std::string token_;
  const std::unique_ptr<ForeignApi> api_;
  const ChannelOptions options_;
  EventThread& events_;
  const Clock& clock_;
  const std::unique_ptr<ForeignWire> wire_;
  /// What is asked about; "" alone: the server.
  const std::vector<std::string> questions_;
  std::atomic<uint64_t> next_id_{1};
  std::atomic<uint64_t> calls_in_flight_{0};
  std::atomic<uint64_t> bytes_in_flight_{0};
  std::atomic<Link> link_{Link::kNever};

  Mutex mutex_;
  CondVar idle_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  /// Exchanges whose completion has not returned.
  uint64_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<uint64_t, InFlight> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<Ref<ForeignExchange>> probes_ ABSL_GUARDED_BY(mutex_);
  size_t probes_out_ ABSL_GUARDED_BY(mutex_) = 0;
  /// What the round has found; and the last reason why not.
  PeerState found_ ABSL_GUARDED_BY(mutex_);
  std::string why_not_ ABSL_GUARDED_BY(mutex_) = "the server has not answered yet";
  absl::Duration retry_after_ ABSL_GUARDED_BY(mutex_);
  std::optional<EventThread::TimerId> next_round_ ABSL_GUARDED_BY(mutex_);
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  PeerState state_ ABSL_GUARDED_BY(mutex_);
  EventThread::TimerId connect_by_;
};

}  // namespace portico
