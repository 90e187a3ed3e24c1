// What only shared memory (`shm://`) has to do; the rest is in conformance_test.cc.

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cinttypes>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/memory.h"
#include "tests/transport/recording_handler.h"
#include "tests/transport/stream_fixture.h"
#include "tests/transport/transports_under_test.h"
#include "transport/hello.h"
#include "transport/shm_offer.h"
#include "transport/stream_frame.h"
#include "transport/stream_lender.h"
#include "transport/transport.h"

namespace portico {
namespace {

using Outcome = absl::StatusOr<PeerMessage>;

constexpr char kPeerEndpoint[] = "PORTICO_TEST_SHM_PEER";

void Echo(PeerMessage call, PeerReply reply) { reply(PeerHeader(), call.tensors); }

/// Mappings of a connection's memory in this process that hold `at`; of all where that is null.
int ShmMappings(const void* at = nullptr) {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t from = 0, to = 0;
    if (!absl::StrContains(line, "portico-shm")) continue;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2) continue;
    const auto address = reinterpret_cast<uintptr_t>(at);
    if (at == nullptr || (from <= address && address < to)) ++count;
  }
  return count;
}

bool Eventually(const std::function<bool()>& holds, absl::Duration within = absl::Seconds(10)) {
  for (const absl::Time until = absl::Now() + within; !holds();) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

Tensor LargeTensor(int64_t bytes = 64 << 10) {
  Tensor tensor = Tensor::Allocate(DType::kFloat, {bytes / 4});
  auto* values = reinterpret_cast<float*>(tensor.mutable_bytes());
  for (int64_t i = 0; i < bytes / 4; ++i) values[i] = static_cast<float>(i);
  return tensor;
}

/// A test of this binary, in a process of its own until the end of the scope.
class PeerProcess {
 public:
  PeerProcess(const char* test, const std::string& endpoint) {
    setenv(kPeerEndpoint, endpoint.c_str(), 1);
    const std::string filter = absl::StrCat("--gtest_filter=", test);
    std::string all = "--gtest_also_run_disabled_tests", brief = "--gtest_brief=1", name = "peer";
    std::string own = filter;
    char* arguments[] = {name.data(), own.data(), all.data(), brief.data(), nullptr};
    pid_ = fork();
    if (pid_ == 0) {
      execv("/proc/self/exe", arguments);
      _exit(1);
    }
  }
  ~PeerProcess() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

std::string PeerEndpoint() {
  const char* const endpoint = std::getenv(kPeerEndpoint);
  return endpoint == nullptr ? "" : endpoint;
}

TEST(ShmPeerProcess, DISABLED_Serves) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  RecordingHandler handler(Echo);
  const auto transport = NewStreamTransport({}, Clock::Real());
  const auto listener = transport->Listen(PeerEndpoint(), handler, {});
  ASSERT_TRUE(listener.ok()) << listener.status();
  for (;;) pause();
}

TEST(ShmPeerProcess, DISABLED_Calls) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto transport = NewStreamTransport({}, Clock::Real());
  const auto channel = *transport->Connect(PeerEndpoint(), {});
  const Tensor tensor = LargeTensor();
  std::function<void()> call = [&] { channel->Call(PeerHeader(), {tensor}, Deadline(), [&](Outcome) { call(); }); };
  for (int i = 0; i < 16; ++i) call();
  for (;;) pause();
}

class ShmTest : public StreamFixture {
 protected:
  std::string NewEndpoint() { return "shm://" + NewSocketPath(); }
  std::unique_ptr<Listener> Listen(CallHandler& handler, ListenOptions options = {}) {
    return ListenAt(NewEndpoint(), handler, std::move(options));
  }
};

TEST_F(ShmTest, LargeTensorsAreViewsOfTheSharedMemory) {
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  Arrival<Outcome> outcome;
  const Tensor sent = LargeTensor();
  channel->Call(PeerHeader(), {sent, Tensor::Of<float>({1}, {1}), sent}, Deadline(),
                [&](Outcome result) { outcome.Set(std::move(result)); });
  ASSERT_TRUE(handler.held.WaitFor(1));
  auto held = handler.held.Take();
  for (const size_t i : {size_t{0}, size_t{2}}) {
    const Tensor& got = held[0].call.tensors.at(i);
    EXPECT_EQ(got.bytes(), sent.bytes());
    EXPECT_TRUE(got.aligned());
    EXPECT_EQ(ShmMappings(got.bytes().data()), 1);
  }
  std::move(held[0].reply)(PeerHeader(), held[0].call.tensors);
  ASSERT_TRUE(outcome.WaitFor(1));
  const auto results = outcome.Take();
  ASSERT_TRUE(results[0].ok()) << results[0].status();
  EXPECT_EQ(results[0]->tensors.at(2).bytes(), sent.bytes());
  EXPECT_EQ(ShmMappings(results[0]->tensors.at(2).bytes().data()), 1);
}

TEST_F(ShmTest, FullArenaOnlyCostsACopy) {
  transport_ = NewStreamTransport({.heartbeat = absl::Milliseconds(200), .shm_arena_bytes = 256 << 10}, Clock::Real());
  RecordingHandler handler;
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  // More at once than the arena holds, and one that could never fit; all held, so that nothing is given back.
  std::vector<Tensor> sent;
  for (int i = 0; i < 20; ++i) sent.push_back(LargeTensor(i == 7 ? 3 << 20 : 40'000));
  Arrival<Outcome> outcomes;
  for (int i = 0; i < 3; ++i) {
    channel->Call(PeerHeader(), sent, Deadline(), [&](Outcome outcome) { outcomes.Set(std::move(outcome)); });
  }
  ASSERT_TRUE(handler.held.WaitFor(3));
  for (auto& held : handler.held.Take()) held.reply(PeerHeader(), held.call.tensors);
  ASSERT_TRUE(outcomes.WaitFor(3));
  for (const Outcome& outcome : outcomes.Take()) {
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ASSERT_EQ(outcome->tensors.size(), sent.size());
    for (size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(outcome->tensors[i].bytes() == sent[i].bytes()) << i;
  }
}

TEST_F(ShmTest, WithoutAnArenaAllGoesThroughTheRing) {
  transport_ = NewStreamTransport({.shm_arena_bytes = 0}, Clock::Real());
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const Tensor sent = LargeTensor(1'000'004);
  const Outcome outcome = CallAndWait(*channel, {sent, Tensor::Of<float>({3}, {1, 2, 3}), sent});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_TRUE(outcome->tensors.at(0).bytes() == sent.bytes());
  EXPECT_TRUE(outcome->tensors.at(2).bytes() == sent.bytes());
}

TEST_F(ShmTest, ThreadsThatSpinMissNothing) {
  transport_ = NewStreamTransport({.loops = 2, .spin = absl::Microseconds(50)}, Clock::Real());
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const Tensor sent = LargeTensor(8'000);
  for (int i = 0; i < 2'000; ++i) {
    if (i % 100 == 0) absl::SleepFor(absl::Microseconds(i % 7 * 30));
    const Outcome outcome = CallAndWait(*channel, {sent});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ASSERT_TRUE(outcome->tensors.at(0).bytes() == sent.bytes());
  }
}

TEST_F(ShmTest, IdleConnectionIsKeptByHeartbeats) { ExpectKeptByHeartbeats(NewEndpoint()); }

// --- A peer that is killed ---

TEST_F(ShmTest, KilledServerLeaksNothingAndWhatItSentStays) {
  int descriptors = 0;
  for (int round = 0; round < 4; ++round) {
    const std::string endpoint = NewEndpoint();
    std::vector<Tensor> kept;
    const Tensor sent = LargeTensor();
    {
      PeerProcess server("ShmPeerProcess.DISABLED_Serves", endpoint);
      Arrival<PeerState> states;
      ChannelOptions options;
      options.connect_timeout = absl::Seconds(20);
      options.on_state = [&](const PeerState& state) { states.Set(state); };
      const auto channel = Connect(endpoint, options);
      std::atomic<bool> stop{false};
      Arrival<Outcome> answers;
      Arrival<absl::Status> ends;
      std::function<void()> call = [&] {
        channel->Call(PeerHeader(), {sent}, Deadline(), [&](Outcome outcome) {
          const absl::Status status = outcome.status();
          if (status.ok() && answers.size() < 50) answers.Set(std::move(outcome));
          if (status.ok() && !stop.load()) return call();
          ends.Set(status);
        });
      };
      for (int i = 0; i < 16; ++i) call();
      ASSERT_TRUE(answers.WaitFor(50, absl::Seconds(30)));
      server.Kill();
      ASSERT_TRUE(ends.WaitFor(16));
      for (const absl::Status& status : ends.Take()) EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
      ASSERT_TRUE(states.WaitFor(2));
      for (Outcome& outcome : answers.Take()) kept.push_back(outcome->tensors.at(0));
      EXPECT_EQ(ShmMappings(), 1) << "held by what was received";
    }
    for (const Tensor& tensor : kept) EXPECT_TRUE(tensor.bytes() == sent.bytes());
    kept.clear();
    EXPECT_TRUE(Eventually([] { return ShmMappings() == 0; })) << ShmMappings();
    if (round == 0) descriptors = OpenDescriptors();
    EXPECT_TRUE(Eventually([&] { return OpenDescriptors() == descriptors; })) << OpenDescriptors();
    unlink(endpoint.substr(6).c_str());
  }
}

TEST_F(ShmTest, KilledCallersLeakNothingAndTheirCallsAreCancelled) {
  Mutex mutex;
  std::vector<Tensor> kept;
  std::vector<PeerReply> owed;
  RecordingHandler handler([&](PeerMessage call, PeerReply reply) {
    {
      MutexLock lock(&mutex);
      if (kept.size() < 100) kept.push_back(call.tensors.at(0));
      if (kept.size() > 90 && owed.size() < 5) return owed.push_back(std::move(reply));
    }
    reply(PeerHeader(), call.tensors);
  });
  const auto listener = Listen(handler);
  const auto other = Connect(listener->endpoint());
  const Tensor sent = LargeTensor();
  ASSERT_TRUE(CallAndWait(*other, {sent}).ok());
  {
    MutexLock lock(&mutex);
    kept.clear();
  }
  const int mappings = ShmMappings(), descriptors = OpenDescriptors();
  EXPECT_EQ(mappings, 2) << "both ends of one connection";
  for (int round = 0; round < 4; ++round) {
    PeerProcess caller("ShmPeerProcess.DISABLED_Calls", listener->endpoint());
    ASSERT_TRUE(Eventually(
        [&] {
          MutexLock lock(&mutex);
          return kept.size() == 100 && owed.size() == 5;
        },
        absl::Seconds(30)));
    caller.Kill();
    EXPECT_TRUE(handler.cancelled.WaitFor(5)) << "those that are owed";
    handler.cancelled.Take();
    EXPECT_TRUE(Eventually([&] { return OpenDescriptors() == descriptors; })) << OpenDescriptors();
    EXPECT_EQ(ShmMappings(), mappings + 1) << "held by what was received";
    std::vector<Tensor> received;
    std::vector<PeerReply> late;
    {
      MutexLock lock(&mutex);
      received.swap(kept);
      late.swap(owed);
    }
    for (const Tensor& tensor : received) EXPECT_TRUE(tensor.bytes() == sent.bytes());
    for (PeerReply& reply : late) reply(PeerHeader(), received);
    received.clear();
    late.clear();
    EXPECT_TRUE(Eventually([&] { return ShmMappings() == mappings; })) << ShmMappings();
    EXPECT_TRUE(CallAndWait(*other, {sent}).ok()) << "the others go on";
    MutexLock lock(&mutex);
    kept.clear();
  }
}

// --- A peer that writes rubbish ---

std::string Framed(absl::string_view header) {
  StreamQueue queue;
  queue.Append(header, {});
  const StreamQueue::Front front = queue.front();
  return {front.at, front.size};
}

std::string Hello() { return Framed(HelloHeader({.incarnation = 9, .node = "raw"})); }

/// A call of one large tensor that lies at `loan`.
std::string FramedCall(DType dtype, int64_t elements, uint64_t bytes, const StreamLoan& loan) {
  std::vector<Tensor> tensors;
  if (dtype == DType::kString) {
    std::vector<std::string> values(static_cast<size_t>(elements));
    values[0] = std::string(bytes - static_cast<uint64_t>(elements + 1) * 8, 's');
    tensors = {Tensor::OfStrings({elements}, values)};
  } else {
    tensors = {Tensor::CopyOf(dtype, {elements}, std::string(bytes, '\0'))};
  }
  std::string header;
  EncodeHeader(PeerHeader(), {PeerHeader::Kind::kCall, 1, 0, tensors}, &header);
  std::string framed = Framed(header);
  StreamPrefix{static_cast<uint32_t>(header.size()), 0, 1}.Store(framed.data());
  char place[StreamLoan::kBytes];
  loan.Store(place);
  return framed + std::string(place, sizeof(place));
}

int ConnectTo(const std::string& endpoint) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, endpoint.substr(6).c_str());
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

/// A caller that writes into the shared memory what the test wants.
class RawShmPeer {
 public:
  explicit RawShmPeer(const std::string& endpoint) : fd_(ConnectTo(endpoint)) {
    EXPECT_TRUE(Eventually([this] {
      auto offered = ReceiveShmOffer(fd_);
      EXPECT_TRUE(offered.ok()) << offered.status();
      if (!offered.ok() || !*offered) return !offered.ok();
      region_ = **offered;
      return true;
    }));
    out_.emplace(*region_->to_server().words, region_->to_server().ring, region_->sizes().ring_bytes);
  }
  ~RawShmPeer() { close(fd_); }

  void Send(absl::string_view bytes) {
    out_->Write(bytes.data(), bytes.size());
    out_->Publish();
    Ring();
  }
  void Ring() { (void)!send(fd_, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); }
  ShmRegion::Half to_server() { return region_->to_server(); }
  ShmRegion::Half to_client() { return region_->to_client(); }
  const ShmSizes& sizes() { return region_->sizes(); }
  bool IsCut(absl::Duration within = absl::Seconds(30)) {
    return Eventually(
        [this] {
          char buffer[256];
          const ssize_t got = recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
          return got == 0 || (got < 0 && errno != EAGAIN);
        },
        within);
  }

 private:
  const int fd_;
  Ref<ShmRegion> region_;
  std::optional<ShmRingWriter> out_;
};

TEST_F(ShmTest, RubbishInTheRingIsCutAndOthersGoOn) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  ASSERT_TRUE(CallAndWait(*channel, {LargeTensor()}).ok());
  const std::vector<std::pair<const char*, std::function<void(RawShmPeer&)>>> rubbish = {
      {"no magic", [](RawShmPeer& peer) { peer.Send("GET / HTTP/1.1\r\n\r\n"); }},
      {"not protobuf", [](RawShmPeer& peer) { peer.Send(Hello() + Framed("not protobuf\xff\xff")); }},
      {"a call before HELLO",
       [](RawShmPeer& peer) {
         peer.Send(FramedCall(DType::kFloat, 2000, 8000, {0, 0, 1}));
       }},
      {"more than the ring holds",
       [](RawShmPeer& peer) {
         peer.to_server().words->written = peer.sizes().ring_bytes + 1;
         peer.Ring();
       }},
      {"fewer than before",
       [](RawShmPeer& peer) {
         peer.Send(Hello());
         ASSERT_TRUE(Eventually([&] { return peer.to_server().words->read != 0; }));
         peer.to_server().words->written = 1;
         peer.Ring();
       }},
      {"read more than was written",
       [](RawShmPeer& peer) {
         peer.to_client().words->read = 1 << 20;
         peer.Send(Hello());
       }},
      {"a tensor behind the arena",
       [](RawShmPeer& peer) {
         peer.Send(Hello() + FramedCall(DType::kFloat, 2000, 8000, {peer.sizes().arena_bytes - 64, 0, 1}));
       }},
      {"a lease that there is not",
       [](RawShmPeer& peer) {
         peer.Send(Hello() + FramedCall(DType::kFloat, 2000, 8000, {0, kShmLeases, 1}));
       }},
      {"strings that end elsewhere",
       [](RawShmPeer& peer) {
         std::memset(peer.to_server().arena, 0x70, 8008);
         peer.Send(Hello() + FramedCall(DType::kString, 100, 8008, {0, 0, 1}));
       }},
  };
  for (const auto& [name, write] : rubbish) {
    RawShmPeer peer(listener->endpoint());
    write(peer);
    EXPECT_TRUE(peer.IsCut()) << name;
    EXPECT_TRUE(CallAndWait(*channel, {LargeTensor()}).ok()) << name;
  }
}

TEST_F(ShmTest, MemoryThatChangesAllTheTimeHarmsNobodyElse) {
  RecordingHandler handler(Echo);
  const auto listener = Listen(handler);
  const auto channel = Connect(listener->endpoint());
  const Tensor sent = LargeTensor();
  std::mt19937 random(11);
  const std::string call = FramedCall(DType::kString, 100, 6000, {64, 3, 1});
  for (int round = 0; round < 40; ++round) {
    RawShmPeer peer(listener->endpoint());
    peer.Send(Hello());
    for (int i = 0; i < 30; ++i) peer.Send(call);
    for (int i = 0; i < 2'000; ++i) {
      const ShmRegion::Half half = random() % 4 == 0 ? peer.to_client() : peer.to_server();
      switch (random() % 5) {
        case 0:
          half.words->written = random() % 2 == 0 ? random() % 8192 : random();
          break;
        case 1:
          half.words->read = random() % 8192;
          break;
        case 2:
          half.words->reader_sleeps = random();
          half.given_back[random() % kShmLeases] = random();
          break;
        case 3:
          half.ring[random() % 8192] = static_cast<char>(random());
          break;
        default:
          half.arena[random() % 8192] = static_cast<char>(random());
      }
      if (i % 100 == 0) peer.Ring();
    }
    const Outcome outcome = CallAndWait(*channel, {sent});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ASSERT_TRUE(outcome->tensors.at(0).bytes() == sent.bytes());
  }
}

TEST_F(ShmTest, OffersThatAreNoneAreRefusedAndLeakNothing) {
  const std::string endpoint = NewEndpoint();
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, endpoint.substr(6).c_str());
  ASSERT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listening, 8), 0);
  const ShmSizes sizes{.ring_bytes = 4096, .arena_bytes = 4096};
  ShmSizes larger = sizes, odd = sizes;
  larger.arena_bytes = 1 << 20;
  odd.ring_bytes = 12345;
  const int descriptors = OpenDescriptors();
  const auto offer = [&](const std::function<void(int)>& say) {
    const auto channel = Connect(endpoint);
    pollfd state{.fd = listening, .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&state, 1, 10'000), 1);
    const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    say(fd);
    // It hangs up, and comes again.
    char byte;
    EXPECT_EQ(recv(fd, &byte, 1, 0), 0);
    close(fd);
  };
  const auto good = [&] {
    int memory = -1;
    EXPECT_TRUE(ShmRegion::Create(sizes, &memory).ok());
    return memory;
  };
  const auto pass = [&](int fd, const ShmSizes& said, int memory) {
    EXPECT_TRUE(SendShmOffer(fd, said, memory).ok());
    close(memory);
  };
  offer([&](int fd) { EXPECT_EQ(send(fd, "nonsense", 8, 0), 8); });
  offer([&](int fd) { EXPECT_EQ(send(fd, std::string(24, '\0').data(), 24, 0), 24); });
  offer([&](int fd) { pass(fd, larger, good()); });
  offer([&](int fd) { pass(fd, odd, good()); });
  offer([&](int fd) {
    const int memory = memfd_create("portico-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT_EQ(ftruncate(memory, 1 << 20), 0);
    pass(fd, sizes, memory);
  });
  offer([&](int fd) { pass(fd, sizes, socket(AF_UNIX, SOCK_STREAM, 0)); });
  EXPECT_TRUE(Eventually([] { return ShmMappings() == 0; }));
  // Attempts of the last channel may still wait to be accepted; their own ends are closed.
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() == descriptors; })) << OpenDescriptors() - descriptors;
  close(listening);
  unlink(address.sun_path);
}

}  // namespace
}  // namespace portico
