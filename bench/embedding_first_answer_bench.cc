// How soon a large shard that starts gives its first answer: a node in this process, and a process `portico serve`.
//
// PORTICO_BENCH_SHARD_GB: size of the shard (default 1).

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "bench/scenarios.h"
#include "bench/table_mesh.h"
#include "embedding/lookup_call.h"
#include "embedding/shard_map.h"

namespace portico::bench {
namespace {

/// Asks the shard's node directly, as a portal would, until it answers.
class FirstAnswer {
 public:
  FirstAnswer(std::string socket, std::string servable) : socket_(std::move(socket)), servable_(std::move(servable)) {}

  void Await(size_t row) {
    while (!Listens()) usleep(100);
    auto channel = transport_->Connect("unix://" + socket_, {});
    PORTICO_CHECK(channel.ok());
    while (!Ask(**channel, row)) usleep(200);
  }

 private:
  bool Listens() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    PORTICO_CHECK(socket_.size() < sizeof(address.sun_path));
    std::memcpy(address.sun_path, socket_.data(), socket_.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool there = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    return there;
  }
  bool Ask(Channel& channel, size_t row) const {
    const std::array<std::string, 1> tables = {kWireTable};
    const std::array<Tensor, LookupCall::kInputs> tensors = {
        Tensor::OfStrings({1}, absl::MakeConstSpan(tables)),
        Tensor::Of<int32_t>({1, LookupCall::kEntryColumns}, {static_cast<int32_t>(LookupForm::kRows), 1, 0, 0}),
        Tensor::Of<int64_t>({1}, {WireId(row)}),
        Tensor::OfStrings({0}, absl::Span<const std::string>()),
        Tensor::Allocate(DType::kInt32, {0}),
        Tensor::Allocate(DType::kFloat, {0})};
    PeerHeader header;
    header.servable = servable_;
    header.signature = LookupCall::kSignature;
    header.tensors.resize(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) header.tensors[i].name = LookupCall::kInputNames[i];
    Mutex mutex;
    CondVar came;
    bool done = false, answered = false;
    channel.Call(header, tensors, Deadline::In(absl::Seconds(10), Clock::Real()),
                 [&](absl::StatusOr<PeerMessage> outcome) {
                   const bool ok = outcome.ok() && outcome->header.code == 0 && !outcome->tensors.empty();
                   if (ok) {
                     float first;
                     std::memcpy(&first, outcome->tensors[LookupCall::kRows].bytes().data(), sizeof(first));
                     PORTICO_CHECK(first == static_cast<float>(row % 65536));
                   }
                   MutexLock lock(&mutex);
                   done = true;
                   answered = ok;
                   came.NotifyOne();
                 });
    MutexLock lock(&mutex);
    while (!done) came.Wait(&mutex);
    return answered;
  }

  const std::string socket_;
  const std::string servable_;
  const std::unique_ptr<Transport> transport_ = NewTransports({}, Clock::Real());
};

void RunFirstAnswer(Report& report) {
  const uint64_t gigabytes = Setting("PORTICO_BENCH_SHARD_GB", 1, 1);
  const size_t rows = (gigabytes << 30) / (kWireDim * sizeof(float) + 8);
  const TempFolder folder("/tmp");
  BuildWireGroup(folder.path(), "big", 1, rows);
  sync();
  const std::string servable = ShardName("big", 0, 1), base = folder.path() + "/big/0of1";
  std::vector<double> process_ms, node_ms, bare_ms;
  const auto since = [](absl::Time start) { return absl::ToDoubleMilliseconds(absl::Now() - start); };
  for (int round = 0; round < 7; ++round) {
    const size_t row = static_cast<size_t>(round) * 7919 * 131 % rows;
    {
      const std::string socket = absl::StrCat(folder.path(), "/p", round);
      FirstAnswer first(socket, servable);
      const absl::Time start = absl::Now();
      auto process = Process::Start({PorticoPath(), "serve", "--model", absl::StrCat(servable, "=", base), "--peer",
                                     "unix://" + socket, "--log-level", "error"});
      PORTICO_CHECK(process.ok());
      first.Await(row);
      process_ms.push_back(since(start));
    }
    {
      const std::string socket = absl::StrCat(folder.path(), "/n", round);
      FirstAnswer first(socket, servable);
      Node::Options options;
      options.models = {{servable, base}};
      options.peer = "unix://" + socket;
      const absl::Time start = absl::Now();
      auto node = Node::Start(std::move(options));
      PORTICO_CHECK(node.ok());
      first.Await(row);
      node_ms.push_back(since(start));
    }
    const absl::Time start = absl::Now();
    auto process = Process::Start({PorticoPath(), "--version"});
    PORTICO_CHECK(process.ok());
    (*process)->Wait();
    bare_ms.push_back(since(start));
  }
  std::printf("# a shard of %.2f GB; a process that only says its version takes %.1f ms\n",
              static_cast<double>(rows) * (kWireDim * sizeof(float) + 8) / (1 << 30), Median(bare_ms));
  const std::string name = absl::StrCat("embedding.wire.first_answer.", gigabytes, "gb");
  for (const auto& [what, ms] : {std::pair(".node", &node_ms), {".process", &process_ms}}) {
    report.Add({.name = name + what, .value = Median(*ms), .unit = "ms", .at_most = 50, .aim_on_ratio = false});
  }
}

}  // namespace

std::vector<Scenario> EmbeddingFirstAnswerScenarios() {
  return {
      {"embedding.wire.first_answer", "how soon a large shard that starts gives its first answer", [](Report& report) {
         // Not a line for each model that loads.
         PORTICO_CHECK(SetLogLevel("warning"));
         RunFirstAnswer(report);
       }}};
}

}  // namespace portico::bench
