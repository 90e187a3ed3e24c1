#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/servable_ref.h"
#include "transport/transport.h"

namespace portico {

/// Whether a peer could take a call.
enum class Standing : uint8_t {
  /// It was lost or never found, is going away, does not hold what is wanted, or cannot be connected to at all.
  kAway = 0,
  /// Being connected to for the first time: a call may wait for that.
  kUnknown = 1,
  /// Connected, and it holds what is wanted or has not said what it holds.
  kHere = 2,
};

/// One peer: the channel to it, what it last said of itself, and our calls in flight to it. Shared by all targets.
///
/// Thread-safe. What a call reads are atomics; `version()` tells when to look at the rest again. Shared by the replicas
/// of all targets, which calls in flight keep; the ChannelPool closes what nobody has any more.
class Endpoint {
 public:
  explicit Endpoint(std::string url) : url_(std::move(url)) {}

  /// Makes the channel; connecting goes on in the background. REQUIRES: called once, before the endpoint is shared.
  void Connect(Transport& transport, ChannelOptions options);
  /// Completes calls in flight with CANCELLED. REQUIRES: no call begins any more.
  void Disconnect() { channel_.reset(); }

  const std::string& url() const { return url_; }
  /// Null where the endpoint could not be read.
  Channel* channel() const { return channel_.get(); }
  /// Grows with every change of what follows.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  Standing StandingFor(const ServableRef& wanted) const;
  /// "zmq+tcp://… (lost)": why a call to it is not possible, for messages.
  std::string Describe(const ServableRef& wanted) const;
  /// What the peer last called itself; empty before it said so.
  std::string node() const;

  std::atomic<int64_t>& in_flight() { return in_flight_; }

 private:
  void OnState(const PeerState& state);
  /// Whether the peer said that it holds `wanted`, or said nothing.
  static bool MayHold(const PeerState& state, const ServableRef& wanted);

  const std::string url_;
  absl::Status connect_status_;
  std::atomic<uint64_t> version_{1};
  std::atomic<int64_t> in_flight_{0};
  mutable Mutex mutex_;
  PeerState state_ ABSL_GUARDED_BY(mutex_);
  /// The transport has said anything at all: a connection, or that it gave up waiting for the first one.
  bool heard_ ABSL_GUARDED_BY(mutex_) = false;
  bool was_connected_ ABSL_GUARDED_BY(mutex_) = false;
  /// Last, so that it goes first: until then it may tell of the peer's state.
  std::unique_ptr<Channel> channel_;
};

}  // namespace portico
