// What only native sockets (`tcp://`, `unix://`) have to do; the rest is in conformance_test.cc.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/memory.h"
#include "tests/transport/identity.h"
#include "tests/transport/recording_handler.h"
#include "tests/transport/stream_fixture.h"
#include "tests/transport/transports_under_test.h"
#include "transport/hello.h"
#include "transport/stream_frame.h"
#include "transport/transport.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using Outcome = absl::StatusOr<PeerMessage>;

std::string Framed(absl::string_view header, const std::vector<Tensor>& tensors = {}) {
  StreamQueue queue;
  queue.Append(header, tensors);
  std::string bytes;
  while (!queue.empty()) {
    iovec piece;
    queue.Pieces(&piece, 1);
    bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    queue.Consume(piece.iov_len);
  }
  return bytes;
}

std::string Hello() {
  PeerState self;
  self.incarnation = 9;
  self.node = "raw";
  return Framed(HelloHeader(self));
}

std::string EncodedCall(uint64_t call_id, const std::vector<Tensor>& tensors) {
  std::string header;
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kCall, call_id, 0, tensors}, &header);
  return header;
}

/// A connection that says what the test wants.
class RawPeer {
 public:
  explicit RawPeer(const std::string& endpoint) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(endpoint.substr(endpoint.rfind(':') + 1), &port));
    address.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawPeer() { close(fd_); }
  void Send(absl::string_view bytes) { (void)!send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// Whether the other side ends the connection in time. What it says meanwhile is dropped.
  bool IsCut(absl::Duration within = absl::Seconds(30)) {
    const absl::Time until = absl::Now() + within;
    char buffer[4096];
    for (absl::Duration left = within; left > absl::ZeroDuration(); left = until - absl::Now()) {
      pollfd state{.fd = fd_, .events = POLLIN, .revents = 0};
      if (poll(&state, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) continue;
      if (recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT) <= 0) return true;
    }
    return false;
  }

 private:
  const int fd_;
};

/// Somebody else. Runs `as_them` as user 65534 in a process of its own; true where that returns true. Only what is safe
/// between fork() and exec() may be called there.
template <typename AsThem>
bool RunAsAnother(AsThem as_them) {
  const pid_t child = fork();
  if (child == 0) {
    const bool became = setgid(65534) == 0 && setuid(65534) == 0;
    _exit(became && as_them() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

class StreamTest : public StreamFixture {
 protected:
  std::unique_ptr<Listener> Listen(CallHandler& handler, const std::string& endpoint = "tcp://127.0.0.1:0",
                                   ListenOptions options = {}) {
    return ListenAt(endpoint, handler, std::move(options));
  }
};

TEST_F(StreamTest, GarbageIsCutAndOthersGoOn) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(CallAndWait(*channel).ok());
  std::string huge_header(StreamPrefix::kBytes, '\0');
  StreamPrefix{0x7fffffff, 0, 0}.Store(huge_header.data());
  std::string tensors_first(StreamPrefix::kBytes, '\0');
  StreamPrefix{8, 64, 0}.Store(tensors_first.data());
  const std::vector<Tensor> tensors = {Tensor::Of<float>({1}, {1})};
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100, '\xff'), huge_header,
                                   tensors_first, Framed(EncodedCall(1, {})), Hello() + "nonsense that is long enough",
                                   Hello() + Framed("not protobuf\xff\xff")}) {
    RawPeer peer(listener->endpoint());
    peer.Send(bytes);
    EXPECT_TRUE(peer.IsCut()) << absl::CHexEscape(bytes);
  }
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

TEST_F(StreamTest, TensorBeyondTheLimitIsCutAtItsHeader) {
  RecordingHandler handler(Echo);
  ListenOptions options;
  options.limits.max_frame_bytes = 10'000;
  const auto listener = Listen(handler, "tcp://127.0.0.1:0", options);
  const std::vector<Tensor> tensors = {Tensor::Allocate(DType::kUint8, {10'001})};
  RawPeer peer(listener->endpoint());
  // Only the header comes, never the bytes that it announces.
  peer.Send(Hello() + Framed(EncodedCall(1, tensors), tensors).substr(0, 200));
  EXPECT_TRUE(peer.IsCut());
}

TEST_F(StreamTest, HalfAMessageAndSilenceIsCutAndHarmsNobody) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const std::string message = Framed(EncodedCall(1, {}));
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 50; ++i) {
    peers.push_back(std::make_unique<RawPeer>(listener->endpoint()));
    peers.back()->Send(i % 2 == 0 ? Hello().substr(0, 1 + i / 2) : Hello() + message.substr(0, 1 + i / 3));
  }
  EXPECT_TRUE(CallAndWait(*channel).ok());
  for (const auto& peer : peers) EXPECT_TRUE(peer->IsCut()) << "silent for five heartbeats";
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

TEST_F(StreamTest, TricklingPeerIsCutAndHarmsNobody) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(CallAndWait(*channel).ok());
  const int before = OpenDescriptors();
  const std::vector<Tensor> tensors = {Tensor::Allocate(DType::kUint8, {1 << 20})};
  const std::string message = Framed(EncodedCall(1, tensors), tensors);
  // A byte per heartbeat: never silent, and never done.
  std::vector<std::unique_ptr<RawPeer>> peers;
  std::vector<size_t> sent = {1, 20, message.size() / 2};
  for (const size_t begun : sent) {
    peers.push_back(std::make_unique<RawPeer>(listener->endpoint()));
    peers.back()->Send(Hello() + message.substr(0, begun));
  }
  const absl::Time start = absl::Now();
  std::vector<absl::Time> cut(peers.size(), absl::InfiniteFuture());
  for (int i = 0; i < 1000 && *std::max_element(cut.begin(), cut.end()) == absl::InfiniteFuture(); ++i) {
    for (size_t p = 0; p < peers.size(); ++p) {
      peers[p]->Send(message.substr(sent[p]++, 1));
      if (cut[p] == absl::InfiniteFuture() && peers[p]->IsCut(absl::Milliseconds(5))) cut[p] = absl::Now();
    }
    absl::SleepFor(quick_.heartbeat / 2);
    ASSERT_TRUE(CallAndWait(*channel).ok());
  }
  for (const absl::Time at : cut) {
    EXPECT_LT(at - start, absl::Minutes(1));
    EXPECT_GT(at - start, quick_.heartbeat * 25) << "they had their time";
  }
  peers.clear();
  const absl::Time until = absl::Now() + absl::Seconds(10);
  while (OpenDescriptors() > before && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(StreamTest, ServerThatFallsSilentIsLostLongBeforeTheDeadline) {
  // Accepts, and never says a word.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 8), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(300);
  const auto channel = Connect(absl::StrCat("tcp://127.0.0.1:", ntohs(address.sin_port)), options);
  const absl::Time start = absl::Now();
  EXPECT_EQ(CallAndWait(*channel).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  close(fd);
}

/// Accepts a connection, says HELLO and then nothing.
class MutePeer {
 public:
  explicit MutePeer(uint32_t pace_ms) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    endpoint_ = absl::StrCat("tcp://127.0.0.1:", ntohs(address.sin_port));
    PeerState self;
    self.incarnation = 9;
    hello_ = Framed(HelloHeader(self, pace_ms));
  }
  ~MutePeer() {
    close(listener_);
    close(peer_);
  }
  const std::string& endpoint() const { return endpoint_; }
  void Greet() {
    peer_ = accept(listener_, nullptr, nullptr);
    EXPECT_EQ(send(peer_, hello_.data(), hello_.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello_.size()));
  }

 private:
  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int peer_ = -1;
  std::string endpoint_, hello_;
};

TEST_F(StreamTest, PeerThatHoldsCallsAndFallsSilentIsLostAsSoonAsItsPaceAllows) {
  transport_ = NewStreamTransport({.pace = absl::Milliseconds(50)}, Clock::Real());
  MutePeer peer(/*pace_ms=*/50);
  ChannelOptions options;
  options.dead_after = absl::Milliseconds(300);
  const auto channel = Connect(peer.endpoint(), options);
  peer.Greet();
  const absl::Time start = absl::Now();
  const Outcome outcome = CallAndWait(*channel);
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(outcome.status().message(), HasSubstr("no sign of life"));
  EXPECT_GT(absl::Now() - start, absl::Milliseconds(250));
  EXPECT_LT(absl::Now() - start, absl::Seconds(3)) << "not five heartbeats of a second";
}

TEST_F(StreamTest, PeerThatPromisedNothingOrHoldsNothingHasFiveHeartbeats) {
  transport_ = NewStreamTransport({.pace = absl::Milliseconds(50)}, Clock::Real());
  MutePeer silent(/*pace_ms=*/0), idle(/*pace_ms=*/50);
  Arrival<PeerState> states;
  ChannelOptions options;
  options.dead_after = absl::Milliseconds(200);
  options.on_state = [&](const PeerState& state) { states.Set(state); };
  Arrival<Outcome> outcome;
  const auto held = Connect(silent.endpoint(), options);
  const auto free = Connect(idle.endpoint(), options);
  silent.Greet();
  idle.Greet();
  ASSERT_TRUE(states.WaitFor(2));
  held->Call(PeerHeader(), {}, Deadline(), [&](Outcome result) { outcome.Set(std::move(result)); });
  EXPECT_FALSE(states.WaitFor(3, absl::Seconds(2)));
  EXPECT_EQ(outcome.size(), 0u);
}

TEST_F(StreamTest, IdleConnectionIsKeptByHeartbeats) { ExpectKeptByHeartbeats("tcp://127.0.0.1:0"); }

TEST_F(StreamTest, StormOfConnectionsIsBoundedAndPasses) {
  RecordingHandler handler(Echo);
  ListenOptions options;
  options.max_connections = 20;
  const auto listener = Listen(handler, "tcp://127.0.0.1:0", options);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(CallAndWait(*channel).ok());
  const int before = OpenDescriptors();
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 200; ++i) peers.push_back(std::make_unique<RawPeer>(listener->endpoint()));
  EXPECT_TRUE(peers.back()->IsCut());
  EXPECT_TRUE(CallAndWait(*channel).ok());
  EXPECT_LE(OpenDescriptors(), before + 200 + 20);
  peers.clear();
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

TEST_F(StreamTest, EveryoneComesBackAfterReconnectStorms) {
  constexpr int kChannels = 100, kRestarts = 5;
  const std::string path = NewSocketPath();
  RecordingHandler handler(Echo);
  auto listener = Listen(handler, "unix://" + path);
  std::vector<std::unique_ptr<Channel>> channels;
  for (int i = 0; i < kChannels; ++i) channels.push_back(Connect(listener->endpoint()));
  int descriptors = 0;
  for (int restart = 0; restart <= kRestarts; ++restart) {
    if (restart > 0) {
      listener.reset();
      // Down for as long as their patience lasts, so that they come back at odd times.
      absl::SleepFor(absl::Milliseconds(60 * restart));
      listener = Listen(handler, "unix://" + path);
    }
    for (const auto& channel : channels) {
      const absl::Time until = absl::Now() + absl::Seconds(10);
      absl::Status status;
      while (!(status = CallAndWait(*channel).status()).ok() && absl::Now() < until) {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
        absl::SleepFor(absl::Milliseconds(5));
      }
      EXPECT_TRUE(status.ok()) << status;
    }
    if (restart == 0) descriptors = OpenDescriptors();
    EXPECT_EQ(OpenDescriptors(), descriptors) << "restart " << restart;
  }
}

TEST_F(StreamTest, PeerThatDoesNotReadItsRepliesIsCut) {
  RecordingHandler handler(
      [](PeerMessage, PeerReply reply) { reply(PeerHeader(), {Tensor::Allocate(DType::kUint8, {1 << 20})}); });
  ListenOptions options;
  options.max_reply_bytes = 4 << 20;
  const auto listener = Listen(handler, "tcp://127.0.0.1:0", options);
  const int before = OpenDescriptors();
  RawPeer peer(listener->endpoint());
  std::string calls = Hello();
  for (uint64_t i = 1; i <= 200; ++i) calls += Framed(EncodedCall(i, {}));
  peer.Send(calls);
  const absl::Time until = absl::Now() + absl::Seconds(10);
  while (OpenDescriptors() > before + 1 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(OpenDescriptors(), before + 1) << "the test's own end is left";
}

TEST_F(StreamTest, UnixSocketAnswersNobodyButItsOwnUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const std::string path = "/tmp/" + UniqueName("portico-stream-");
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler, "unix://" + path);
  // As if somebody had opened it up.
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  const sockaddr_un address = UnixAddress(path);
  const std::string hello = Hello();
  EXPECT_TRUE(RunAsAnother([&] {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return false;
    (void)!send(fd, hello.data(), hello.size(), MSG_NOSIGNAL);
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
  })) << "cut without a HELLO";
  const auto channel = Connect("unix://" + path);
  EXPECT_TRUE(CallAndWait(*channel).ok()) << "our own user";
}

TEST_F(StreamTest, UnixSocketOfAnotherUserIsNotSpokenTo) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const std::string path = "/tmp/" + UniqueName("portico-stream-");
  const sockaddr_un address = UnixAddress(path);
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // The kernel notes who calls listen(); the socket outlives that process here.
  ASSERT_TRUE(RunAsAnother([&] {
    return bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
           listen(listening, 8) == 0;
  }));
  ChannelOptions options;
  options.connect_timeout = absl::Milliseconds(200);
  const auto channel = Connect("unix://" + path, options);
  EXPECT_EQ(CallAndWait(*channel).status().code(), absl::StatusCode::kUnavailable);
  // By the next attempt the reason is known.
  absl::Status status;
  for (int i = 0; i < 100 && !absl::StrContains(status.message(), "user 65534"); ++i) {
    absl::SleepFor(absl::Milliseconds(20));
    status = CallAndWait(*channel).status();
  }
  EXPECT_THAT(std::string(status.message()), HasSubstr("got a peer of user 65534"));
  close(listening);
  std::filesystem::remove(path);
}

TEST_F(StreamTest, FileOfADeadListenerIsReplacedAndOtherFilesAreNot) {
  const std::string path = NewSocketPath();
  const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = UnixAddress(path);
  ASSERT_EQ(bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  close(dead);
  ASSERT_TRUE(std::filesystem::exists(path));
  RecordingHandler handler(Echo);
  {
    const auto listener = Listen(handler, "unix://" + path);
    const auto channel = Connect("unix://" + path);
    EXPECT_TRUE(CallAndWait(*channel).ok());
  }
  std::ofstream(path) << "precious";
  const auto refused = transport_->Listen("unix://" + path, handler, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("not a socket"));
  EXPECT_EQ(std::filesystem::file_size(path), 8u);
  std::filesystem::remove(path);
}

TEST_F(StreamTest, HostNamesAreResolved) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler, "tcp://localhost:0");
  const auto channel =
      Connect(absl::StrCat("tcp://localhost", listener->endpoint().substr(listener->endpoint().rfind(':'))));
  EXPECT_TRUE(CallAndWait(*channel).ok());
}

TEST_F(StreamTest, ChannelMayGoInsideACompletion) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  auto channel = Connect(listener->endpoint());
  Arrival<absl::Status> done;
  for (int i = 0; i < 100; ++i) {
    channel->Call(PeerHeader(), {}, Deadline::In(absl::Seconds(20), Clock::Real()), [&](Outcome outcome) {
      done.Set(outcome.status());
      if (done.size() == 50) channel.reset();
    });
  }
  ASSERT_TRUE(done.WaitFor(100));
}

TEST_F(StreamTest, TlsServesThoseOnTheListAndNobodyElse) {
  const Identity server = Identity::Make(), friendly = Identity::Make(), stranger = Identity::Make();
  RecordingHandler handler(Echo);
  ListenOptions options;
  options.security.own_public_key = server.certificate;
  options.security.own_secret_key = server.key;
  options.security.allowed_keys = {Identity::Make().certificate, friendly.certificate};
  const auto listener = Listen(handler, "tcp://127.0.0.1:0", options);
  const auto call = [&](const Identity* own, const Identity* trusted, const std::vector<Tensor>& tensors = {}) {
    ChannelOptions channel_options;
    channel_options.connect_timeout =
        own == &friendly && trusted == &server ? absl::Seconds(10) : absl::Milliseconds(300);
    if (own != nullptr) {
      channel_options.security.own_public_key = own->certificate;
      channel_options.security.own_secret_key = own->key;
    }
    if (trusted != nullptr) channel_options.security.peer_public_key = trusted->certificate;
    const auto channel = Connect(listener->endpoint(), channel_options);
    for (int i = 0; i < 20; ++i) {
      const Outcome outcome = CallAndWait(*channel, tensors);
      if (!outcome.ok()) return outcome.status();
      for (size_t t = 0; t < tensors.size(); ++t) EXPECT_TRUE(outcome->tensors.at(t).bytes() == tensors[t].bytes());
    }
    return absl::OkStatus();
  };
  const std::string noise = [] {
    std::string bytes(3 << 20, 0);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
    return bytes;
  }();
  const Tensor large = Tensor::CopyOf(DType::kUint8, {static_cast<int64_t>(noise.size())}, noise);
  EXPECT_TRUE(call(&friendly, &server).ok());
  EXPECT_TRUE(call(&friendly, &server, {large, Tensor::Of<float>({1}, {1}), large}).ok());
  EXPECT_EQ(call(&stranger, &server).code(), absl::StatusCode::kUnavailable) << "not on the list";
  EXPECT_EQ(call(nullptr, &server).code(), absl::StatusCode::kUnavailable) << "no certificate";
  EXPECT_EQ(call(&friendly, &stranger).code(), absl::StatusCode::kUnavailable) << "not the server we trust";
  EXPECT_EQ(call(nullptr, nullptr).code(), absl::StatusCode::kUnavailable) << "no TLS";
}

TEST_F(StreamTest, ListenerOffLoopbackNeedsAllOfTls) {
  const Identity server = Identity::Make();
  RecordingHandler handler(Echo);
  ListenOptions options;
  options.security.own_public_key = server.certificate;
  options.security.own_secret_key = server.key;
  EXPECT_EQ(transport_->Listen("tcp://0.0.0.0:0", handler, options).status().code(), absl::StatusCode::kInvalidArgument)
      << "no allow-list";
  options.security.allowed_keys = {"not PEM"};
  EXPECT_EQ(transport_->Listen("tcp://0.0.0.0:0", handler, options).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.security.allowed_keys = {server.certificate};
  EXPECT_TRUE(transport_->Listen("tcp://0.0.0.0:0", handler, options).ok());
}

TEST_F(StreamTest, MemoryAndSocketsStayFlatOverCallsAndReconnects) {
  RecordingHandler handler(Echo);
  const Tensor small = Tensor::Of<float>({16}, std::vector<float>(16, 1.0f));
  const Tensor large = Tensor::Allocate(DType::kUint8, {64 << 10});
  int descriptors = 0;
  int64_t resident = 0;
  const auto round = [&](int connections, int calls) {
    for (int c = 0; c < connections; ++c) {
      const auto listener = Listen(handler);
      const auto channel = Connect(listener->endpoint());
      Arrival<absl::Status> done;
      for (int i = 0; i < calls; ++i) {
        channel->Call(PeerHeader(), {i % 16 == 0 ? large : small}, Deadline::In(absl::Seconds(60), Clock::Real()),
                      [&](Outcome outcome) { done.Set(outcome.status()); });
        if (i % 256 == 255) {
          ASSERT_TRUE(done.WaitFor(256, absl::Seconds(60)));
          for (const absl::Status& status : done.Take()) ASSERT_TRUE(status.ok()) << status;
        }
      }
      ASSERT_TRUE(done.WaitFor(calls % 256, absl::Seconds(60)));
    }
  };
  round(10, 2048);
  descriptors = OpenDescriptors();
  resident = ResidentBytes();
  round(40, 2048);
  EXPECT_EQ(OpenDescriptors(), descriptors);
  if (!kSanitized) {
    EXPECT_LT(ResidentBytes(), resident + (16 << 20));
  }
}

}  // namespace
}  // namespace portico
