// Predict over gRPC beside an echo of the same kind (callback API, raw ByteBuffer), each server in a process of its
// own, both driven by h2load with the same request. The served model is tiny, so that what is measured is the frontend.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
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

/// A server in a child process. The destructor ends it.
class Child {
 public:
  /// `serve` starts a server, calls `ready` with its address, and returns when that returns.
  template <typename Serve>
  explicit Child(Serve serve) {
    int address[2], end[2];
    PORTICO_CHECK(pipe(address) == 0 && pipe(end) == 0);
    pid_ = fork();
    PORTICO_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      close(end[1]);
      serve([&](const std::string& text) {
        PORTICO_CHECK(write(address[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        close(address[1]);
        char byte;
        while (read(end[0], &byte, 1) > 0) {
        }
      });
      _exit(0);
    }
    close(address[1]);
    close(end[0]);
    end_ = end[1];
    char buffer[256];
    for (ssize_t n; (n = read(address[0], buffer, sizeof(buffer))) > 0;)
      address_.append(buffer, static_cast<size_t>(n));
    close(address[0]);
    PORTICO_CHECK(!address_.empty());
  }
  ~Child() {
    close(end_);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// HOST:PORT.
  const std::string& address() const { return address_; }

 private:
  pid_t pid_ = 0;
  int end_ = -1;
  std::string address_;
};

template <typename Ready>
void ServeEcho(Ready ready) {
  EchoService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  PORTICO_CHECK(server != nullptr);
  ready(absl::StrCat("127.0.0.1:", port));
}

template <typename Ready>
void ServeNode(const std::string& base, Ready ready) {
  Node::Options options;
  options.grpc.address = "127.0.0.1:0";
  options.models = {{"tiny", base}};
  const auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  ready((*node)->grpc_address());
}

/// h2load counts any HTTP 200 as a success, and a gRPC error is one: so the answer is looked at once.
void CheckAnswer(const std::string& address) {
  const auto stub = tfs::PredictionService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  tfs::PredictResponse response;
  PORTICO_CHECK(stub->Predict(&context, Request(), &response).ok());
  PORTICO_CHECK(response.outputs().contains("y"));
}

/// Measured for a second, with `in_flight` calls open over `connections` connections.
double CallsPerSecond(const std::string& address, const std::string& body, int connections, int in_flight) {
  const std::string command =
      absl::StrCat("h2load -t1 -c", connections, " -m", in_flight / connections, " -D1 --warm-up-time=200ms -d '", body,
                   "' -H 'content-type: application/grpc' -H 'te: trailers' http://", address,
                   "/tensorflow.serving.PredictionService/Predict 2>/dev/null");
  FILE* const output = popen(command.c_str(), "r");
  PORTICO_CHECK(output != nullptr);
  double calls = 0;
  char line[512];
  while (std::fgets(line, sizeof(line), output) != nullptr) std::sscanf(line, "finished in %*[^,], %lf req/s", &calls);
  pclose(output);
  return calls;
}

void Run(Report& report) {
  if (std::system("h2load --version >/dev/null 2>&1") != 0) {
    std::printf("# predict.grpc: h2load is missing; run deploy/install.sh (Debian package nghttp2-client)\n");
    return;
  }
  const TempFolder folder;
  WriteModel(folder.File("tiny/1/model.onnx"));
  // A gRPC message: not compressed, its length, itself.
  const std::string message = Request().SerializeAsString();
  std::string body(5, '\0');
  body[4] = static_cast<char>(message.size());
  PORTICO_CHECK(message.size() < 128);
  const std::string file = folder.Write("request", body + message);

  // Both before this process uses gRPC, whose threads would not survive the fork.
  const Child echo([](auto ready) { ServeEcho(ready); });
  const Child node([&](auto ready) { ServeNode(folder.Folder("tiny"), ready); });
  CheckAnswer(node.address());
  struct Load {
    int connections;
    int in_flight;
    double at_least;
  };
  for (const Load& load : {Load{4, 64, 0.6}, Load{1, 1, 0}}) {
    std::vector<double> echoed, predicted;
    for (int round = 0; round < kRounds; ++round) {
      echoed.push_back(CallsPerSecond(echo.address(), file, load.connections, load.in_flight));
      predicted.push_back(CallsPerSecond(node.address(), file, load.connections, load.in_flight));
    }
    Figure figure;
    figure.name = absl::StrCat("predict.grpc.", load.in_flight, ".calls_per_s");
    figure.value = Median(predicted);
    figure.unit = "calls/s";
    figure.baseline = Median(echoed);
    figure.at_least = load.at_least;
    report.Add(figure);
  }
}

}  // namespace

std::vector<Scenario> PredictGrpcScenarios() {
  return {{"predict.grpc", "Predict of a tiny model against a raw gRPC callback echo, driven by h2load", Run}};
}

}  // namespace portico::bench
