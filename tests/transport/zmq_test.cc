// What only ZeroMQ's transport has to stand: peers that break its framing, keys, libzmq's own habits.

#include <zmq.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/raw_zmtp.h"
#include "tests/transport/recording_handler.h"
#include "tests/transport/transports_under_test.h"
#include "transport/hello.h"
#include "transport/transport.h"
#include "transport/zmq_pack.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using Outcome = absl::StatusOr<PeerMessage>;

constexpr char kAnyPort[] = "zmq+tcp://127.0.0.1:0";

void Echo(PeerMessage call, PeerReply reply) { reply(PeerHeader(), call.tensors); }

Deadline Soon(absl::Duration timeout = absl::Seconds(20)) { return Deadline::In(timeout, Clock::Real()); }

Outcome CallAndWait(Channel& channel, const std::vector<Tensor>& tensors = {}, Deadline deadline = Soon()) {
  auto outcome = std::make_shared<Arrival<Outcome>>();
  channel.Call(PeerHeader(), tensors, deadline, [outcome](Outcome result) { outcome->Set(std::move(result)); });
  if (!outcome->WaitFor(1, absl::Seconds(30))) return absl::InternalError("test: the call never completed");
  return outcome->Take().front();
}

std::string HelloPack(uint64_t incarnation) {
  PeerState self;
  self.incarnation = incarnation;
  Pack pack;
  pack.Append(HelloHeader(self), {});
  return pack.head;
}

std::string CallPack(uint64_t call_id) {
  Pack pack;
  pack.Append(BareHeader(PeerHeader::Kind::kCall, call_id), {});
  return pack.head;
}

/// A listener with small limits, and an honest client that has to be served whatever others do.
class ZmqHostilePeerTest : public ::testing::Test {
 protected:
  ZmqHostilePeerTest() {
    options_.limits.max_header_bytes = 64 << 10;
    options_.limits.max_frame_bytes = 8 << 20;
    options_.limits.max_message_bytes = 8 << 20;
    options_.self.incarnation = 1;
    listener_ = *transport_->Listen(kAnyPort, handler_, options_);
    channel_ = *transport_->Connect(listener_->endpoint(), {});
  }

  void ExpectOthersServed() {
    const auto outcome = CallAndWait(*channel_, {Tensor::Of<float>({2}, {1, 2})});
    EXPECT_TRUE(outcome.ok()) << outcome.status();
  }

  /// Sends `frame` until the peer is cut, serving others meanwhile; fails beyond `limit` bytes.
  void ExpectCutWithin(RawZmtp& peer, const std::string& frame, uint64_t limit) {
    uint64_t sent = 0, next_look = 0;
    while (peer.Write(frame)) {
      sent += frame.size();
      ASSERT_LT(sent, limit) << "the peer was not cut";
      if (sent < next_look) continue;
      next_look = sent + limit / 16;
      ExpectOthersServed();
    }
    ExpectOthersServed();
  }

  ListenOptions options_;
  RecordingHandler handler_{Echo};
  std::unique_ptr<Transport> transport_ = NewZmqTransport({}, Clock::Real());
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Channel> channel_;
};

// The look at connections comes every 100 ms, and loopback is fast: what passes until then is a matter of the machine.
constexpr uint64_t kCutWithin = uint64_t{2} << 30;

TEST_F(ZmqHostilePeerTest, StrangerWithEndlessFramesIsCut) {
  RawZmtp peer(listener_->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ExpectCutWithin(peer, RawZmtp::Frame(std::string(64 << 10, 'x'), /*more=*/true), kCutWithin);
}

TEST_F(ZmqHostilePeerTest, StrangerWithEndlessEmptyFramesIsCut) {
  RawZmtp peer(listener_->endpoint());
  ASSERT_TRUE(peer.Handshake());
  std::string frames;
  for (int i = 0; i < 1000; ++i) frames += std::string("\x01\0", 2);
  ExpectCutWithin(peer, frames, kCutWithin);
}

TEST_F(ZmqHostilePeerTest, PeerWithEndlessFramesIsCut) {
  RawZmtp peer(listener_->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(HelloPack(5), /*more=*/false)));
  ExpectCutWithin(peer, RawZmtp::Frame(std::string(64 << 10, 'x'), /*more=*/true), kCutWithin);
}

TEST_F(ZmqHostilePeerTest, FrameThatClaimsAGigabyteEndsTheConnection) {
  RawZmtp peer(listener_->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ASSERT_TRUE(peer.Write(RawZmtp::FrameHeader((uint64_t{1} << 30) + 1, /*more=*/false) + "some bytes"));
  EXPECT_GE(peer.ReadToEnd(), 0) << "not closed";
  ExpectOthersServed();
}

TEST_F(ZmqHostilePeerTest, NoiseInsteadOfAGreetingHarmsNobody) {
  std::mt19937 random(3);
  for (int i = 0; i < 20; ++i) {
    RawZmtp peer(listener_->endpoint());
    std::string noise(1000, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    peer.Write(noise);
  }
  ExpectOthersServed();
}

TEST(ZmqTest, ListenerMayCloseInTheMiddleOfAnyHandshake) {
  RecordingHandler handler(Echo);
  const auto transport = NewZmqTransport({}, Clock::Real());
  std::mt19937 random(8);
  for (int i = 0; i < 30; ++i) {
    auto listener = *transport->Listen(kAnyPort, handler, {});
    RawZmtp peer(listener->endpoint());
    // A greeting of ZMTP 1: a routing id of 0 to 9 bytes, then frames.
    std::string old = std::string(1, static_cast<char>(1 + random() % 10)) + std::string(20, '\0');
    peer.Write(old);
    listener.reset();
  }
}

TEST_F(ZmqHostilePeerTest, NoiseInsteadOfAPackIsDroppedAndThePeerServedOn) {
  RawZmtp peer(listener_->endpoint());
  ASSERT_TRUE(peer.Handshake());
  std::mt19937 random(4);
  for (int i = 0; i < 100; ++i) {
    std::string noise(random() % 300, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    ASSERT_TRUE(peer.Write(RawZmtp::Frame(noise, /*more=*/i % 3 == 0)));
  }
  ExpectOthersServed();
}

TEST(ZmqTest, CallBeforeHelloIsDropped) {
  RecordingHandler handler;
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto listener = *transport->Listen(kAnyPort, handler, {});
  RawZmtp peer(listener->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(CallPack(1), false)));
  ASSERT_TRUE(peer.Write(RawZmtp::Frame("no pack", false)));
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(HelloPack(5), false)));
  ASSERT_TRUE(peer.Write(RawZmtp::Frame("no pack", false)));
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(CallPack(2), false)));
  ASSERT_TRUE(handler.held.WaitFor(1));
  const auto held = handler.held.Take();
  EXPECT_EQ(held[0].call.header.call_id, 2u);
}

TEST(ZmqTest, CallIdThatIsOpenIsNotTakenTwice) {
  RecordingHandler handler;
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto listener = *transport->Listen(kAnyPort, handler, {});
  RawZmtp peer(listener->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(HelloPack(5), false)));
  for (const uint64_t id : {1, 1, 2}) ASSERT_TRUE(peer.Write(RawZmtp::Frame(CallPack(id), false)));
  ASSERT_TRUE(handler.held.WaitFor(2));
  const auto held = handler.held.Take();
  EXPECT_EQ(held[0].call.header.call_id, 1u);
  EXPECT_EQ(held[1].call.header.call_id, 2u);
}

TEST(ZmqTest, PeerThatDoesNotReadItsRepliesIsCut) {
  const Tensor large = Tensor::Allocate(DType::kUint8, {1 << 20});
  RecordingHandler handler([&](PeerMessage, PeerReply reply) { reply(PeerHeader(), {&large, 1}); });
  const auto transport = NewZmqTransport({}, Clock::Real());
  ListenOptions options;
  options.max_reply_bytes = 16 << 20;
  const auto listener = *transport->Listen(kAnyPort, handler, options);
  RawZmtp peer(listener->endpoint());
  ASSERT_TRUE(peer.Handshake());
  ASSERT_TRUE(peer.Write(RawZmtp::Frame(HelloPack(5), false)));
  for (uint64_t id = 1; id <= 200 && peer.Write(RawZmtp::Frame(CallPack(id), false)); ++id) {
  }
  const int64_t got = peer.ReadToEnd();
  EXPECT_GE(got, 0) << "not cut";
  EXPECT_LT(got, int64_t{200} << 20);
}

TEST(ZmqTest, ConnectionsBeyondTheLimitAreClosed) {
  RecordingHandler handler(Echo);
  const auto transport = NewZmqTransport({}, Clock::Real());
  ListenOptions options;
  options.max_connections = 1;
  const auto listener = *transport->Listen(kAnyPort, handler, options);
  const auto channel = *transport->Connect(listener->endpoint(), {});
  ASSERT_TRUE(CallAndWait(*channel).ok());
  RawZmtp second(listener->endpoint());
  EXPECT_FALSE(second.Handshake() && second.ReadToEnd() < 0) << "not closed";
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

/// A ROUTER that the test speaks through by hand: a server that may be wrong.
class FakeServer {
 public:
  FakeServer() : context_(zmq_ctx_new()), router_(zmq_socket(context_, ZMQ_ROUTER)) {
    const int none = 0, timeout_ms = 20'000;
    zmq_setsockopt(router_, ZMQ_LINGER, &none, sizeof(none));
    zmq_setsockopt(router_, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
    PORTICO_CHECK(zmq_bind(router_, "tcp://127.0.0.1:*") == 0);
    char address[256];
    size_t size = sizeof(address);
    zmq_getsockopt(router_, ZMQ_LAST_ENDPOINT, address, &size);
    endpoint = absl::StrCat("zmq+", address);
  }
  ~FakeServer() {
    zmq_close(router_);
    zmq_ctx_term(context_);
  }

  /// The kind of the next message, kUnknown when none comes. Answers go to who sent it.
  PeerHeader::Kind Receive() {
    char id[256], head[4096];
    const int id_size = zmq_recv(router_, id, sizeof(id), 0);
    if (id_size < 0) return PeerHeader::Kind::kUnknown;
    peer_.assign(id, static_cast<size_t>(id_size));
    const int size = zmq_recv(router_, head, sizeof(head), 0);
    std::vector<ReceivedFrame> frames = {{{head, static_cast<size_t>(size)}, nullptr}};
    std::vector<PeerMessage> messages;
    if (!Unpack(absl::MakeSpan(frames), {}, &messages).ok()) return PeerHeader::Kind::kUnknown;
    return messages[0].header.kind;
  }
  void Send(absl::string_view head) {
    zmq_send(router_, peer_.data(), peer_.size(), ZMQ_SNDMORE);
    zmq_send(router_, head.data(), head.size(), 0);
  }

  std::string endpoint;

 private:
  void* const context_;
  void* const router_;
  std::string peer_;
};

TEST(ZmqTest, MalformedReplyFailsTheCallsAndConnectsAgain) {
  FakeServer server;
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto channel = *transport->Connect(server.endpoint, {});
  Arrival<absl::Status> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_EQ(server.Receive(), PeerHeader::Kind::kHello);
  server.Send(HelloPack(1));
  ASSERT_EQ(server.Receive(), PeerHeader::Kind::kCall);
  server.Send("no pack");
  ASSERT_TRUE(done.WaitFor(1));
  const absl::Status status = done.Take()[0];
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("malformed message; the call was sent"));
  EXPECT_EQ(server.Receive(), PeerHeader::Kind::kHello) << "it did not connect again";
}

TEST(ZmqTest, NewIncarnationFailsTheCallsOfTheOldOne) {
  FakeServer server;
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto channel = *transport->Connect(server.endpoint, {});
  Arrival<absl::Status> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_EQ(server.Receive(), PeerHeader::Kind::kHello);
  server.Send(HelloPack(1));
  ASSERT_EQ(server.Receive(), PeerHeader::Kind::kCall);
  server.Send(HelloPack(2));
  ASSERT_TRUE(done.WaitFor(1));
  const absl::Status status = done.Take()[0];
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("restarted"));
}

TEST(ZmqTest, CallThatNeverGotOutSaysSo) {
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto channel = *transport->Connect("zmq+tcp://127.0.0.1:1", {});
  const auto outcome = CallAndWait(*channel, {}, Soon(absl::Milliseconds(50)));
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(outcome.status().message()), HasSubstr("not sent"));
}

TEST(ZmqTest, SeveralReactorsServeManyChannels) {
  RecordingHandler handler(Echo);
  const auto transport = NewZmqTransport({.reactors = 3, .io_threads = 2}, Clock::Real());
  const auto listener = *transport->Listen(kAnyPort, handler, {});
  std::vector<std::unique_ptr<Channel>> channels;
  for (int i = 0; i < 12; ++i) channels.push_back(*transport->Connect(listener->endpoint(), {}));
  Arrival<bool> done;
  for (int i = 0; i < 20; ++i) {
    for (const auto& channel : channels) {
      channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.ok()); });
    }
  }
  ASSERT_TRUE(done.WaitFor(240));
  for (const bool ok : done.Take()) EXPECT_TRUE(ok);
}

TEST(ZmqTest, ChannelMayBeDestroyedInsideItsOwnCompletion) {
  RecordingHandler handler(Echo);
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto listener = *transport->Listen(kAnyPort, handler, {});
  auto channel = *transport->Connect(listener->endpoint(), {});
  Arrival<bool> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) {
    channel.reset();
    done.Set(outcome.ok());
  });
  ASSERT_TRUE(done.WaitFor(1));
  EXPECT_TRUE(done.Take()[0]);
}

TEST(ZmqTest, UnreadableEndpointsAreNamed) {
  const auto transport = NewZmqTransport({}, Clock::Real());
  for (const std::string endpoint : {"zmq+tcp://host", "zmq+tcp://host:", "zmq+tcp://:80", "zmq+tcp://host:0",
                                     "zmq+tcp://host:70000", "zmq+udp://host:1", "zmq+ipc://"}) {
    const auto channel = transport->Connect(endpoint, {});
    EXPECT_EQ(channel.status().code(), absl::StatusCode::kInvalidArgument) << endpoint;
    EXPECT_THAT(std::string(channel.status().message()), HasSubstr("endpoint '" + endpoint + "'"));
  }
}

TEST(ZmqTest, AddressInUseIsAnError) {
  RecordingHandler handler(Echo);
  const auto transport = NewZmqTransport({}, Clock::Real());
  const auto listener = *transport->Listen(kAnyPort, handler, {});
  EXPECT_EQ(transport->Listen(listener->endpoint(), handler, {}).status().code(), absl::StatusCode::kAlreadyExists);
}

struct Keys {
  Keys() {
    char public_buffer[41], secret_buffer[41];
    PORTICO_CHECK(zmq_curve_keypair(public_buffer, secret_buffer) == 0);
    public_key = public_buffer;
    secret_key = secret_buffer;
  }
  std::string public_key, secret_key;
};

class ZmqCurveTest : public ::testing::Test {
 protected:
  ListenOptions ListenWith(std::vector<std::string> allowed) const {
    ListenOptions options;
    options.security.own_public_key = server_.public_key;
    options.security.own_secret_key = server_.secret_key;
    options.security.allowed_keys = std::move(allowed);
    return options;
  }
  ChannelOptions ConnectWith(const Keys& keys) const {
    ChannelOptions options;
    options.security.own_public_key = keys.public_key;
    options.security.own_secret_key = keys.secret_key;
    options.security.peer_public_key = server_.public_key;
    return options;
  }

  const Keys server_, friend_, stranger_;
  RecordingHandler handler_{Echo};
  std::unique_ptr<Transport> transport_ = NewZmqTransport({}, Clock::Real());
};

TEST_F(ZmqCurveTest, AllowedKeyIsServedAlsoOffLoopback) {
  const auto listener = transport_->Listen("zmq+tcp://0.0.0.0:0", handler_, ListenWith({friend_.public_key}));
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::string& endpoint = (*listener)->endpoint();
  const auto channel =
      *transport_->Connect("zmq+tcp://127.0.0.1" + endpoint.substr(endpoint.rfind(':')), ConnectWith(friend_));
  const Tensor large = Tensor::Allocate(DType::kUint8, {1 << 20});
  const auto outcome = CallAndWait(*channel, {Tensor::Of<double>({1}, {1}), large});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_TRUE(outcome->tensors.at(1).bytes() == large.bytes());
}

TEST_F(ZmqCurveTest, OtherKeysAreRefused) {
  const auto listener = *transport_->Listen(kAnyPort, handler_, ListenWith({friend_.public_key}));
  const auto channel = *transport_->Connect(listener->endpoint(), ConnectWith(stranger_));
  EXPECT_EQ(CallAndWait(*channel).status().code(), absl::StatusCode::kUnavailable);
  const auto honest = *transport_->Connect(listener->endpoint(), ConnectWith(friend_));
  EXPECT_TRUE(CallAndWait(*honest).ok());
}

TEST_F(ZmqCurveTest, EachListenerHasItsOwnList) {
  const auto first = *transport_->Listen(kAnyPort, handler_, ListenWith({friend_.public_key}));
  const auto second = *transport_->Listen(kAnyPort, handler_, ListenWith({stranger_.public_key}));
  const auto right = *transport_->Connect(second->endpoint(), ConnectWith(stranger_));
  EXPECT_TRUE(CallAndWait(*right).ok());
  const auto wrong = *transport_->Connect(first->endpoint(), ConnectWith(stranger_));
  EXPECT_EQ(CallAndWait(*wrong).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ZmqCurveTest, PlainPeersAreRefused) {
  const auto listener = *transport_->Listen(kAnyPort, handler_, ListenWith({friend_.public_key}));
  const auto channel = *transport_->Connect(listener->endpoint(), {});
  EXPECT_FALSE(CallAndWait(*channel, {}, Soon(absl::Seconds(1))).ok());
}

TEST_F(ZmqCurveTest, ListenerWithoutKeysBesideOneWithKeysServes) {
  const auto secured = *transport_->Listen(kAnyPort, handler_, ListenWith({friend_.public_key}));
  const auto plain = *transport_->Listen(kAnyPort, handler_, {});
  const auto channel = *transport_->Connect(plain->endpoint(), {});
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

TEST_F(ZmqCurveTest, KeysAreCheckedBeforeUse) {
  EXPECT_EQ(transport_->Listen(kAnyPort, handler_, ListenWith({})).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(transport_->Listen(kAnyPort, handler_, ListenWith({"short"})).status().code(),
            absl::StatusCode::kInvalidArgument);
  ChannelOptions options = ConnectWith(friend_);
  options.security.peer_public_key = "";
  EXPECT_EQ(transport_->Connect("zmq+tcp://127.0.0.1:1", options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
