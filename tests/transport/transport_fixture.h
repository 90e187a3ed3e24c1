#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/transport/recording_handler.h"
#include "tests/transport/transports_under_test.h"
#include "transport/transport.h"

namespace portico {

using Outcome = absl::StatusOr<PeerMessage>;

inline void Echo(PeerMessage call, PeerReply reply) { reply(PeerHeader(), call.tensors); }

inline Deadline Soon(absl::Duration timeout = absl::Seconds(20)) { return Deadline::In(timeout, Clock::Real()); }

/// One transport, and what it says of its peers.
class TransportFixture : public ::testing::TestWithParam<TransportUnderTest> {
 protected:
  std::unique_ptr<Listener> Listen(CallHandler& handler, ListenOptions options = {}) {
    if (options.self.incarnation == 0) options.self.incarnation = 1;
    auto listener = transport_->Listen(GetParam().endpoint(), handler, std::move(options));
    EXPECT_TRUE(listener.ok()) << listener.status();
    return listener.ok() ? *std::move(listener) : nullptr;
  }

  std::unique_ptr<Channel> Connect(const std::string& endpoint, ChannelOptions options = {}) {
    options.on_state = [this](const PeerState& state) { states_.Set(state); };
    auto channel = transport_->Connect(endpoint, std::move(options));
    EXPECT_TRUE(channel.ok()) << channel.status();
    return channel.ok() ? *std::move(channel) : nullptr;
  }

  /// Waits until the peer's state satisfies `wanted`.
  template <typename Wanted>
  bool AwaitState(Wanted wanted) {
    const absl::Time until = absl::Now() + absl::Minutes(1);
    while (absl::Now() < until) {
      if (!states_.WaitFor(1)) return false;
      for (const PeerState& state : states_.Take()) {
        if (wanted(state)) return true;
      }
    }
    return false;
  }
  bool AwaitConnected() {
    return AwaitState([](const PeerState& state) { return state.connected; });
  }

  static Outcome CallAndWait(Channel& channel, const PeerHeader& header, const std::vector<Tensor>& tensors,
                             Deadline deadline = Soon()) {
    auto outcome = std::make_shared<Arrival<Outcome>>();
    channel.Call(header, tensors, deadline, [outcome](Outcome result) { outcome->Set(std::move(result)); });
    if (!outcome->WaitFor(1, absl::Seconds(30))) return absl::InternalError("test: the call never completed");
    return outcome->Take().front();
  }

  // Before the transport, which it outlives: callbacks reach it until the transport has gone.
  Arrival<PeerState> states_;
  std::unique_ptr<Transport> transport_ = GetParam().make();
};

}  // namespace portico
