#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/transport/recording_handler.h"
#include "transport/transport.h"

namespace portico {

/// What tests of the native transport share, whatever carries it. Heartbeats are often, so that silence is noticed
/// within a test's patience.
class StreamFixture : public ::testing::Test {
 protected:
  using Outcome = absl::StatusOr<PeerMessage>;

  static void Echo(PeerMessage call, PeerReply reply) { reply(PeerHeader(), call.tensors); }

  std::unique_ptr<Listener> ListenAt(const std::string& endpoint, CallHandler& handler, ListenOptions options = {}) {
    auto listener = transport_->Listen(endpoint, handler, std::move(options));
    EXPECT_TRUE(listener.ok()) << listener.status();
    return listener.ok() ? *std::move(listener) : nullptr;
  }
  std::unique_ptr<Channel> Connect(const std::string& endpoint, ChannelOptions options = {}) {
    auto channel = transport_->Connect(endpoint, std::move(options));
    EXPECT_TRUE(channel.ok()) << channel.status();
    return channel.ok() ? *std::move(channel) : nullptr;
  }
  Outcome CallAndWait(Channel& channel, const std::vector<Tensor>& tensors = {}) {
    auto outcome = std::make_shared<Arrival<Outcome>>();
    channel.Call(PeerHeader(), tensors, Deadline::In(absl::Seconds(20), Clock::Real()),
                 [outcome](Outcome result) { outcome->Set(std::move(result)); });
    if (!outcome->WaitFor(1, absl::Seconds(30))) return absl::InternalError("test: the call never completed");
    return outcome->Take().front();
  }

  /// A connection that nothing is said over stands.
  void ExpectKeptByHeartbeats(const std::string& at) {
    RecordingHandler handler(Echo);
    const auto listener = ListenAt(at, handler);
    Arrival<PeerState> states;
    ChannelOptions options;
    options.on_state = [&](const PeerState& state) { states.Set(state); };
    const auto channel = Connect(listener->endpoint(), options);
    ASSERT_TRUE(CallAndWait(*channel).ok());
    EXPECT_FALSE(states.WaitFor(2, absl::Seconds(4))) << "lost after twenty heartbeats";
    EXPECT_TRUE(CallAndWait(*channel).ok());
  }

  StreamTransportOptions quick_ = {.loops = 1, .heartbeat = absl::Milliseconds(200)};
  std::unique_ptr<Transport> transport_ = NewStreamTransport(quick_, Clock::Real());
};

}  // namespace portico
