// What every transport has to do, whatever carries its bytes.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/transport/transport_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

int Threads() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Threads:")) return std::stoi(line.substr(8));
  }
  return -1;
}

class TransportConformanceTest : public TransportFixture {};

TEST_P(TransportConformanceTest, CallsToANodeThatIsNotThereFailLongBeforeTheirDeadline) {
  RecordingHandler handler(Echo);
  const std::string endpoint = Listen(handler)->endpoint();  // Gone again.
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(200);
  const auto channel = Connect(endpoint, options);
  const absl::Time start = absl::Now();
  const auto outcome = CallAndWait(*channel, PeerHeader(), {Tensor::Of<float>({1}, {1})});
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kUnavailable) << outcome.status();
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_P(TransportConformanceTest, EchoKeepsTypesShapesAndBytes) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  std::vector<Tensor> sent = {
      Tensor::Of<float>({2, 2}, {1, 2, 3, 4}),
      Tensor::Of<int64_t>({3}, {-1, 0, 1}),
      Tensor::Of<bool>({}, {true}),
      Tensor::Of<double>({0, 7}, {}),
      Tensor::CopyOf(DType::kFloat16, {3}, "abcdef"),
      Tensor::CopyOf(DType::kBfloat16, {1}, "xy"),
      Tensor::CopyOf(DType::kInt4, {3}, "pq"),
      Tensor::CopyOf(DType::kComplex128, {1}, "0123456789abcdef"),
      Tensor::OfStrings({2, 2}, std::vector<std::string>{"", "portal", std::string("a\0b", 3), std::string(9000, 'z')}),
      Tensor::OfStrings({0}, std::vector<std::string>{}),
      Tensor::Of<uint8_t>({4096}, std::vector<uint8_t>(4096, 7)),
      Tensor::Of<uint8_t>({4097}, std::vector<uint8_t>(4097, 8)),
      Tensor::Of<int8_t>({1, 1, 1, 1, 1, 1}, {5}),
  };
  const auto outcome = CallAndWait(*channel, PeerHeader(), sent);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(outcome->tensors.size(), sent.size());
  EXPECT_EQ(outcome->header.kind, PeerHeader::Kind::kReply);
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(outcome->tensors[i].dtype(), sent[i].dtype()) << i;
    EXPECT_EQ(outcome->tensors[i].shape(), sent[i].shape()) << i;
    EXPECT_EQ(outcome->tensors[i].bytes(), sent[i].bytes()) << i;
  }
}

TEST_P(TransportConformanceTest, HeaderOfACallArrivesWhole) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const std::string digest(32, '\x5a');
  PeerHeader header;
  header.servable = "hub/encoder";
  header.version = 3;
  header.digest = digest;
  header.revision = 9;
  header.map_epoch = 11;
  header.signature = "serving_default";
  header.trace_id_high = 1;
  header.trace_id_low = 2;
  header.parent_span_id = 3;
  header.sampled = true;
  header.trace_state = "vendor=1";
  header.key = 5;
  header.draw = 6;
  header.shadow = true;
  header.tenant = "t";
  header.product = "p";
  header.priority = -2;
  header.hop = 4;
  header.attempt = 1;
  header.tensors.resize(1);
  header.tensors[0].name = "images";
  Arrival<Outcome> outcome;
  channel->Call(header, {Tensor::Of<float>({1}, {1})}, Soon(), [&](Outcome result) { outcome.Set(std::move(result)); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  auto held = handler.held.Take();
  const PeerHeader& got = held[0].call.header;
  EXPECT_EQ(got.kind, PeerHeader::Kind::kCall);
  EXPECT_EQ(got.servable, "hub/encoder");
  EXPECT_EQ(got.version, 3);
  EXPECT_EQ(got.digest, digest);
  EXPECT_EQ(got.revision, 9u);
  EXPECT_EQ(got.map_epoch, 11u);
  EXPECT_EQ(got.signature, "serving_default");
  EXPECT_GT(got.timeout_us, 0u);
  EXPECT_LE(got.timeout_us, 20'000'000u);
  EXPECT_EQ(got.trace_id_high, 1u);
  EXPECT_EQ(got.trace_id_low, 2u);
  EXPECT_EQ(got.parent_span_id, 3u);
  EXPECT_TRUE(got.sampled);
  EXPECT_EQ(got.trace_state, "vendor=1");
  EXPECT_EQ(got.key, 5u);
  EXPECT_EQ(got.draw, 6u);
  EXPECT_TRUE(got.shadow);
  EXPECT_EQ(got.tenant, "t");
  EXPECT_EQ(got.product, "p");
  EXPECT_EQ(got.priority, -2);
  EXPECT_EQ(got.hop, 4u);
  EXPECT_EQ(got.attempt, 1u);
  ASSERT_EQ(got.tensors.size(), 1u);
  EXPECT_EQ(got.tensors[0].name, "images");
  std::move(held[0].reply)(PeerHeader(), {});
  EXPECT_TRUE(outcome.WaitFor(1));
}

TEST_P(TransportConformanceTest, RepliesOutOfOrderReachTheirCalls) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  constexpr int kCalls = 64;
  Arrival<std::pair<int, int>> answers;
  for (int i = 0; i < kCalls; ++i) {
    channel->Call(PeerHeader(), {Tensor::Of<int32_t>({1}, {i})}, Soon(), [&answers, i](Outcome outcome) {
      answers.Set({i, outcome.ok() ? outcome->tensors.at(0).Aligned().data<int32_t>()[0] : -1});
    });
  }
  ASSERT_TRUE(handler.held.WaitFor(kCalls));
  auto held = handler.held.Take();
  std::shuffle(held.begin(), held.end(), std::mt19937(7));
  for (auto& [call, reply] : held) reply(PeerHeader(), call.tensors);
  ASSERT_TRUE(answers.WaitFor(kCalls));
  for (const auto& [sent, got] : answers.Take()) EXPECT_EQ(sent, got);
}

TEST_P(TransportConformanceTest, LargeTensorsArriveWhole) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  constexpr int64_t kElements = 4 << 20;
  Tensor large = Tensor::Allocate(DType::kUint32, {kElements});
  auto* values = reinterpret_cast<uint32_t*>(large.mutable_bytes());
  for (int64_t i = 0; i < kElements; ++i) values[i] = static_cast<uint32_t>(i * 2654435761u);
  const auto outcome = CallAndWait(*channel, PeerHeader(), {Tensor::Of<float>({1}, {1}), large, large.Slice(0, 4096)});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(outcome->tensors.size(), 3u);
  EXPECT_TRUE(outcome->tensors[1].bytes() == large.bytes());
  EXPECT_TRUE(outcome->tensors[2].bytes() == large.bytes().substr(0, 4096 * 4));
}

TEST_P(TransportConformanceTest, ErrorRepliesCarryAllTheySay) {
  RecordingHandler handler([](PeerMessage, PeerReply reply) {
    PeerHeader header;
    header.code = 5;
    header.message = "no such servable";
    header.row_status.push_back({3, 8, "full", "\x03\x02", "hub/full", "cheap"});
    header.notes.push_back("took the fallback");
    header.spans.push_back({1, 2, "segment", "node-a", 1234567, 89, "CANCELLED"});
    reply(header, {});
  });
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const auto outcome = CallAndWait(*channel, PeerHeader(), {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->header.code, 5u);
  EXPECT_EQ(outcome->header.message, "no such servable");
  ASSERT_EQ(outcome->header.row_status.size(), 1u);
  EXPECT_EQ(outcome->header.row_status[0].row, 3u);
  EXPECT_EQ(outcome->header.row_status[0].code, 8u);
  EXPECT_EQ(outcome->header.row_status[0].message, "full");
  EXPECT_EQ(outcome->header.row_status[0].ranges, "\x03\x02");
  EXPECT_EQ(outcome->header.row_status[0].portal, "hub/full");
  EXPECT_EQ(outcome->header.row_status[0].kind, "cheap");
  ASSERT_EQ(outcome->header.notes.size(), 1u);
  EXPECT_EQ(outcome->header.notes[0], "took the fallback");
  ASSERT_EQ(outcome->header.spans.size(), 1u);
  EXPECT_EQ(outcome->header.spans[0].name, "segment");
  EXPECT_EQ(outcome->header.spans[0].node, "node-a");
  EXPECT_EQ(outcome->header.spans[0].start_us, 1234567);
  EXPECT_EQ(outcome->header.spans[0].duration_ns, 89u);
  EXPECT_EQ(outcome->header.spans[0].error, "CANCELLED");
}

TEST_P(TransportConformanceTest, SilentPeerMeetsTheDeadlineAndIsToldToCancel) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(AwaitConnected());
  const absl::Time start = absl::Now();
  const auto outcome = CallAndWait(*channel, PeerHeader(), {}, Soon(absl::Seconds(1)));
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kDeadlineExceeded) << outcome.status();
  EXPECT_GE(absl::Now() - start, absl::Seconds(1));
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  ASSERT_TRUE(handler.held.WaitFor(1));
  EXPECT_TRUE(handler.cancelled.WaitFor(1));
}

TEST_P(TransportConformanceTest, DeadlineThatHasPassedFailsAtOnce) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const auto outcome = CallAndWait(*channel, PeerHeader(), {}, Soon(absl::Seconds(-1)));
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_P(TransportConformanceTest, CancelCompletesTheCallAndReachesTheHandler) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  Arrival<absl::Status> done;
  const uint64_t id = channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  channel->Cancel(id);
  channel->Cancel(id);
  ASSERT_TRUE(done.WaitFor(1));
  EXPECT_EQ(done.Take()[0].code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(handler.cancelled.WaitFor(1));
  auto held = handler.held.Take();
  EXPECT_EQ(handler.cancelled.Take()[0], std::make_pair(held[0].call.connection, held[0].call.header.call_id));
  // Late and for nothing, but no harm.
  std::move(held[0].reply)(PeerHeader(), {});
  EXPECT_EQ(done.size(), 0u);
}

TEST_P(TransportConformanceTest, DroppedReplyAnswersInternal) {
  RecordingHandler handler([](PeerMessage, PeerReply) {});
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const auto outcome = CallAndWait(*channel, PeerHeader(), {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->header.code, static_cast<uint32_t>(absl::StatusCode::kInternal));
}

TEST_P(TransportConformanceTest, LostPeerFailsItsCallsAtOnceAndComesBack) {
  RecordingHandler silent;
  ListenOptions first;
  first.self.incarnation = 100;
  auto listener = Listen(silent, first);
  const std::string endpoint = listener->endpoint();
  const auto channel = Connect(endpoint);
  Arrival<absl::Status> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_TRUE(silent.held.WaitFor(1));
  const absl::Time lost = absl::Now();
  listener.reset();
  ASSERT_TRUE(done.WaitFor(1));
  EXPECT_LT(absl::Now() - lost, absl::Seconds(10));
  const absl::Status status = done.Take()[0];
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  ASSERT_TRUE(AwaitState([](const PeerState& state) { return !state.connected; }));
  EXPECT_EQ(CallAndWait(*channel, PeerHeader(), {}).status().code(), absl::StatusCode::kUnavailable);

  RecordingHandler echo(Echo);
  ListenOptions second;
  second.self.incarnation = 101;
  auto again = transport_->Listen(endpoint, echo, second);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_TRUE(AwaitState([](const PeerState& state) { return state.connected && state.incarnation == 101; }));
  EXPECT_TRUE(CallAndWait(*channel, PeerHeader(), {}).ok());
}

TEST_P(TransportConformanceTest, PeerThatGoesAwayCancelsItsOpenCalls) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  auto channel = Connect(listener->endpoint());
  Arrival<absl::Status> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  channel.reset();
  ASSERT_EQ(done.size(), 1u) << "a channel's destructor completes its calls";
  EXPECT_EQ(done.Take()[0].code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(handler.cancelled.WaitFor(1));
}

TEST_P(TransportConformanceTest, FullWindowRefusesWithLimitAndFill) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  ChannelOptions options;
  options.max_calls = 4;
  const auto channel = Connect(listener->endpoint(), options);
  Arrival<absl::Status> done;
  for (int i = 0; i < 4; ++i)
    channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  const auto refused = CallAndWait(*channel, PeerHeader(), {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("got 4 calls in flight, want at most 4"));
  ASSERT_TRUE(handler.held.WaitFor(4));
  for (auto& held : handler.held.Take()) held.reply(PeerHeader(), {});
  ASSERT_TRUE(done.WaitFor(4));
  const auto next = CallAndWait(*channel, PeerHeader(), {}, Soon(absl::Milliseconds(50)));
  EXPECT_EQ(next.status().code(), absl::StatusCode::kDeadlineExceeded) << "the window is free again: " << next.status();
}

TEST_P(TransportConformanceTest, WindowOfBytesRefuses) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  ChannelOptions options;
  options.max_bytes = 100'000;
  Arrival<absl::Status> done;  // Before the channel, whose end completes the open call.
  const auto channel = Connect(listener->endpoint(), options);
  const Tensor tensor = Tensor::Allocate(DType::kUint8, {70'000});
  channel->Call(PeerHeader(), {tensor}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  const auto refused = CallAndWait(*channel, PeerHeader(), {tensor});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("want at most 100000"));
}

TEST_P(TransportConformanceTest, MessageBeyondThePeersLimitsFailsOnlyItself) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  ChannelOptions options;
  options.limits.max_frame_bytes = 10'000;
  const auto channel = Connect(listener->endpoint(), options);
  const auto refused = CallAndWait(*channel, PeerHeader(), {Tensor::Allocate(DType::kUint8, {10'001})});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(CallAndWait(*channel, PeerHeader(), {Tensor::Allocate(DType::kUint8, {10'000})}).ok());
}

TEST_P(TransportConformanceTest, TenThousandOpenCallsTakeNoThreads) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  RecordingHandler echo(Echo);
  const auto other_listener = Listen(echo);
  const auto other = Connect(other_listener->endpoint());
  ASSERT_TRUE(CallAndWait(*other, PeerHeader(), {}).ok());
  const int before = Threads();
  constexpr int kCalls = 10'000;
  Arrival<absl::Status> done;
  for (int i = 0; i < kCalls; ++i) {
    channel->Call(PeerHeader(), {}, Soon(absl::Seconds(60)), [&](Outcome outcome) { done.Set(outcome.status()); });
  }
  ASSERT_TRUE(handler.held.WaitFor(kCalls, absl::Seconds(30)));
  EXPECT_LE(Threads(), before + GetParam().pool_threads);
  EXPECT_TRUE(CallAndWait(*other, PeerHeader(), {}).ok()) << "another peer answers meanwhile";
  for (auto& held : handler.held.Take()) held.reply(PeerHeader(), {});
  ASSERT_TRUE(done.WaitFor(kCalls, absl::Seconds(30)));
  for (const absl::Status& status : done.Take()) EXPECT_TRUE(status.ok()) << status;
}

TEST_P(TransportConformanceTest, ManyThreadsShareAChannel) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  constexpr int kThreads = 4, kCalls = 500;
  Arrival<bool> done;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const int32_t value = t * kCalls + i;
        channel->Call(PeerHeader(), {Tensor::Of<int32_t>({1}, {value})}, Soon(), [&done, value](Outcome outcome) {
          done.Set(outcome.ok() && outcome->tensors.at(0).Aligned().data<int32_t>()[0] == value);
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(done.WaitFor(kThreads * kCalls));
  for (const bool right : done.Take()) EXPECT_TRUE(right);
}

TEST_P(TransportConformanceTest, HelloSaysWhoServesWhatAndAnnouncementsFollow) {
  RecordingHandler handler(Echo);
  ListenOptions options;
  options.self.incarnation = 42;
  options.self.node = "hub-0";
  Digest digest;
  digest.bytes[0] = 9;
  options.self.served.push_back({"hub/encoder", 1, digest});
  options.self.lists_all = true;
  const auto listener = Listen(handler, options);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(AwaitState([&](const PeerState& state) {
    return state.connected && state.incarnation == 42 && state.node == "hub-0" && state.served.size() == 1 &&
           state.served[0].name == "hub/encoder" && state.served[0].version == 1 && state.served[0].digest == digest;
  }));
  PeerState more = options.self;
  more.served.push_back({"digit", 2, Digest()});
  listener->Announce(more);
  EXPECT_TRUE(AwaitState(
      [](const PeerState& state) { return state.connected && state.served.size() == 2 && state.lists_all; }));
  more.lists_all = false;
  listener->Announce(more);
  EXPECT_TRUE(AwaitState([](const PeerState& state) { return state.connected && !state.lists_all; }));
}

TEST_P(TransportConformanceTest, GoAwayRefusesNewCallsAndFinishesOldOnes) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  Arrival<Outcome> outcome;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome result) { outcome.Set(std::move(result)); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  listener->GoAway();
  ASSERT_TRUE(AwaitState([](const PeerState& state) { return !state.connected; }));
  EXPECT_EQ(CallAndWait(*channel, PeerHeader(), {}).status().code(), absl::StatusCode::kUnavailable);
  auto held = handler.held.Take();
  std::move(held[0].reply)(PeerHeader(), {});
  ASSERT_TRUE(outcome.WaitFor(1));
  EXPECT_TRUE(outcome.Take()[0].ok());
}

TEST_P(TransportConformanceTest, CallsWaitForAPeerThatIsNotThereYet) {
  RecordingHandler handler(Echo);
  std::string endpoint;
  {
    // A place that is free for certain: nothing of it is left once its transport has gone.
    const auto transport = GetParam().make();
    endpoint = (*transport->Listen(GetParam().endpoint(), handler, {}))->endpoint();
  }
  const auto channel = Connect(endpoint);
  Arrival<Outcome> outcome;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome result) { outcome.Set(std::move(result)); });
  auto listener = transport_->Listen(endpoint, handler, {});
  ASSERT_TRUE(listener.ok()) << listener.status();
  ASSERT_TRUE(outcome.WaitFor(1));
  EXPECT_TRUE(outcome.Take()[0].ok());
}

TEST_P(TransportConformanceTest, ReplyAfterTheListenerStoppedIsDropped) {
  RecordingHandler handler;
  auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  Arrival<absl::Status> done;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome outcome) { done.Set(outcome.status()); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  auto held = handler.held.Take();
  listener.reset();
  std::move(held[0].reply)(PeerHeader(), {});
  ASSERT_TRUE(done.WaitFor(1));
  EXPECT_EQ(done.Take()[0].code(), absl::StatusCode::kUnavailable);
}

TEST_P(TransportConformanceTest, RepliesOnTheirWayOutliveTheListener) {
  RecordingHandler handler;
  auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  Arrival<Outcome> outcome;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome result) { outcome.Set(std::move(result)); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  auto held = handler.held.Take();
  std::move(held[0].reply)(PeerHeader(), {Tensor::Allocate(DType::kUint8, {1 << 20})});
  listener.reset();
  ASSERT_TRUE(outcome.WaitFor(1));
  const auto results = outcome.Take();
  EXPECT_TRUE(results[0].ok()) << results[0].status();
}

/// Is slow to take a call in, and notes what comes before it has.
class SlowDoor final : public CallHandler {
 public:
  void OnCall(PeerMessage call, PeerReply reply) override {
    arrived.Set(call.header.call_id);
    gave_up.WaitFor(1, absl::Seconds(3));
    taken_in_ = true;
    replies_.Set(std::move(reply));
  }
  void OnCancel(uint64_t, uint64_t) override { cancelled.Set(taken_in_); }

  Arrival<uint64_t> arrived;
  /// The caller has.
  Arrival<bool> gave_up;
  /// Whether the call had been taken in.
  Arrival<bool> cancelled;

 private:
  std::atomic<bool> taken_in_{false};
  Arrival<PeerReply> replies_;
};

TEST_P(TransportConformanceTest, ACancelDoesNotOvertakeItsCall) {
  SlowDoor door;
  const auto listener = Listen(door);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(AwaitConnected());
  Arrival<Outcome> outcome;
  // In process, Call() returns when the call has been taken in: the deadline is what ends it before.
  channel->Call(PeerHeader(), {}, Soon(absl::Seconds(1)), [&](Outcome result) {
    door.gave_up.Set(true);
    outcome.Set(std::move(result));
  });
  ASSERT_TRUE(outcome.WaitFor(1));
  EXPECT_EQ(outcome.Take().front().status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(door.cancelled.WaitFor(1)) << "the handler was never told";
  for (const bool after : door.cancelled.Take()) EXPECT_TRUE(after);
}

TEST_P(TransportConformanceTest, APeerThatTakesLongIsNotTakenForDead) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  ChannelOptions options;
  options.dead_after = absl::Seconds(1);
  const auto channel = Connect(listener->endpoint(), options);
  ASSERT_TRUE(AwaitConnected());
  Arrival<Outcome> outcome;
  channel->Call(PeerHeader(), {}, Soon(), [&](Outcome result) { outcome.Set(std::move(result)); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  EXPECT_FALSE(outcome.WaitFor(1, absl::Seconds(3))) << "three times as long";
  handler.held.Take().front().reply(PeerHeader(), {});
  ASSERT_TRUE(outcome.WaitFor(1));
  EXPECT_TRUE(outcome.Take().front().ok());
}

INSTANTIATE_TEST_SUITE_P(All, TransportConformanceTest, ::testing::ValuesIn(TransportsUnderTest()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace portico
