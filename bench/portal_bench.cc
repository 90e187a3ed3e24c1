// A call through a portal's transport beside a plain ROUTER/DEALER echo of the very same frames. Client and server are
// two processes; both servers live in one child process, of which only one works at a time.

#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/allocator.h"
#include "base/check.h"
#include "base/mutex.h"
#include "bench/scenarios.h"
#include "bench/server_process.h"
#include "transport/transport.h"
#include "transport/zmq_pack.h"

namespace portico::bench {
namespace {

using Clock_ = std::chrono::steady_clock;

constexpr int kRounds = 7;
constexpr double kRoundSeconds = 0.35;
constexpr double kWarmUpSeconds = 0.05;

double SecondsSince(Clock_::time_point start) { return std::chrono::duration<double>(Clock_::now() - start).count(); }

double CpuSecondsOf(clockid_t clock) {
  timespec time{};
  PORTICO_CHECK(clock_gettime(clock, &time) == 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// What one round measured.
struct Sample {
  double p50_us = 0;
  double calls_per_s = 0;
  double cpu_us = 0;
};

// --- The child: both servers ---

class EchoHandler final : public CallHandler {
 public:
  void OnCall(PeerMessage call, PeerReply reply) override { reply(PeerHeader(), call.tensors); }
};

/// Sends every frame back as it came.
void EchoRaw(void* router) {
  for (;;) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, router, 0) < 0) return;
    const int more = zmq_msg_more(&frame) != 0 ? ZMQ_SNDMORE : 0;
    if (zmq_msg_send(&frame, router, more) < 0) zmq_msg_close(&frame);
  }
}

/// Says the two endpoints on `out`, then serves until `in` is closed.
[[noreturn]] void ServeBoth(const std::string& endpoint, const std::string& raw_address,
                            const TransportsOptions& transports, int in, int out) {
  void* context = zmq_ctx_new();
  void* router = zmq_socket(context, ZMQ_ROUTER);
  const int unlimited = 0;
  zmq_setsockopt(router, ZMQ_SNDHWM, &unlimited, sizeof(unlimited));
  PORTICO_CHECK(zmq_bind(router, raw_address.c_str()) == 0);
  char raw[256] = {};
  size_t size = sizeof(raw);
  zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, raw, &size);

  EchoHandler handler;
  const auto transport = NewTransports(transports, Clock::Real());
  ListenOptions options;
  options.self.incarnation = 1;
  options.self.node = "bench";
  const auto listener = transport->Listen(endpoint, handler, options);
  PORTICO_CHECK(listener.ok());
  const std::string both = absl::StrCat(raw, "\n", (*listener)->endpoint(), "\n");
  PORTICO_CHECK(write(out, both.data(), both.size()) == static_cast<ssize_t>(both.size()));
  std::thread([router] { EchoRaw(router); }).detach();
  ServerProcess::EndWith(in);
}

/// A scheme and ZeroMQ's own transport to hold against it.
struct Route {
  const char* scenario;
  const char* help;
  /// Where to listen; `*` stands for a path of this process's own.
  const char* endpoint;
  const char* raw_address;
  /// Aims on the ratio to the raw echo: time of one call of 64 B, calls/s of 64 in flight.
  double latency_at_most;
  double calls_at_least;
  /// How long threads of native sockets look for more before they sleep.
  absl::Duration spin = absl::ZeroDuration();
  /// Aim on the time of one call of 64 B itself, in place of that on its ratio; 0: none.
  double latency_us_at_most = 0;

  TransportsOptions Options() const {
    TransportsOptions options;
    options.stream.spin = spin;
    return options;
  }
};

/// Runs the servers in a process of its own; ends it when destroyed.
class EchoServers {
 public:
  explicit EchoServers(const Route& route) : transports(route.Options()) {
    const std::string path = std::filesystem::temp_directory_path() / absl::StrCat("portico-bench-", getpid());
    const auto own = [this](const char* address, const std::string& path) {
      std::string text = address;
      if (!absl::EndsWith(text, "//*")) return text;
      text.pop_back();
      paths_.push_back(path);
      return text + path;
    };
    const std::string endpoint = own(route.endpoint, path);
    const std::string raw_address = own(route.raw_address, path + "-raw");
    process_.emplace([&](int stop, int out) { ServeBoth(endpoint, raw_address, transports, stop, out); });
    raw_endpoint = process_->first();
    portal_endpoint = process_->second();
    PORTICO_CHECK(clock_getcpuclockid(process_->pid(), &cpu_clock_) == 0);
  }
  ~EchoServers() {
    process_.reset();
    for (const std::string& path : paths_) unlink(path.c_str());
  }

  /// CPU time of both processes so far.
  double CpuSeconds() const { return CpuSecondsOf(cpu_clock_) + CpuSecondsOf(CLOCK_PROCESS_CPUTIME_ID); }

  /// Of both ends.
  const TransportsOptions transports;
  std::string raw_endpoint, portal_endpoint;

 private:
  std::optional<ServerProcess> process_;
  clockid_t cpu_clock_;
  std::vector<std::string> paths_;
};

// --- The client ---

/// One kind of call: the header and payload of a portal's call.
struct Load {
  std::string servable = "hub/encoder";
  std::string digest = std::string(32, '\x42');
  std::string signature = "serving_default";
  std::string product = "digit";
  Tensor payload;

  explicit Load(int64_t bytes) : payload(Tensor::CopyOf(DType::kUint8, {bytes}, std::string(bytes, 'x'))) {}

  PeerHeader Header() const {
    PeerHeader header;
    header.servable = servable;
    header.digest = digest;
    header.signature = signature;
    header.product = product;
    header.revision = 7;
    header.hop = 1;
    header.trace_id_high = 0x1234567890abcdef;
    header.trace_id_low = 0xfedcba0987654321;
    header.tensors.resize(1);
    header.tensors[0].name = "images";
    return header;
  }
};

Sample MakeSample(std::vector<double>& latencies_us, uint64_t calls, double seconds, double cpu_seconds) {
  return {latencies_us.empty() ? 0 : Median(latencies_us), static_cast<double>(calls) / seconds,
          cpu_seconds * 1e6 / static_cast<double>(calls)};
}

/// The frames that the transport would send for one call, sent and received with nothing around them.
class RawClient {
 public:
  RawClient(const EchoServers& server, const Load& load) : server_(server), context_(zmq_ctx_new()) {
    std::string header;
    EncodeHeader(load.Header(), {PeerHeader::Kind::kCall, 1, 100'000, absl::MakeConstSpan(&load.payload, 1)}, &header);
    pack_.Append(header, absl::MakeConstSpan(&load.payload, 1));
    dealer_ = zmq_socket(context_, ZMQ_DEALER);
    const int none = 0;
    zmq_setsockopt(dealer_, ZMQ_SNDHWM, &none, sizeof(none));
    zmq_setsockopt(dealer_, ZMQ_LINGER, &none, sizeof(none));
    PORTICO_CHECK(zmq_connect(dealer_, server.raw_endpoint.c_str()) == 0);
  }
  ~RawClient() {
    zmq_close(dealer_);
    zmq_ctx_term(context_);
  }

  Sample Run(int in_flight, double seconds) {
    std::vector<double> latencies;
    uint64_t calls = 0;
    for (int i = 0; i < in_flight; ++i) Send();
    const double cpu = server_.CpuSeconds();
    const auto start = Clock_::now();
    auto sent = start;
    auto now = start;
    do {
      Receive();
      ++calls;
      now = Clock_::now();
      if (in_flight == 1) latencies.push_back(std::chrono::duration<double, std::micro>(now - sent).count());
      sent = now;
      Send();
    } while (now - start < std::chrono::duration<double>(seconds));
    const double took = SecondsSince(start);
    const double cpu_used = server_.CpuSeconds() - cpu;
    for (int i = 0; i < in_flight; ++i) Receive();
    return MakeSample(latencies, calls, took, cpu_used);
  }

 private:
  void Send() {
    const int more = pack_.frames.empty() ? 0 : ZMQ_SNDMORE;
    PORTICO_CHECK(zmq_send(dealer_, pack_.head.data(), pack_.head.size(), more) >= 0);
    if (more == 0) return;
    const absl::string_view bytes = pack_.frames[0].bytes();
    zmq_msg_t frame;
    zmq_msg_init_data(
        &frame, const_cast<char*>(bytes.data()), bytes.size(), [](void*, void*) {}, nullptr);
    PORTICO_CHECK(zmq_msg_send(&frame, dealer_, 0) >= 0);
  }
  void Receive() {
    int more = 1;
    while (more != 0) {
      zmq_msg_t frame;
      zmq_msg_init(&frame);
      PORTICO_CHECK(zmq_msg_recv(&frame, dealer_, 0) >= 0);
      more = zmq_msg_more(&frame);
      zmq_msg_close(&frame);
    }
  }

  const EchoServers& server_;
  void* const context_;
  void* dealer_;
  Pack pack_;
};

/// Calls through the transport; every answer starts the next call from the callback, as a portal's continuation would.
class PortalClient {
 public:
  PortalClient(const EchoServers& server, const Load& load) : server_(server), load_(load), header_(load.Header()) {
    auto channel = transport_->Connect(server.portal_endpoint, {});
    PORTICO_CHECK(channel.ok());
    channel_ = *std::move(channel);
  }

  Sample Run(int in_flight, double seconds) {
    latencies_.clear();
    calls_ = 0;
    record_ = in_flight == 1;
    stop_.store(false);
    {
      MutexLock lock(&mutex_);
      running_ = in_flight;
    }
    const double cpu = server_.CpuSeconds();
    const auto start = Clock_::now();
    for (int i = 0; i < in_flight; ++i) Start();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double took = SecondsSince(start);
    stop_.store(true);
    MutexLock lock(&mutex_);
    while (running_ > 0) idle_.Wait(&mutex_);
    return MakeSample(latencies_, calls_, took, server_.CpuSeconds() - cpu);
  }

  /// One in flight, and a thread that waits for each answer: what a caller pays who blocks.
  Sample RunWaiting(double seconds) {
    std::vector<double> latencies;
    const double cpu = server_.CpuSeconds();
    const auto start = Clock_::now();
    while (SecondsSince(start) < seconds) {
      const auto sent = Clock_::now();
      bool done = false;
      channel_->Call(header_, absl::MakeConstSpan(&load_.payload, 1), Deadline::In(absl::Seconds(5), Clock::Real()),
                     [this, &done](absl::StatusOr<PeerMessage> outcome) {
                       PORTICO_CHECK(outcome.ok());
                       MutexLock lock(&mutex_);
                       done = true;
                       idle_.NotifyAll();
                     });
      {
        MutexLock lock(&mutex_);
        while (!done) idle_.Wait(&mutex_);
      }
      latencies.push_back(SecondsSince(sent) * 1e6);
    }
    return MakeSample(latencies, latencies.size(), SecondsSince(start), server_.CpuSeconds() - cpu);
  }

 private:
  void Start() {
    if (record_) sent_ = Clock_::now();
    channel_->Call(header_, absl::MakeConstSpan(&load_.payload, 1), Deadline::In(absl::Seconds(5), Clock::Real()),
                   [this](absl::StatusOr<PeerMessage> outcome) { OnAnswer(std::move(outcome)); });
  }
  void OnAnswer(absl::StatusOr<PeerMessage> outcome) {
    PORTICO_CHECK(outcome.ok() && outcome->tensors.size() == 1);
    if (record_) latencies_.push_back(SecondsSince(sent_) * 1e6);
    if (!stop_.load(std::memory_order_relaxed)) {
      calls_.fetch_add(1, std::memory_order_relaxed);
      return Start();
    }
    MutexLock lock(&mutex_);
    if (--running_ == 0) idle_.NotifyAll();
  }

  const EchoServers& server_;
  const Load& load_;
  const PeerHeader header_;
  // Only on the transport's one reactor while calls run.
  std::vector<double> latencies_;
  std::atomic<uint64_t> calls_{0};
  bool record_ = false;
  Clock_::time_point sent_;
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  CondVar idle_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  const std::unique_ptr<Transport> transport_ = NewTransports(server_.transports, Clock::Real());
  std::unique_ptr<Channel> channel_;
};

// --- Figures ---

struct Case {
  const char* size;
  int64_t bytes;
  int in_flight;
  /// Aims on the ratio to the raw echo; 0: none.
  double latency_at_most = 0;
  double calls_at_least = 0;
  /// Aim on the CPU of a call, both ends; 0: none.
  double cpu_us_at_most = 0;
  /// The aim on latency is in µs, and not on the ratio.
  bool latency_in_us = false;
};

/// Medians over the rounds; the ratio is the median of the rounds' ratios, for single rounds vary together.
Figure Compare(std::string name, std::string unit, const std::vector<Sample>& portal, const std::vector<Sample>& raw,
               double Sample::*of) {
  std::vector<double> values, baselines, ratios;
  for (size_t i = 0; i < portal.size(); ++i) {
    values.push_back(portal[i].*of);
    baselines.push_back(raw[i].*of);
    ratios.push_back(values.back() / baselines.back());
  }
  Figure figure;
  figure.name = std::move(name);
  figure.unit = std::move(unit);
  figure.value = Median(values);
  figure.baseline = Median(baselines);
  figure.ratio = Median(ratios);
  return figure;
}

void RunCase(const EchoServers& server, const Route& route, const Case& c, Report& report) {
  const Load load(c.bytes);
  RawClient raw_client(server, load);
  PortalClient portal_client(server, load);
  std::vector<Sample> raw, portal, waiting;
  raw_client.Run(c.in_flight, kWarmUpSeconds);
  portal_client.Run(c.in_flight, kWarmUpSeconds);
  for (int round = 0; round < kRounds; ++round) {
    raw.push_back(raw_client.Run(c.in_flight, kRoundSeconds));
    portal.push_back(portal_client.Run(c.in_flight, kRoundSeconds));
    if (c.in_flight == 1) waiting.push_back(portal_client.RunWaiting(kRoundSeconds));
  }
  const std::string name = absl::StrCat(route.scenario, ".", c.size, ".", c.in_flight);
  if (c.in_flight == 1) {
    Figure latency = Compare(name + ".p50_us", "us", portal, raw, &Sample::p50_us);
    latency.at_most = c.latency_at_most;
    latency.aim_on_ratio = !c.latency_in_us;
    report.Add(std::move(latency));
    report.Add(Compare(name + ".blocking_p50_us", "us", waiting, raw, &Sample::p50_us));
    return;
  }
  Figure rate = Compare(name + ".calls_per_s", "calls/s", portal, raw, &Sample::calls_per_s);
  rate.at_least = c.calls_at_least;
  report.Add(std::move(rate));
  Figure cpu = Compare(name + ".cpu_us", "us/call", portal, raw, &Sample::cpu_us);
  cpu.at_most = c.cpu_us_at_most;
  cpu.aim_on_ratio = false;
  report.Add(std::move(cpu));
}

void RunAll(const Route& route, Report& report) {
  TuneAllocator();
  // Forks, so no thread may run yet.
  const EchoServers server(route);
  const bool in_us = route.latency_us_at_most != 0;
  for (const Case& c : {Case{"64B", 64, 1, in_us ? route.latency_us_at_most : route.latency_at_most, 0, 0, in_us},
                        Case{"64B", 64, 64, 0, route.calls_at_least, 6},
                        Case{"64KiB", 64 << 10, 1, route.latency_at_most, 0, 0}, Case{"64KiB", 64 << 10, 64, 0, 0.7, 0},
                        Case{"1MiB", 1 << 20, 1, 0, 0, 0}, Case{"1MiB", 1 << 20, 64, 0, 0, 0}}) {
    RunCase(server, route, c, report);
  }
}

constexpr Route kRoutes[] = {
    {"portal.zmq.tcp", "a call over zmq+tcp:// beside a ROUTER/DEALER echo of the same frames, two processes",
     "zmq+tcp://127.0.0.1:0", "tcp://127.0.0.1:*", 1.75, 0.55},
    {"portal.zmq.ipc", "the same over zmq+ipc://", "zmq+ipc://*", "ipc://*", 1.75, 0.55},
    {"portal.tcp", "a call over tcp:// beside the same echo over ZeroMQ's tcp", "tcp://127.0.0.1:0",
     "tcp://127.0.0.1:*", 1.0, 0.85},
    {"portal.unix", "a call over unix:// beside the same echo over ZeroMQ's ipc", "unix://*", "ipc://*", 0.9, 1.1},
    {"portal.unix.spin", "the same over unix:// whose threads look for more for 50 µs before they sleep", "unix://*",
     "ipc://*", 0.9, 0, absl::Microseconds(50), 10},
    {"portal.shm", "a call over shm:// beside the same echo over ZeroMQ's ipc", "shm://*", "ipc://*", 0.7, 1.8},
    {"portal.shm.spin", "the same over shm:// where both sides spin for 50 us before they sleep", "shm://*", "ipc://*",
     0.7, 0, absl::Microseconds(50), 10},
    {"portal.grpc", "a call over grpc:// beside the same echo over ZeroMQ's tcp", "grpc://127.0.0.1:0",
     "tcp://127.0.0.1:*", 0, 0},
};

}  // namespace

std::vector<Scenario> PortalScenarios() {
  std::vector<Scenario> scenarios;
  for (const Route& route : kRoutes) {
    scenarios.push_back({route.scenario, route.help, [&route](Report& report) { RunAll(route, report); }});
  }
  return scenarios;
}

}  // namespace portico::bench
