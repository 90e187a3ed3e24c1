#include "bench/rest_bench.h"

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/plain_http.h"
#include "cli/http_client.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 7;

void ServeNode(const std::string& base, const ChildServer::Ready& ready) {
  Node::Options options;
  options.http.address = "127.0.0.1:0";
  options.models = {{"tiny", base}};
  const auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  ready((*node)->http_address());
}

/// What the node answers.
std::string AnswerOf(const ChildServer& node, const RestRequest& request) {
  HttpCall call;
  call.target = request.path;
  call.body = request.body;
  call.headers = request.headers;
  const auto answer = CallHttp(node.address(), call);
  PORTICO_CHECK(answer.ok() && answer->code == 200 && absl::StrContains(answer->body, ":"));
  return answer->body;
}

/// One second of `load`: calls per second, and the server's CPU microseconds per call.
struct Sample {
  Sample(const ChildServer& server, const H2load& load, const RestRequest& request, const std::string& file) {
    const double before = server.CpuSeconds();
    calls_per_s = load.RestCallsPerSecond(server.address(), request.path, file, request.headers);
    // Warm-up included: 1.2 s of calls.
    constexpr double kSeconds = 1.2;
    cpu_us = calls_per_s == 0 ? 0 : (server.CpuSeconds() - before) * 1e6 / (calls_per_s * kSeconds);
  }
  double calls_per_s;
  double cpu_us;
};

}  // namespace

void RunRest(const RestRequest& request, const H2load& load, Report& report) {
  const TempFolder folder;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
  model.Initializer("b", {4}, {1, 2, 3, 4}).Node("Add", {"x", "b"}, {"y"}).WriteTo(folder.File("tiny/1/model.onnx"));
  const std::string file = folder.Write("request", request.body);
  const ChildServer node([&](const ChildServer::Ready& ready) { ServeNode(folder.Folder("tiny"), ready); });
  const std::string answer = AnswerOf(node, request);
  const ChildServer plain([&](const ChildServer::Ready& ready) { ServePlainHttp("application/json", answer, ready); });
  std::vector<double> answered, served, plain_cpu, node_cpu;
  for (int round = 0; round < kRounds; ++round) {
    const Sample constant(plain, load, request, file), model_run(node, load, request, file);
    answered.push_back(constant.calls_per_s);
    served.push_back(model_run.calls_per_s);
    plain_cpu.push_back(constant.cpu_us);
    node_cpu.push_back(model_run.cpu_us);
  }
  Figure figure;
  figure.name = absl::StrCat(request.name, ".", load.in_flight, ".calls_per_s");
  figure.value = Median(served);
  figure.unit = "calls/s";
  figure.baseline = Median(answered);
  figure.at_least = load.in_flight > 1 ? 0.75 : 0;
  report.Add(figure);
  Figure added;
  added.name = absl::StrCat(request.name, ".", load.in_flight, ".added_cpu_us");
  added.value = Median(node_cpu) - Median(plain_cpu);
  added.unit = "us/call";
  report.Add(added);
}

}  // namespace portico::bench
