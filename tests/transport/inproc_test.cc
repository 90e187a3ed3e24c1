#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/scripted_peer.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class InprocTest : public ::testing::Test {
 protected:
  std::unique_ptr<Channel> Connect(ChannelOptions options = {}) {
    return *transport_->Connect("inproc://a", std::move(options));
  }
  std::unique_ptr<Listener> Listen(CallHandler& handler, ListenOptions options = {}) {
    return *transport_->Listen("inproc://a", handler, std::move(options));
  }
  std::unique_ptr<Transport> transport_ = NewInprocTransport(Clock::Real());
};

TEST_F(InprocTest, TensorsAreSharedNotCopied) {
  EchoPeer echo;
  auto listener = Listen(echo);
  auto channel = Connect();
  const Tensor sent = Tensor::Of<float>({3}, {1, 2, 3});
  PendingResult result;
  channel->Call(PeerHeader(), {&sent, 1}, Deadline(), result.Done());
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(result.Wait()->tensors[0].bytes().data(), sent.bytes().data());
}

TEST_F(InprocTest, HeaderOutlivesTheStringsItWasMadeOf) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  PendingResult result;
  {
    std::string tenant = "a tenant of some length, on the heap";
    PeerHeader header;
    header.tenant = tenant;
    channel->Call(header, {}, Deadline(), result.Done());
    tenant.assign(tenant.size(), 'x');
  }
  ScriptedPeer::Call call = peer.TakeCall();
  EXPECT_EQ(call.message.header.tenant, "a tenant of some length, on the heap");
  EXPECT_EQ(call.message.header.kind, PeerHeader::Kind::kCall);
  EXPECT_EQ(call.message.header.timeout_us, 0u);
  {
    std::string message = "a message of some length, on the heap";
    PeerHeader reply;
    reply.message = message;
    call.reply(reply, {});
    message.assign(message.size(), 'x');
  }
  EXPECT_EQ(result.Wait()->header.message, "a message of some length, on the heap");
  EXPECT_EQ(result.Wait()->header.kind, PeerHeader::Kind::kReply);
}

TEST_F(InprocTest, ListenerThatGoesFailsItsCallsAndOneThatComesTakesNewOnes) {
  StateLog states;
  ChannelOptions options;
  options.on_state = states.Listener();
  auto channel = Connect(std::move(options));
  ScriptedPeer peer;
  ListenOptions listen;
  listen.self.incarnation = 1;
  auto listener = Listen(peer, listen);
  EXPECT_TRUE(states.Take().connected);
  PendingResult lost;
  channel->Call(PeerHeader(), {}, Deadline(), lost.Done());
  ScriptedPeer::Call call = peer.TakeCall();
  listener.reset();
  ASSERT_TRUE(lost.ready()) << "at once";
  EXPECT_EQ(lost.Wait().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(states.Take().connected);
  call.reply(PeerHeader(), {});  // Too late; nobody hears it.

  EchoPeer echo;
  listen.self.incarnation = 2;
  listener = Listen(echo, listen);
  EXPECT_EQ(states.Take().incarnation, 2u);
  PendingResult answered;
  channel->Call(PeerHeader(), {}, Deadline(), answered.Done());
  EXPECT_TRUE(answered.Wait().ok());
}

TEST_F(InprocTest, SecondListenerOfANameIsRefused) {
  EchoPeer echo;
  auto listener = Listen(echo);
  EXPECT_EQ(transport_->Listen("inproc://a", echo, {}).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(InprocTest, DeadlineFiresAgainstASilentPeer) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  PendingResult late;
  channel->Call(PeerHeader(), {}, Deadline::In(absl::Milliseconds(500), Clock::Real()), late.Done());
  EXPECT_EQ(late.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(peer.TakeCall().message.header.timeout_us, 0u);
}

TEST_F(InprocTest, CancelReachesThePeer) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  PendingResult result;
  const uint64_t id = channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  const ScriptedPeer::Call call = peer.TakeCall();
  channel->Cancel(id);
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(peer.TakeCancelled(), std::make_pair(call.message.connection, call.message.header.call_id));
  channel->Cancel(id);  // Nothing is left to cancel.
}

TEST_F(InprocTest, WindowIsBoundedByCallsAndBytes) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  ChannelOptions options;
  options.max_calls = 2;
  options.max_bytes = 10;
  auto channel = Connect(std::move(options));
  const Tensor eight = Tensor::Of<double>({1}, {1});
  PendingResult first, second, third, fourth, fifth;
  channel->Call(PeerHeader(), {&eight, 1}, Deadline(), first.Done());
  channel->Call(PeerHeader(), {&eight, 1}, Deadline(), second.Done());
  EXPECT_EQ(second.Wait().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(second.Wait().status().message()), HasSubstr("8 in flight"));
  channel->Call(PeerHeader(), {}, Deadline(), third.Done());
  channel->Call(PeerHeader(), {}, Deadline(), fourth.Done());
  EXPECT_EQ(fourth.Wait().status().code(), absl::StatusCode::kResourceExhausted);
  peer.TakeCall().reply(PeerHeader(), {});
  EXPECT_TRUE(first.Wait().ok());
  channel->Call(PeerHeader(), {&eight, 1}, Deadline(), fifth.Done());
  EXPECT_FALSE(fifth.ready()) << "the room of the first is free again";
  channel.reset();
  EXPECT_EQ(third.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(fifth.Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(InprocTest, DroppedReplyAnswersInternal) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  PendingResult result;
  channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  { ScriptedPeer::Call dropped = peer.TakeCall(); }
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(result.Wait()->header.code, static_cast<uint32_t>(absl::StatusCode::kInternal));
}

TEST_F(InprocTest, GoAwayRefusesNewCallsAndLetsOthersFinish) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  PendingResult before, after;
  channel->Call(PeerHeader(), {}, Deadline(), before.Done());
  listener->GoAway();
  channel->Call(PeerHeader(), {}, Deadline(), after.Done());
  EXPECT_EQ(after.Wait().status().code(), absl::StatusCode::kUnavailable);
  peer.TakeCall().reply(PeerHeader(), {});
  EXPECT_TRUE(before.Wait().ok());
}

TEST_F(InprocTest, RepliesRaceWithCancelsAndDeadlinesAndEachCallCompletesOnce) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect();
  constexpr int kCalls = 2000;
  std::vector<PendingResult> results(kCalls);  // A second completion of one would throw.
  // Calls that are over before they are delivered never reach the peer: the last one says that it is the last.
  std::thread answering([&] {
    for (bool last = false; !last && !HasFailure();) {
      ScriptedPeer::Call call = peer.TakeCall();
      last = call.message.header.signature == "last";
      call.reply(PeerHeader(), {});
    }
  });
  for (int i = 0; i < kCalls; ++i) {
    const uint64_t id =
        channel->Call(PeerHeader(), {}, Deadline::In(absl::Milliseconds(1 + i % 3), Clock::Real()), results[i].Done());
    if (i % 2 == 0) channel->Cancel(id);
  }
  for (PendingResult& result : results) result.Wait();
  PendingResult last;
  PeerHeader header;
  header.signature = "last";
  channel->Call(header, {}, Deadline(), last.Done());
  answering.join();
  EXPECT_TRUE(last.Wait().ok());
}

}  // namespace
}  // namespace portico
