// Predict over gRPC beside an echo of the same kind (callback API, raw ByteBuffer), each server in a process of its
// own, both driven by h2load with the same request. The served model is tiny, so that what is measured is the frontend.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/h2load.h"
#include "bench/scenarios.h"
#include "grpcpp/grpcpp.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

namespace tfs = ::tensorflow::serving;

constexpr int kRounds = 7;
constexpr char kPath[] = "/tensorflow.serving.PredictionService/Predict";

/// y[N,4] = x + b: no more than a model has to be.
void WriteModel(const std::string& path) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4});
  model.Initializer("b", {4}, {1, 2, 3, 4}).Node("Add", {"x", "b"}, {"y"}).WriteTo(path);
}

tfs::PredictRequest Request() {
  tfs::PredictRequest request;
  request.mutable_model_spec()->set_name("tiny");
  tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
  x.set_dtype(tensorflow::DT_FLOAT);
  x.mutable_tensor_shape()->add_dim()->set_size(1);
  x.mutable_tensor_shape()->add_dim()->set_size(4);
  const float values[] = {1, 2, 3, 4};
  x.set_tensor_content(values, sizeof(values));
  return request;
}

/// Answers with the request's own bytes.
class EchoService final
    : public tfs::PredictionService::WithRawCallbackMethod_Predict<tfs::PredictionService::Service> {
 public:
  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
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
  const auto stub = tfs::PredictionService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  tfs::PredictResponse response;
  PORTICO_CHECK(stub->Predict(&context, Request(), &response).ok());
  PORTICO_CHECK(response.outputs().contains("y"));
}

void Run(Report& report) {
  if (!H2load::Found("predict.grpc")) return;
  const TempFolder folder;
  WriteModel(folder.File("tiny/1/model.onnx"));
  const std::string file = folder.Write("request", H2load::GrpcBody(Request().SerializeAsString()));

  const ChildServer echo(ServeEcho);
  const ChildServer node([&](const ChildServer::Ready& ready) { ServeNode(folder.Folder("tiny"), ready); });
  CheckAnswer(node.address());
  for (const H2load& load : {H2load{4, 64}, H2load{1, 1}}) {
    std::vector<double> echoed, predicted;
    for (int round = 0; round < kRounds; ++round) {
      echoed.push_back(load.GrpcCallsPerSecond(echo.address(), kPath, file));
      predicted.push_back(load.GrpcCallsPerSecond(node.address(), kPath, file));
    }
    Figure figure;
    figure.name = absl::StrCat("predict.grpc.", load.in_flight, ".calls_per_s");
    figure.value = Median(predicted);
    figure.unit = "calls/s";
    figure.baseline = Median(echoed);
    figure.at_least = load.in_flight > 1 ? 0.75 : 0;
    report.Add(figure);
  }
}

}  // namespace

std::vector<Scenario> PredictGrpcScenarios() {
  return {{"predict.grpc", "Predict of a tiny model against a raw gRPC callback echo, driven by h2load", Run}};
}

}  // namespace portico::bench
