#include "tests/integration/chaos_mesh.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "cli/http_client.h"
#include "cli/metric_window.h"
#include "cli/metrics_text.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr char kPortico[] = PORTICO_BINARY_DIR "/portico";

std::unique_ptr<Process> MustStart(const std::vector<std::string>& command) {
  auto process = Process::Start(command);
  PORTICO_CHECK(process.ok());
  return *std::move(process);
}

NodeStatus AwaitReady(Process& process, const std::string& status_file) {
  const absl::Time until = absl::Now() + kPatience;
  while (absl::Now() < until) {
    const auto status = ReadNodeStatus(status_file);
    if (status.ok() && status->ready) return *status;
    if (process.Ended().has_value()) break;
    absl::SleepFor(absl::Milliseconds(5));
  }
  std::string output;
  process.ReadOutput(&output);
  std::fprintf(stderr, "%s\n", output.c_str());
  PORTICO_CHECK(false && "a node did not become ready");
  return {};
}

MetricsText MetricsOf(const std::string& http) {
  HttpCall call;
  call.target = "/metrics";
  const auto answer = CallHttp(http, call);
  if (!answer.ok()) return {};
  return MetricsText::Parse(answer->body).value_or(MetricsText());
}

}  // namespace

ChaosMesh::ChaosMesh(Options options) : options_(std::move(options)) {
  ModelBuilder leaf;
  leaf.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Neg", {"x"}, {"y"});
  leaf.WriteTo(folder_.File("leaf/1/model.onnx"));
  ModelBuilder head;
  head.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
  head.Portal("Remote", "leaf", {"x"}, {"answer"}, {DType::kFloat}, {"N,2"}, {Strings("output_names", {"y"})});
  head.Node("Neg", {"answer"}, {"y"}).WriteTo(folder_.File("head/1/model.onnx"));

  std::vector<std::string> words = {
      kPortico, "serve",       "--model",       absl::StrCat("head=", folder_.path(), "/head"),
      "--grpc", "127.0.0.1:0", "--http",        "127.0.0.1:0",
      "--node", "front",       "--status-file", folder_.path() + "/front.json"};
  for (int i = 0; i < kReplicas; ++i) {
    const auto index = static_cast<size_t>(i);
    const bool has_host = !absl::StrContains("unix shm zmq+ipc", options_.scheme);
    peers_[index] = has_host ? absl::StrCat(options_.scheme, "://", options_.hosts[index], ":0")
                             : absl::StrCat(options_.scheme, "://", folder_.path(), "/leaf-", i, ".sock");
    Start(i);
    if (options_.proxied) proxies_[index] = std::make_unique<ChaosProxy>(peers_[index]);
    words.push_back("--remote");
    words.push_back("leaf=" + EndpointOf(i));
  }
  words.insert(words.end(), options_.front_flags.begin(), options_.front_flags.end());
  front_ = MustStart({"/bin/sh", "-c", absl::StrCat(options_.front_prefix, " exec ", absl::StrJoin(words, " "))});
  const NodeStatus status = AwaitReady(*front_, folder_.path() + "/front.json");
  grpc_ = status.grpc;
  http_ = status.http;
}

void ChaosMesh::Kill(int replica) {
  Process& process = this->replica(replica);
  process.Signal(SIGKILL);
  process.Wait();
}

void ChaosMesh::Start(int replica) {
  const auto index = static_cast<size_t>(replica);
  const std::string file = absl::StrCat(folder_.path(), "/leaf-", replica, ".json");
  std::filesystem::remove(file);
  std::vector<std::string> words = {"exec",          options_.replica_prefixes[index],
                                    kPortico,        "serve",
                                    "--model",       absl::StrCat("leaf=", folder_.path(), "/leaf"),
                                    "--peer",        peers_[index],
                                    "--node",        "leaf",
                                    "--replica",     absl::StrCat(replica),
                                    "--status-file", file};
  words.insert(words.end(), options_.replica_flags.begin(), options_.replica_flags.end());
  replicas_[index] = MustStart({"/bin/sh", "-c", absl::StrJoin(words, " ")});
  peers_[index] = AwaitReady(*replicas_[index], file).peer;
}

const std::string& ChaosMesh::EndpointOf(int replica) const {
  const auto index = static_cast<size_t>(replica);
  return proxies_[index] != nullptr ? proxies_[index]->endpoint() : peers_[index];
}

absl::Duration ChaosMesh::WaitForState(int replica, const std::string& state) {
  const absl::Time begin = absl::Now();
  while (absl::Now() - begin < kPatience) {
    const MetricsText metrics = MetricsOf(http_);
    for (const auto& [labels, value] : metrics.Values("portico_replica_state")) {
      if (LabelOf(labels, "endpoint") == EndpointOf(replica) && LabelOf(labels, "state") == state) {
        return absl::Now() - begin;
      }
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::InfiniteDuration();
}

double ChaosMesh::Answers(int replica) {
  const MetricsText metrics = MetricsOf(http_);
  for (const auto& [labels, histogram] : metrics.Histograms("portico_replica_latency_seconds")) {
    if (LabelOf(labels, "endpoint") == EndpointOf(replica)) return histogram.count();
  }
  return 0;
}

double ChaosMesh::Count(const std::string& name, const std::string& label, const std::string& value) {
  const MetricsText metrics = MetricsOf(http_);
  double sum = 0;
  for (const auto& [labels, count] : metrics.Values(name)) sum += LabelOf(labels, label) == value ? count : 0;
  return sum;
}

std::string ChaosLoad::Summary::Text() const {
  return absl::StrFormat(
      "%d requests, %d failed, p50 %.2f ms, p99 %.2f ms, longest %.2f ms, last late or failed after %s%s%s", answers,
      failed, absl::ToDoubleMilliseconds(p50), absl::ToDoubleMilliseconds(p99), absl::ToDoubleMilliseconds(max),
      absl::FormatDuration(absl::Trunc(recovered_after, absl::Milliseconds(1))),
      first_error.empty() ? "" : "; first error: ", first_error);
}

ChaosLoad::ChaosLoad(const std::string& grpc, int clients)
    : grpc_(grpc), answers_(static_cast<size_t>(clients)), counts_(static_cast<size_t>(clients)) {
  for (size_t client = 0; client < answers_.size(); ++client) {
    threads_.emplace_back([this, client] { Send(client); });
  }
}

absl::Duration ChaosLoad::WaitForAll() const {
  const absl::Time begin = absl::Now();
  const std::vector<size_t> before(counts_.begin(), counts_.end());
  for (size_t client = 0; client < counts_.size(); ++client) {
    while (counts_[client] == before[client]) {
      if (absl::Now() - begin > kPatience) return absl::InfiniteDuration();
      absl::SleepFor(absl::Milliseconds(5));
    }
  }
  return absl::Now() - begin;
}

void ChaosLoad::Stop() {
  over_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ChaosLoad::Send(size_t client) {
  TfsClient front(grpc_);
  const Tensor x = Tensor::Of<float>({1, 2}, {3, 4});
  TfsClient::CallOptions options;
  options.timeout = absl::Seconds(20);
  while (!over_) {
    Answer answer;
    answer.sent = absl::Now();
    const auto prediction = front.Predict("head", "", {{"x", x}}, options);
    answer.latency = absl::Now() - answer.sent;
    if (!prediction.ok()) {
      answer.error = prediction.status().ToString();
    } else if (prediction->outputs.size() != 1 || prediction->outputs[0].tensor.data<float>()[1] != 4) {
      answer.error = "a wrong answer";
    }
    answers_[client].push_back(std::move(answer));
    ++counts_[client];
  }
}

absl::Duration ChaosLoad::LateAfter(absl::Time since, absl::Time until) const {
  return std::max(absl::Milliseconds(250), 3 * Between(since, until, absl::ZeroDuration()).max);
}

ChaosLoad::Summary ChaosLoad::Between(absl::Time since, absl::Time until, absl::Duration late) const {
  Summary summary;
  std::vector<absl::Duration> latencies;
  for (const std::vector<Answer>& answers : answers_) {
    for (const Answer& answer : answers) {
      const absl::Time came = answer.sent + answer.latency;
      if (came < since || came >= until) continue;
      latencies.push_back(answer.latency);
      const bool failed = !answer.error.empty();
      summary.failed += failed;
      summary.late += answer.latency > late;
      if (failed && summary.first_error.empty()) summary.first_error = answer.error;
      if (failed || answer.latency > late) {
        summary.recovered_after = std::max(summary.recovered_after, came - since);
      }
    }
  }
  summary.answers = latencies.size();
  if (latencies.empty()) return summary;
  std::sort(latencies.begin(), latencies.end());
  summary.p50 = latencies[latencies.size() / 2];
  summary.p99 = latencies[latencies.size() * 99 / 100];
  summary.max = latencies.back();
  return summary;
}

}  // namespace portico
