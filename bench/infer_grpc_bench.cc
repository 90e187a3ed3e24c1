// ModelInfer over gRPC beside an echo of the same kind (callback API, raw ByteBuffer), each server in a process of its
// own, both driven by h2load with the same request. The served model is tiny, so that what is measured is the frontend.

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/h2load.h"
#include "bench/scenarios.h"
#include "grpcpp/grpcpp.h"
#include "inference/grpc_service.grpc.pb.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

namespace v2 = ::inference;

constexpr int kRounds = 7;
constexpr char kPath[] = "/inference.GRPCInferenceService/ModelInfer";

/// y[N,4] = x + b: no more than a model has to be.
void WriteModel(const std::string& path) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
  model.Initializer("b", {4}, {1, 2, 3, 4}).Node("Add", {"x", "b"}, {"y"}).WriteTo(path);
}

v2::ModelInferRequest Request() {
  v2::ModelInferRequest request;
  request.set_model_name("tiny");
  v2::ModelInferRequest::InferInputTensor& x = *request.add_inputs();
  x.set_name("x");
  x.set_datatype("FP32");
  x.add_shape(1);
  x.add_shape(4);
  const float values[] = {1, 2, 3, 4};
  request.add_raw_input_contents(values, sizeof(values));
  return request;
}

/// Answers with the request's own bytes.
class EchoService final
    : public v2::GRPCInferenceService::WithRawCallbackMethod_ModelInfer<v2::GRPCInferenceService::Service> {
 public:
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    // h2load drops calls when its time is up: one whose message never came arrives here without one.
    if (request->Valid()) *response = *request;
    reactor->Finish(request->Valid() ? grpc::Status::OK : grpc::Status::CANCELLED);
    return reactor;
  }
};

void ServeEcho(const ChildServer::Ready& ready) {
  EchoService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  PORTICO_CHECK(server != nullptr);
  ready(absl::StrCat("127.0.0.1:", port));
}

void ServeNode(const std::string& base, const ChildServer::Ready& ready) {
  Node::Options options;
  options.grpc.address = "127.0.0.1:0";
  options.models = {{"tiny", base}};
  const auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  ready((*node)->grpc_address());
}

void CheckAnswer(const std::string& address) {
  const auto stub = v2::GRPCInferenceService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v2::ModelInferResponse response;
  PORTICO_CHECK(stub->ModelInfer(&context, Request(), &response).ok());
  PORTICO_CHECK(response.raw_output_contents_size() == 1);
}

/// One second of `load`: calls per second, and the server's CPU microseconds per call.
struct Sample {
  Sample(const ChildServer& server, const H2load& load, const std::string& body) {
    const double before = server.CpuSeconds();
    calls_per_s = load.GrpcCallsPerSecond(server.address(), kPath, body);
    // Warm-up included: 1.2 s of calls.
    constexpr double kSeconds = 1.2;
    cpu_us = calls_per_s == 0 ? 0 : (server.CpuSeconds() - before) * 1e6 / (calls_per_s * kSeconds);
  }
  double calls_per_s;
  double cpu_us;
};

void Run(Report& report) {
  if (!H2load::Found("infer.grpc")) return;
  const TempFolder folder;
  WriteModel(folder.File("tiny/1/model.onnx"));
  const std::string file = folder.Write("request", H2load::GrpcBody(Request().SerializeAsString()));

  const ChildServer echo(ServeEcho);
  const ChildServer node([&](const ChildServer::Ready& ready) { ServeNode(folder.Folder("tiny"), ready); });
  CheckAnswer(node.address());
  for (const H2load& load : {H2load{4, 64}, H2load{1, 1}}) {
    std::vector<double> echoed, inferred, echo_cpu, infer_cpu;
    for (int round = 0; round < kRounds; ++round) {
      const Sample plain(echo, load, file), model(node, load, file);
      echoed.push_back(plain.calls_per_s);
      inferred.push_back(model.calls_per_s);
      echo_cpu.push_back(plain.cpu_us);
      infer_cpu.push_back(model.cpu_us);
    }
    Figure figure;
    figure.name = absl::StrCat("infer.grpc.", load.in_flight, ".calls_per_s");
    figure.value = Median(inferred);
    figure.unit = "calls/s";
    figure.baseline = Median(echoed);
    figure.at_least = load.in_flight > 1 ? 0.75 : 0;
    report.Add(figure);
    Figure added;
    added.name = absl::StrCat("infer.grpc.", load.in_flight, ".added_cpu_us");
    added.value = Median(infer_cpu) - Median(echo_cpu);
    added.unit = "us/call";
    added.at_most = load.in_flight > 1 ? 9 : 0;
    added.aim_on_ratio = false;
    report.Add(added);
  }
}

}  // namespace

std::vector<Scenario> InferGrpcScenarios() {
  return {{"infer.grpc", "ModelInfer of a tiny model against a raw gRPC callback echo, driven by h2load", Run}};
}

}  // namespace portico::bench
