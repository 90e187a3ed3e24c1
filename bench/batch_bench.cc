// How much of ONNX Runtime's own speed is left when rows come one by one and are joined on the way. Baseline: one
// thread that runs the same model on 64 rows, again and again. Ours: a node with one worker, in process with 128 and
// 512 one-row requests always under way, and over gRPC with 32 rows a request.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "bench/h2load.h"
#include "bench/scenarios.h"
#include "grpcpp/grpcpp.h"
#include "models/runtime/session.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

namespace tfs = ::tensorflow::serving;

constexpr int kRounds = 7;
constexpr int64_t kWidth = 256;
constexpr int64_t kBatch = 64;
constexpr absl::Duration kRound = absl::Milliseconds(700);

/// Six layers of 256: 5 to 10 µs a row in batches of 64.
ModelBuilder Layers() {
  constexpr int kLayers = 6;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kWidth}).Output("y", DType::kFloat, {"N", kWidth});
  for (int layer = 0; layer < kLayers; ++layer) {
    std::vector<float> values(kWidth * kWidth);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17 + layer) * 1e-3f;
    const std::string weight = absl::StrCat("w", layer);
    model.Initializer(weight, Tensor::Of<float>({kWidth, kWidth}, values));
    model.Node("MatMul", {layer == 0 ? "x" : absl::StrCat("h", layer), weight}, {absl::StrCat("p", layer)});
    model.Node("Relu", {absl::StrCat("p", layer)}, {layer + 1 == kLayers ? "y" : absl::StrCat("h", layer + 1)});
  }
  return model;
}

Tensor RowsOf(int64_t rows) {
  const std::vector<float> values(static_cast<size_t>(rows * kWidth), 0.5f);
  return Tensor::Of<float>({rows, kWidth}, values);
}

/// Rows a second of one thread that calls ONNX Runtime.
double RuntimeAlone(Session& session) {
  const Tensor rows = RowsOf(kBatch);
  int64_t ran = 0;
  const absl::Time start = absl::Now();
  while (absl::Now() - start < kRound) {
    PORTICO_CHECK(session.Run({rows}).ok());
    ran += kBatch;
  }
  return static_cast<double>(ran) / absl::ToDoubleSeconds(absl::Now() - start);
}

std::unique_ptr<Node> StartNode(const std::string& base, bool grpc) {
  Node::Options options;
  if (grpc) options.grpc.address = "127.0.0.1:0";
  options.workers = 1;
  options.models.push_back({"layers", base});
  auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok() && (*node)->Ready().ok());
  return *std::move(node);
}

/// Rows a second of `node` with `outstanding` one-row requests always under way.
double OneByOne(Node& node, int outstanding) {
  Inference& inference = node.inference();
  const auto servable = inference.servables().Resolve({.name = "layers"});
  PORTICO_CHECK(servable.ok());
  const Signature& signature = (*servable)->signatures()[0];
  const Tensor row = RowsOf(1);
  std::atomic<int> under_way{0};
  std::atomic<int64_t> answered{0};
  const absl::Time start = absl::Now();
  while (absl::Now() - start < kRound) {
    // Answers come by the batch: the caller sleeps meanwhile, as a client would.
    for (int seen = under_way.load(); seen >= outstanding; seen = under_way.load()) under_way.wait(seen);
    while (under_way.load(std::memory_order_relaxed) < outstanding) {
      ++under_way;
      inference.Run(RequestApi::kPeer, *servable, signature, MakeRef<RequestContext>(), {row},
                    [&](absl::StatusOr<std::vector<Tensor>> outputs) {
                      PORTICO_CHECK(outputs.ok());
                      answered.fetch_add(1, std::memory_order_relaxed);
                      if (under_way.fetch_sub(1) == outstanding) under_way.notify_one();
                    });
    }
  }
  const double rows = static_cast<double>(answered.load());
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  while (under_way.load() > 0) std::this_thread::yield();
  return rows / seconds;
}

tfs::PredictRequest Request(int64_t rows) {
  tfs::PredictRequest request;
  request.mutable_model_spec()->set_name("layers");
  tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
  x.set_dtype(tensorflow::DT_FLOAT);
  x.mutable_tensor_shape()->add_dim()->set_size(rows);
  x.mutable_tensor_shape()->add_dim()->set_size(kWidth);
  x.set_tensor_content(std::string(RowsOf(rows).bytes()));
  return request;
}

/// h2load counts gRPC errors as successes, so one answer is looked at.
void CheckAnswer(const std::string& address, int64_t rows) {
  const auto stub = tfs::PredictionService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  tfs::PredictResponse response;
  PORTICO_CHECK(stub->Predict(&context, Request(rows), &response).ok());
  PORTICO_CHECK(response.outputs().contains("y"));
}

void Run(Report& report) {
  const TempFolder folder;
  Layers().WriteTo(folder.File("layers/1/model.onnx"));
  constexpr int64_t kRequestRows = 32;
  const ChildServer served([&](const ChildServer::Ready& ready) {
    const auto node = StartNode(folder.Folder("layers"), true);
    ready(node->grpc_address());
  });
  auto session = Session::Create(Layers().Build()->SerializeAsString(), {}, {.name = "layers"});
  PORTICO_CHECK(session.ok());
  const auto node = StartNode(folder.Folder("layers"), false);
  const std::string body = folder.Write("request", H2load::GrpcBody(Request(kRequestRows).SerializeAsString()));
  const bool grpc = H2load::Found("batch.grpc");
  if (grpc) CheckAnswer(served.address(), kRequestRows);

  std::vector<double> alone, few, many, remote;
  for (int round = 0; round < kRounds; ++round) {
    alone.push_back(RuntimeAlone(**session));
    few.push_back(OneByOne(*node, 128));
    many.push_back(OneByOne(*node, 512));
    if (!grpc) continue;
    const H2load load{.connections = 4, .in_flight = 16};
    remote.push_back(static_cast<double>(kRequestRows) *
                     load.GrpcCallsPerSecond(served.address(), "/tensorflow.serving.PredictionService/Predict", body));
  }
  const auto add = [&](const std::string& name, const std::vector<double>& values, double at_least) {
    if (values.empty()) return;
    Figure figure;
    figure.name = name;
    figure.value = Median(values);
    figure.unit = "rows/s";
    figure.baseline = Median(alone);
    figure.at_least = at_least;
    report.Add(figure);
  };
  add("batch.inprocess.128.rows_per_s", few, 0.85);
  add("batch.inprocess.512.rows_per_s", many, 0.85);
  add("batch.grpc.32rows.rows_per_s", remote, 0.7);
}

}  // namespace

std::vector<Scenario> BatchScenarios() {
  return {{"batch", "rows joined on the way, one worker, against one thread of ONNX Runtime at 64 rows", Run}};
}

}  // namespace portico::bench
