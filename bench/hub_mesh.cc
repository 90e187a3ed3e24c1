#include "bench/hub_mesh.h"

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"
#include "bench/load_generator.h"
#include "bench/table_mesh.h"
#include "cli/http_client.h"
#include "cli/metrics_text.h"
#include "grpcpp/grpcpp.h"
#include "tensorflow_serving/predict.grpc.pb.h"

namespace portico::bench {
namespace {

namespace tfs = ::tensorflow::serving;

constexpr int64_t kWidth = 1024;
constexpr int kLayers = 24;
/// Of requests and of features.
constexpr int64_t kColumns = 64;

/// Weights that keep the size of what goes through a layer and its relu, no two tensors alike.
Tensor Weights(Shape shape, uint64_t seed) {
  Tensor weights = Tensor::Allocate(DType::kFloat, shape);
  auto* const values = reinterpret_cast<float*>(weights.mutable_bytes());
  const float bound = std::sqrt(6.0f / static_cast<float>(shape[0]));
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (uint64_t i = 0; i < weights.num_elements(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values[i] = bound * (static_cast<float>(state >> 40) * 0x1p-23f - 1);
  }
  return weights;
}

/// "x" to `features`.
void AddEncoder(const std::string& features, ModelBuilder* model) {
  std::string at = "x";
  for (int layer = 0; layer <= kLayers + 1; ++layer) {
    const bool first = layer == 0, last = layer == kLayers + 1;
    const std::string n = absl::StrCat(layer);
    model->Initializer("w" + n, Weights({first ? kColumns : kWidth, last ? kColumns : kWidth}, 1 + layer));
    model->Node("MatMul", {at, "w" + n}, {"p" + n});
    at = last ? features : "h" + n;
    model->Node("Relu", {"p" + n}, {at});
  }
}

/// `features` to "y".
void AddHead(const std::string& features, uint64_t product, ModelBuilder* model) {
  model->Initializer("head", Weights({kColumns, kHubClasses}, 1000 + product));
  model->Node("MatMul", {features, "head"}, {"logits"}).Node("Softmax", {"logits"}, {"y"}, {Int("axis", 1)});
  model->Output("y", DType::kFloat, {"N", kHubClasses});
}

/// Bytes of memory that a process has, what it shares with others by halves, thirds, …
double ResidentBytesOf(int64_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Pss:")) return std::strtod(line.c_str() + 4, nullptr) * 1024;
  }
  PORTICO_CHECK(false);
  return 0;
}

}  // namespace

ModelBuilder HubEncoder() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns}).Output("features", DType::kFloat, {"N", kColumns});
  AddEncoder("features", &model);
  return model;
}

ModelBuilder HubMonolith(uint64_t product) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  AddEncoder("features", &model);
  AddHead("features", product, &model);
  return model;
}

ModelBuilder HubProduct(uint64_t product) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  model.Portal("Remote", "encoder", {"x"}, {"features"}, {DType::kFloat}, {absl::StrCat("N,", kColumns)});
  AddHead("features", product, &model);
  return model;
}

ModelBuilder HubHeadAlone() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  AddHead("x", 0, &model);
  return model;
}

HubMesh::HubMesh(const std::string& folder, const std::string& name, std::vector<Node> nodes)
    : nodes_(std::move(nodes)) {
  std::string models, served;
  for (const Node& node : nodes_) {
    absl::StrAppend(&models, "  ", node.model, ": {path: ", node.model, "}\n");
    absl::StrAppend(&served, "  ", node.name, ": {serve: [", node.model, "], grpc: 0, http: 0}\n");
  }
  const std::string file = absl::StrCat(folder, "/", name, ".yaml");
  PORTICO_CHECK(
      WriteFileAtomically(file, absl::StrCat("mesh: ", name, "\nmodels:\n", models, "nodes:\n", served)).ok());
  auto up = Process::Start({PorticoPath(), "up", file, "--run-folder", run_.path() + "/run"});
  PORTICO_CHECK(up.ok());
  up_ = *std::move(up);
  const std::string ready = absl::StrCat("mesh '", name, "' is ready");
  for (const absl::Time end = absl::Now() + absl::Seconds(60); said_.find(ready) == std::string::npos;) {
    up_->ReadOutput(&said_);
    if (up_->Ended() || absl::Now() > end) std::fputs(said_.c_str(), stderr);
    PORTICO_CHECK(!up_->Ended() && absl::Now() < end);
    absl::SleepFor(absl::Milliseconds(10));
  }
  for (const Node& node : nodes_) {
    auto status = ReadNodeStatus(absl::StrCat(run_.path(), "/run/status/", node.name, "-0.json"));
    PORTICO_CHECK(status.ok() && status->ready);
    statuses_.push_back(*std::move(status));
  }
}

HubMesh::~HubMesh() {
  up_->Signal(SIGTERM);
  while (up_->ReadOutput(&said_)) absl::SleepFor(absl::Milliseconds(10));
  up_->Wait();
}

double HubMesh::ResidentBytes() const {
  double bytes = 0;
  for (const NodeStatus& status : statuses_) bytes += ResidentBytesOf(status.pid);
  return bytes;
}

double HubMesh::ResidentBytes(size_t node) const { return ResidentBytesOf(statuses_[node].pid); }

std::pair<double, double> HubMesh::Runs(const std::vector<size_t>& nodes) const {
  double rows = 0, runs = 0;
  for (const size_t node : nodes) {
    const auto answer = CallHttp(statuses_[node].http, {.target = "/metrics"});
    PORTICO_CHECK(answer.ok());
    const auto metrics = MetricsText::Parse(answer->body);
    PORTICO_CHECK(metrics.ok());
    for (const auto& [labels, histogram] : metrics->Histograms("portico_batch_rows")) {
      rows += histogram.sum;
      runs += histogram.count();
    }
  }
  return {rows, runs};
}

struct HubClients::Stub {
  std::unique_ptr<tfs::PredictionService::Stub> service;
  tfs::PredictRequest request;
};

struct HubClients::Call {
  grpc::ClientContext context;
  tfs::PredictResponse response;
  Done done;
};

HubClients::HubClients(const HubMesh& mesh, const std::vector<size_t>& nodes) {
  for (const size_t node : nodes) {
    auto stub = std::make_unique<Stub>();
    stub->request.mutable_model_spec()->set_name(mesh.model(node));
    tensorflow::TensorProto& x = (*stub->request.mutable_inputs())["x"];
    x.set_dtype(tensorflow::DT_FLOAT);
    x.mutable_tensor_shape()->add_dim()->set_size(1);
    x.mutable_tensor_shape()->add_dim()->set_size(kColumns);
    x.set_tensor_content(std::string(Weights({1, kColumns}, 7).bytes()));
    stub->service =
        tfs::PredictionService::NewStub(grpc::CreateChannel(mesh.grpc(node), grpc::InsecureChannelCredentials()));
    stubs_.push_back(std::move(stub));
  }
}

HubClients::~HubClients() = default;

void HubClients::Send(size_t client, Done done) {
  auto call = std::make_shared<Call>();
  call->done = std::move(done);
  Stub& stub = *stubs_[client];
  stub.service->async()->Predict(&call->context, &stub.request, &call->response, [call](grpc::Status status) {
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
    call->done(status.ok() ? absl::OkStatus() : absl::UnavailableError(status.error_message()));
  });
}

std::vector<float> HubClients::Ask(size_t client) {
  grpc::ClientContext context;
  tfs::PredictResponse response;
  PORTICO_CHECK(stubs_[client]->service->Predict(&context, stubs_[client]->request, &response).ok());
  const tensorflow::TensorProto& y = response.outputs().at("y");
  if (y.float_val_size() > 0) return {y.float_val().begin(), y.float_val().end()};
  const auto* const values = reinterpret_cast<const float*>(y.tensor_content().data());
  return {values, values + y.tensor_content().size() / sizeof(float)};
}

double HubClients::OpenP99(double per_second, absl::Duration duration, uint64_t seed) {
  size_t next = 0;
  LoadResult result;
  GenerateLoad(
      {.calls_per_second = per_second, .duration = duration, .seed = seed},
      [&](Done done) { Send(next++ % size(), std::move(done)); }, &result);
  PORTICO_CHECK(result.failed == 0);
  return absl::ToDoubleMilliseconds(result.latency.Percentile(0.99));
}

HubLoad::HubLoad(HubClients& clients, int under_way) : clients_(clients), under_way_(under_way) {
  for (int i = 0; i < under_way; ++i) Send(static_cast<size_t>(i) % clients_.size());
}

int64_t HubLoad::Stop() {
  const int64_t answered = answered_;
  over_ = true;
  for (int seen = under_way_.load(); seen > 0; seen = under_way_.load()) under_way_.wait(seen);
  return answered;
}

void HubLoad::Send(size_t client) {
  clients_.Send(client, [this, client](const absl::Status& status) {
    PORTICO_CHECK(status.ok());
    if (!over_) {
      answered_.fetch_add(1, std::memory_order_relaxed);
      return Send(client);
    }
    if (under_way_.fetch_sub(1) == 1) under_way_.notify_one();
  });
}

}  // namespace portico::bench
