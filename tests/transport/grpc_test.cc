#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <future>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/identity.h"
#include "tests/transport/scripted_peer.h"
#include "transport/grpc_message.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class GrpcTest : public ::testing::Test {
 protected:
  std::unique_ptr<Listener> Listen(CallHandler& handler, ListenOptions options = {},
                                   const std::string& endpoint = "grpc://127.0.0.1:0") {
    auto listener = transport_->Listen(endpoint, handler, std::move(options));
    EXPECT_TRUE(listener.ok()) << listener.status();
    return *std::move(listener);
  }
  std::unique_ptr<Channel> Connect(const Listener& listener, ChannelOptions options = {}) {
    return *transport_->Connect(listener.endpoint(), std::move(options));
  }
  absl::StatusOr<PeerMessage> Echoed(const std::vector<Tensor>& tensors, PeerHeader header = {}) {
    EchoPeer echo;
    auto listener = Listen(echo);
    auto channel = Connect(*listener);
    PendingResult result;
    channel->Call(header, tensors, Deadline(), result.Done());
    return result.Wait();
  }
  std::unique_ptr<Transport> transport_ = NewGrpcTransport(Clock::Real());
};

/// One unary call with any bytes, past our own client.
grpc::Status RawCall(const std::string& endpoint, const std::string& method, const std::string& bytes) {
  auto channel =
      grpc::CreateChannel(absl::StrReplaceAll(endpoint, {{"grpc://", ""}}), grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&](grpc::Status status) { done.set_value(status); });
  return done.get_future().get();
}

TEST_F(GrpcTest, TensorsOfAllSizesComeBackAsTheyWere) {
  std::vector<Tensor> sent = {Tensor::Of<float>({2, 2}, {1, 2, 3, 4}), Tensor::Of<int64_t>({}, {7}),
                              Tensor::Of<float>({0, 5}, {})};
  for (const int64_t elements : {4096, 4097, 65'536, 3'000'000}) {
    Tensor large = Tensor::Allocate(DType::kInt32, {elements});
    auto* values = reinterpret_cast<int32_t*>(large.mutable_bytes());
    std::iota(values, values + elements, 0);
    sent.push_back(large);
    sent.push_back(Tensor::Of<uint8_t>({3}, {1, 2, 3}));  // What comes behind it is not aligned.
  }
  sent.push_back(Tensor::OfStrings({3}, std::vector<std::string>{"", "one", std::string(100'000, 'x')}));
  const auto result = Echoed(sent);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->tensors.size(), sent.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(result->tensors[i].dtype(), sent[i].dtype());
    EXPECT_EQ(result->tensors[i].shape(), sent[i].shape());
    EXPECT_EQ(result->tensors[i].bytes(), sent[i].bytes()) << i;
  }
}

TEST_F(GrpcTest, NamesAndStringsOfTheHeaderArrive) {
  PeerHeader header;
  header.tenant = "acme";
  header.tensors.push_back({.name = "left"});
  const auto result = Echoed({Tensor::Of<float>({1}, {1})}, header);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->header.message, "acme");
  EXPECT_EQ(result->header.tensors[0].name, "left");
}

TEST_F(GrpcTest, LargeTensorIsSentFromItsOwnMemory) {
  const Tensor tensor = Tensor::Allocate(DType::kFloat, {1 << 20});
  grpc::ByteBuffer buffer;
  PeerEnvelope envelope;
  envelope.tensors = {&tensor, 1};
  WriteGrpcMessage(PeerHeader(), envelope, &buffer);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(buffer.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(reinterpret_cast<const char*>(slices[1].begin()), tensor.bytes().data());
}

TEST_F(GrpcTest, ReceivedTensorSharesTheSliceItLiesInAndIsJoinedOtherwise) {
  const Tensor tensor = Tensor::Of<int64_t>({4}, {1, 2, 3, 4});
  grpc::ByteBuffer whole;
  PeerEnvelope envelope;
  envelope.kind = PeerHeader::Kind::kCall;
  envelope.tensors = {&tensor, 1};
  WriteGrpcMessage(PeerHeader(), envelope, &whole);
  std::vector<grpc::Slice> one;
  ASSERT_TRUE(whole.Dump(&one).ok());
  ASSERT_EQ(one.size(), 1u);
  PeerMessage shared;
  ASSERT_TRUE(ReadGrpcMessage(whole, PeerLimits(), &shared).ok());
  const char* begin = reinterpret_cast<const char*>(one[0].begin());
  EXPECT_GE(shared.tensors[0].bytes().data(), begin);
  EXPECT_LT(shared.tensors[0].bytes().data(), begin + one[0].size());

  // Cut at every place, and into single bytes.
  const std::string bytes(begin, one[0].size());
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const grpc::Slice parts[] = {grpc::Slice(bytes.substr(0, cut)), grpc::Slice(bytes.substr(cut))};
    PeerMessage message;
    ASSERT_TRUE(ReadGrpcMessage(grpc::ByteBuffer(parts, 2), PeerLimits(), &message).ok()) << cut;
    EXPECT_EQ(message.tensors[0].bytes(), tensor.bytes());
  }
  std::vector<grpc::Slice> bits;
  for (const char c : bytes) bits.emplace_back(&c, 1);
  PeerMessage message;
  ASSERT_TRUE(ReadGrpcMessage(grpc::ByteBuffer(bits.data(), bits.size()), PeerLimits(), &message).ok());
  EXPECT_EQ(message.tensors[0].bytes(), tensor.bytes());
  // Every truncation is refused, and so is a byte too many.
  for (size_t length = 0; length < bytes.size(); ++length) {
    const grpc::Slice part(bytes.substr(0, length));
    PeerMessage cut;
    EXPECT_FALSE(ReadGrpcMessage(grpc::ByteBuffer(&part, 1), PeerLimits(), &cut).ok()) << length;
  }
  const grpc::Slice longer(bytes + "x");
  PeerMessage more;
  EXPECT_FALSE(ReadGrpcMessage(grpc::ByteBuffer(&longer, 1), PeerLimits(), &more).ok());
}

TEST_F(GrpcTest, GarbageIsRefusedAndTheNodeKeepsServing) {
  EchoPeer echo;
  auto listener = Listen(echo);
  EXPECT_EQ(RawCall(listener->endpoint(), kGrpcCallMethod, "garbage").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RawCall(listener->endpoint(), kGrpcCallMethod, "").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RawCall(listener->endpoint(), kGrpcCallMethod, std::string(50, '\xff')).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RawCall(listener->endpoint(), kGrpcHelloMethod, "garbage").error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RawCall(listener->endpoint(), "/portico.Peer/Other", "x").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  // A header that claims a tensor of 1 GB.
  PeerHeader header;
  header.kind = PeerHeader::Kind::kCall;
  header.tensors.push_back({.dtype = DType::kUint8, .shape = {1 << 30}, .bytes = 1 << 30});
  std::string encoded;
  EncodeHeader(header, &encoded);
  const grpc::Status claim = RawCall(listener->endpoint(), kGrpcCallMethod,
                                     absl::StrCat(std::string(1, static_cast<char>(encoded.size())), encoded));
  EXPECT_EQ(claim.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(claim.error_message(), HasSubstr("1073741824"));

  auto channel = Connect(*listener);
  PendingResult result;
  channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  EXPECT_TRUE(result.Wait().ok());
}

TEST_F(GrpcTest, MessageBeyondTheLimitIsRefused) {
  EchoPeer echo;
  ListenOptions options;
  options.limits.max_message_bytes = 100'000;
  auto listener = Listen(echo, options);
  auto channel = Connect(*listener);
  const Tensor large = Tensor::Allocate(DType::kUint8, {200'000});
  PendingResult refused, served;
  channel->Call(PeerHeader(), {&large, 1}, Deadline(), refused.Done());
  EXPECT_EQ(refused.Wait().status().code(), absl::StatusCode::kResourceExhausted);
  channel->Call(PeerHeader(), {}, Deadline(), served.Done());
  EXPECT_TRUE(served.Wait().ok());
}

TEST_F(GrpcTest, HelloSaysWhoThePeerIsAndAnnouncementsFollow) {
  EchoPeer echo;
  ListenOptions options;
  options.self.node = "hub/0";
  options.self.incarnation = 42;
  auto listener = Listen(echo, options);
  StateLog states;
  ChannelOptions channel_options;
  channel_options.on_state = states.Listener();
  auto channel = Connect(*listener, std::move(channel_options));
  PeerState state = states.Take();
  EXPECT_TRUE(state.connected);
  EXPECT_EQ(state.node, "hub/0");
  EXPECT_EQ(state.incarnation, 42u);
  EXPECT_TRUE(state.served.empty());

  PeerState self = options.self;
  self.served.push_back({"hub/enc", 3, Sha256("x")});
  listener->Announce(self);
  state = states.Take();
  EXPECT_TRUE(state.connected);
  ASSERT_EQ(state.served.size(), 1u);
  EXPECT_EQ(state.served[0].name, "hub/enc");
  EXPECT_EQ(state.served[0].version, 3);
  EXPECT_EQ(state.served[0].digest, Sha256("x"));

  listener->GoAway();
  EXPECT_FALSE(states.Take().connected);
  PendingResult refused;
  channel->Call(PeerHeader(), {}, Deadline(), refused.Done());
  ASSERT_TRUE(refused.ready());
  EXPECT_EQ(refused.Wait().status().code(), absl::StatusCode::kUnavailable) << refused.Wait().status();
}

TEST_F(GrpcTest, LostPeerFailsItsCallsAtOnceAndIsFoundAgain) {
  ScriptedPeer peer;
  ListenOptions options;
  options.self.incarnation = 1;
  auto listener = Listen(peer, options);
  const std::string endpoint = listener->endpoint();
  StateLog states;
  ChannelOptions channel_options;
  channel_options.on_state = states.Listener();
  auto channel = Connect(*listener, std::move(channel_options));
  EXPECT_EQ(states.Take().incarnation, 1u);
  PendingResult lost;
  channel->Call(PeerHeader(), {}, Deadline(), lost.Done());
  ScriptedPeer::Call call = peer.TakeCall();
  listener.reset();
  EXPECT_EQ(lost.Wait().status().code(), absl::StatusCode::kUnavailable) << lost.Wait().status();
  EXPECT_FALSE(states.Take().connected);
  call.reply(PeerHeader(), {});  // The listener is gone; the answer goes nowhere.

  EchoPeer echo;
  options.self.incarnation = 2;
  listener = Listen(echo, options, endpoint);
  const PeerState back = states.Take();
  EXPECT_TRUE(back.connected);
  EXPECT_EQ(back.incarnation, 2u);
  PendingResult answered;
  channel->Call(PeerHeader(), {}, Deadline(), answered.Done());
  EXPECT_TRUE(answered.Wait().ok()) << answered.Wait().status();
}

TEST_F(GrpcTest, CallThatNeverFoundAPeerSaysSo) {
  std::string endpoint;
  {
    EchoPeer echo;
    endpoint = Listen(echo)->endpoint();
  }
  auto channel = *transport_->Connect(endpoint, {});
  PendingResult result;
  channel->Call(PeerHeader(), {}, Deadline::In(absl::Milliseconds(50), Clock::Real()), result.Done());
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(result.Wait().status().message()), HasSubstr("no connection yet"));
}

TEST_F(GrpcTest, DeadlineFiresAgainstASilentPeer) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  StateLog states;
  ChannelOptions options;
  options.on_state = states.Listener();
  auto channel = Connect(*listener, std::move(options));
  ASSERT_TRUE(states.Take().connected);
  PendingResult late;
  channel->Call(PeerHeader(), {}, Deadline::In(absl::Seconds(1), Clock::Real()), late.Done());
  const ScriptedPeer::Call call = peer.TakeCall();
  EXPECT_GT(call.message.header.timeout_us, 0u);
  EXPECT_LE(call.message.header.timeout_us, 1'000'000u);
  EXPECT_EQ(late.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(GrpcTest, CancelReachesThePeerUnderTheNameOfTheCall) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect(*listener);
  PendingResult cancelled;
  const uint64_t id = channel->Call(PeerHeader(), {}, Deadline(), cancelled.Done());
  const ScriptedPeer::Call call = peer.TakeCall();
  channel->Cancel(id);
  EXPECT_EQ(cancelled.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(peer.TakeCancelled(), std::make_pair(call.message.connection, call.message.header.call_id));
}

TEST_F(GrpcTest, ConnectionsAreToldApart) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto one = Connect(*listener);
  auto two = Connect(*listener);
  PendingResult a, b;
  one->Call(PeerHeader(), {}, Deadline(), a.Done());
  ScriptedPeer::Call first = peer.TakeCall();
  two->Call(PeerHeader(), {}, Deadline(), b.Done());
  ScriptedPeer::Call second = peer.TakeCall();
  EXPECT_NE(first.message.connection, second.message.connection);
}

TEST_F(GrpcTest, ConnectionsBeyondTheLimitAreRefused) {
  ScriptedPeer peer;
  ListenOptions options;
  options.max_connections = 1;
  auto listener = Listen(peer, options);
  StateLog states;
  ChannelOptions first_options;
  first_options.on_state = states.Listener();
  auto first = Connect(*listener, std::move(first_options));
  ASSERT_TRUE(states.Take().connected);
  auto second = Connect(*listener);
  PendingResult refused;
  second->Call(PeerHeader(), {}, Deadline(), refused.Done());
  // The call itself was refused, or the connection before it.
  EXPECT_THAT(refused.Wait().status().code(),
              testing::AnyOf(absl::StatusCode::kResourceExhausted, absl::StatusCode::kUnavailable));
}

TEST_F(GrpcTest, ReplyBeyondWhatMayBeQueuedIsCut) {
  ScriptedPeer peer;
  ListenOptions options;
  options.max_reply_bytes = 1000;
  auto listener = Listen(peer, options);
  auto channel = Connect(*listener);
  PendingResult result;
  channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  const Tensor large = Tensor::Allocate(DType::kUint8, {2000});
  peer.TakeCall().reply(PeerHeader(), {&large, 1});
  EXPECT_EQ(result.Wait().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(GrpcTest, WindowIsBoundedByCallsAndBytes) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  ChannelOptions options;
  options.max_calls = 2;
  options.max_bytes = 10;
  auto channel = Connect(*listener, std::move(options));
  const Tensor eight = Tensor::Of<double>({1}, {1});
  PendingResult first, bytes, second, third;
  channel->Call(PeerHeader(), {&eight, 1}, Deadline(), first.Done());
  channel->Call(PeerHeader(), {&eight, 1}, Deadline(), bytes.Done());
  EXPECT_EQ(bytes.Wait().status().code(), absl::StatusCode::kResourceExhausted);
  channel->Call(PeerHeader(), {}, Deadline(), second.Done());
  channel->Call(PeerHeader(), {}, Deadline(), third.Done());
  EXPECT_EQ(third.Wait().status().code(), absl::StatusCode::kResourceExhausted);
  channel.reset();
  ASSERT_TRUE(first.ready() && second.ready());
  EXPECT_EQ(first.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(second.Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(GrpcTest, DroppedReplyAnswersInternal) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect(*listener);
  PendingResult result;
  channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  { ScriptedPeer::Call dropped = peer.TakeCall(); }
  ASSERT_TRUE(result.Wait().ok());
  EXPECT_EQ(result.Wait()->header.code, static_cast<uint32_t>(absl::StatusCode::kInternal));
}

TEST_F(GrpcTest, ManyCallsAreInFlightAtOnce) {
  ScriptedPeer peer;
  auto listener = Listen(peer);
  auto channel = Connect(*listener);
  constexpr int kCalls = 1000;
  std::vector<PendingResult> results(kCalls);
  for (PendingResult& result : results) channel->Call(PeerHeader(), {}, Deadline(), result.Done());
  std::vector<ScriptedPeer::Call> calls;
  for (int i = 0; i < kCalls; ++i) calls.push_back(peer.TakeCall());
  for (ScriptedPeer::Call& call : calls) call.reply(PeerHeader(), {});
  for (PendingResult& result : results) EXPECT_TRUE(result.Wait().ok());
}

TEST_F(GrpcTest, EndpointsThatCannotBeReadOrTrustedAreRefused) {
  EchoPeer echo;
  for (const char* endpoint :
       {"grpc://", "grpc://host", "grpc://:1", "grpc://host:x", "grpc://host:65536", "tcp://host:1"}) {
    EXPECT_EQ(transport_->Connect(endpoint, {}).status().code(), absl::StatusCode::kInvalidArgument) << endpoint;
    EXPECT_EQ(transport_->Listen(endpoint, echo, {}).status().code(), absl::StatusCode::kInvalidArgument) << endpoint;
  }
  EXPECT_EQ(transport_->Listen("grpc://0.0.0.0:0", echo, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ListenOptions no_list;
  no_list.security.own_public_key = "certificate";
  no_list.security.own_secret_key = "key";
  EXPECT_EQ(transport_->Listen("grpc://127.0.0.1:0", echo, no_list).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GrpcTest, TakenPortIsRefused) {
  EchoPeer echo;
  auto listener = Listen(echo);
  EXPECT_EQ(transport_->Listen(listener->endpoint(), echo, {}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(GrpcTest, TlsServesThoseOnTheListAndNobodyElse) {
  const Identity server = Identity::Make();
  const Identity friendly = Identity::Make();
  const Identity stranger = Identity::Make();
  EchoPeer echo;
  ListenOptions options;
  options.security.own_public_key = server.certificate;
  options.security.own_secret_key = server.key;
  options.security.allowed_keys = {Identity::Make().certificate, friendly.certificate};
  auto listener = Listen(echo, options);
  const auto call = [&](const Identity* own, const Identity* trusted) {
    ChannelOptions channel_options;
    if (own != nullptr) {
      channel_options.security.own_public_key = own->certificate;
      channel_options.security.own_secret_key = own->key;
    }
    if (trusted != nullptr) channel_options.security.peer_public_key = trusted->certificate;
    auto channel = Connect(*listener, std::move(channel_options));
    PendingResult result;
    // Those who are refused never have a connection: their calls wait for one.
    const absl::Duration patience =
        own == &friendly && trusted == &server ? absl::Seconds(20) : absl::Milliseconds(500);
    channel->Call(PeerHeader(), {}, Deadline::In(patience, Clock::Real()), result.Done());
    return result.Wait().status();
  };
  EXPECT_TRUE(call(&friendly, &server).ok());
  EXPECT_EQ(call(&stranger, &server).code(), absl::StatusCode::kDeadlineExceeded) << "not on the list";
  EXPECT_EQ(call(nullptr, &server).code(), absl::StatusCode::kDeadlineExceeded) << "no certificate";
  EXPECT_EQ(call(&friendly, &stranger).code(), absl::StatusCode::kDeadlineExceeded) << "not the server we trust";
  EXPECT_EQ(call(nullptr, nullptr).code(), absl::StatusCode::kDeadlineExceeded) << "no TLS";
}

}  // namespace
}  // namespace portico
