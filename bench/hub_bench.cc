// One encoder (100 MB of weights) behind a hub and several products with a small head each, every one a process, beside
// as many monoliths: each product a process of its own that has encoder and head in one model. 64 clients in all, over
// gRPC, one row a request.
//
// hub.N.memory        resident bytes (PSS) of hub and product processes, after the load; baseline: one process with the
//                     encoder and N with a head alone, loaded likewise: what N products need at least that are
//                     processes
// hub.N.saved         the same beside the monoliths
// hub.N.requests      answers a second with 64 requests always under way, beside the monoliths
// hub.N.batch         rows of a run of the encoder meanwhile, beside the monoliths
// hub.N.p99           from the intended time of sending, at 0.7 of what the slower side answers a second, both alike

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"
#include "bench/load_generator.h"
#include "bench/scenarios.h"
#include "bench/table_mesh.h"
#include "cli/http_client.h"
#include "cli/metrics_text.h"
#include "deploy/node_status.h"
#include "deploy/process.h"
#include "grpcpp/grpcpp.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

namespace tfs = ::tensorflow::serving;

constexpr int kClients = 64;
constexpr int kRounds = 3;
constexpr absl::Duration kRound = absl::Seconds(3);
constexpr absl::Duration kOpenRound = absl::Seconds(5);
constexpr int64_t kWidth = 1024;
constexpr int kLayers = 24;
/// Of requests and of features.
constexpr int64_t kColumns = 64;
constexpr int64_t kClasses = 10;

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
  model->Initializer("head", Weights({kColumns, kClasses}, 1000 + product));
  model->Node("MatMul", {features, "head"}, {"logits"}).Node("Softmax", {"logits"}, {"y"}, {Int("axis", 1)});
  model->Output("y", DType::kFloat, {"N", kClasses});
}

ModelBuilder Encoder() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns}).Output("features", DType::kFloat, {"N", kColumns});
  AddEncoder("features", &model);
  return model;
}

ModelBuilder Monolith(uint64_t product) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  AddEncoder("features", &model);
  AddHead("features", product, &model);
  return model;
}

/// Its encoder is at the hub.
ModelBuilder Product(uint64_t product) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  model.Portal("Remote", "encoder", {"x"}, {"features"}, {DType::kFloat}, {absl::StrCat("N,", kColumns)});
  AddHead("features", product, &model);
  return model;
}

/// It takes features: what a product's process needs without a portal.
ModelBuilder HeadAlone() {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kColumns});
  AddHead("x", 0, &model);
  return model;
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

/// A mesh that `portico up` keeps.
class Mesh {
 public:
  struct Node {
    std::string name;
    std::string model;
  };
  /// `folder` has the models' folders and gets the mesh file.
  Mesh(const std::string& folder, const std::string& name, std::vector<Node> nodes) : nodes_(std::move(nodes)) {
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
  ~Mesh() {
    up_->Signal(SIGTERM);
    while (up_->ReadOutput(&said_)) absl::SleepFor(absl::Milliseconds(10));
    up_->Wait();
  }

  size_t size() const { return nodes_.size(); }
  const std::string& model(size_t node) const { return nodes_[node].model; }
  const std::string& grpc(size_t node) const { return statuses_[node].grpc; }

  double ResidentBytes() const {
    double bytes = 0;
    for (const NodeStatus& status : statuses_) bytes += ResidentBytesOf(status.pid);
    return bytes;
  }
  double ResidentBytes(size_t node) const { return ResidentBytesOf(statuses_[node].pid); }

  /// Rows and runs of `nodes` so far.
  std::pair<double, double> Runs(const std::vector<size_t>& nodes) const {
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

 private:
  const std::vector<Node> nodes_;
  /// Sockets: a short path.
  const TempFolder run_{"/tmp"};
  std::unique_ptr<Process> up_;
  std::string said_;
  std::vector<NodeStatus> statuses_;
};

/// Clients of nodes of a mesh, one connection each. Thread-safe.
class Clients {
 public:
  Clients(const Mesh& mesh, const std::vector<size_t>& nodes) {
    for (const size_t node : nodes) {
      tfs::PredictRequest request;
      request.mutable_model_spec()->set_name(mesh.model(node));
      tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
      x.set_dtype(tensorflow::DT_FLOAT);
      x.mutable_tensor_shape()->add_dim()->set_size(1);
      x.mutable_tensor_shape()->add_dim()->set_size(kColumns);
      x.set_tensor_content(std::string(Weights({1, kColumns}, 7).bytes()));
      requests_.push_back(std::move(request));
      stubs_.push_back(
          tfs::PredictionService::NewStub(grpc::CreateChannel(mesh.grpc(node), grpc::InsecureChannelCredentials())));
    }
  }

  size_t size() const { return stubs_.size(); }

  using Done = absl::AnyInvocable<void(const absl::Status&)>;
  void Send(size_t client, Done done) {
    auto call = std::make_shared<Call>();
    call->done = std::move(done);
    stubs_[client]->async()->Predict(&call->context, &requests_[client], &call->response, [call](grpc::Status status) {
      if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
      call->done(status.ok() ? absl::OkStatus() : absl::UnavailableError(status.error_message()));
    });
  }

  /// The probabilities that `client` gets.
  std::vector<float> Ask(size_t client) {
    grpc::ClientContext context;
    tfs::PredictResponse response;
    PORTICO_CHECK(stubs_[client]->Predict(&context, requests_[client], &response).ok());
    const tensorflow::TensorProto& y = response.outputs().at("y");
    if (y.float_val_size() > 0) return {y.float_val().begin(), y.float_val().end()};
    const auto* const values = reinterpret_cast<const float*>(y.tensor_content().data());
    return {values, values + y.tensor_content().size() / sizeof(float)};
  }

  /// Answers a second with kClients requests always under way, as many of each client.
  double Closed(absl::Duration duration) {
    std::atomic<int64_t> answered{0};
    std::atomic<int> under_way{0};
    const absl::Time start = absl::Now(), end = start + duration;
    std::function<void(size_t)> send = [&](size_t client) {
      Send(client, [&, client](const absl::Status& status) {
        PORTICO_CHECK(status.ok());
        if (absl::Now() < end) {
          answered.fetch_add(1, std::memory_order_relaxed);
          return send(client);
        }
        if (under_way.fetch_sub(1) == 1) under_way.notify_one();
      });
    };
    under_way = kClients;
    for (size_t i = 0; i < kClients; ++i) send(i % size());
    for (int seen = under_way.load(); seen > 0; seen = under_way.load()) under_way.wait(seen);
    return static_cast<double>(answered.load()) / absl::ToDoubleSeconds(duration);
  }

  /// Milliseconds from the intended time of sending.
  double OpenP99(double per_second, uint64_t seed) {
    size_t next = 0;
    LoadResult result;
    GenerateLoad(
        {.calls_per_second = per_second, .duration = kOpenRound, .seed = seed},
        [&](Done done) { Send(next++ % size(), std::move(done)); }, &result);
    PORTICO_CHECK(result.failed == 0);
    return absl::ToDoubleMilliseconds(result.latency.Percentile(0.99));
  }

 private:
  struct Call {
    grpc::ClientContext context;
    tfs::PredictResponse response;
    Done done;
  };
  std::vector<tfs::PredictRequest> requests_;
  std::vector<std::unique_ptr<tfs::PredictionService::Stub>> stubs_;
};

std::vector<size_t> Numbers(size_t first, size_t count) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < count; ++i) numbers.push_back(first + i);
  return numbers;
}

/// What one side did in all rounds.
struct Side {
  Side(const Mesh& mesh, std::vector<size_t> entries, std::vector<size_t> encoders)
      : mesh(mesh), encoders(std::move(encoders)), clients(mesh, entries) {}

  void ClosedRound(bool counts) {
    const auto before = mesh.Runs(encoders);
    const double rate = clients.Closed(kRound);
    const auto after = mesh.Runs(encoders);
    if (!counts) return;
    rates.push_back(rate);
    batches.push_back((after.first - before.first) / (after.second - before.second));
  }

  const Mesh& mesh;
  /// The nodes that run the encoder.
  const std::vector<size_t> encoders;
  Clients clients;
  std::vector<double> rates, batches, p99s;
};

void CheckEqual(Side& a, Side& b) {
  for (size_t client = 0; client < a.clients.size(); ++client) {
    const std::vector<float> ours = a.clients.Ask(client), theirs = b.clients.Ask(client);
    PORTICO_CHECK(ours.size() == kClasses && theirs.size() == kClasses);
    for (size_t i = 0; i < ours.size(); ++i) PORTICO_CHECK(std::abs(ours[i] - theirs[i]) < 1e-4f);
  }
}

void Run(size_t products, Report& report) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, const ModelBuilder& model) {
    model.WriteTo(folder.File(name + "/1/model.onnx"));
  };
  write("encoder", Encoder());
  write("head", HeadAlone());
  std::vector<Mesh::Node> split = {{"hub", "encoder"}}, whole;
  for (size_t i = 0; i < products; ++i) {
    split.push_back({absl::StrCat("p", i), absl::StrCat("product", i)});
    whole.push_back({absl::StrCat("m", i), absl::StrCat("monolith", i)});
    write(split.back().model, Product(i));
    write(whole.back().model, Monolith(i));
  }
  const Mesh hub_mesh(folder.path(), "split", split), monoliths(folder.path(), "whole", whole);
  Side hub(hub_mesh, Numbers(1, products), {0}), apart(monoliths, Numbers(0, products), Numbers(0, products));
  CheckEqual(hub, apart);
  for (int round = -1; round < kRounds; ++round) {
    hub.ClosedRound(round >= 0);
    apart.ClosedRound(round >= 0);
  }
  const double offered = 0.7 * std::min(Median(hub.rates), Median(apart.rates));
  for (int round = 0; round < kRounds; ++round) {
    hub.p99s.push_back(hub.clients.OpenP99(offered, static_cast<uint64_t>(round)));
    apart.p99s.push_back(apart.clients.OpenP99(offered, static_cast<uint64_t>(round)));
  }
  // What the same processes need without portals.
  double parts = 0;
  {
    const Mesh alone(folder.path(), "parts", {{"encoder", "encoder"}, {"head", "head"}});
    Clients(alone, {0}).Closed(kRound);
    Clients(alone, {1}).Closed(kRound);
    parts = alone.ResidentBytes(0) + static_cast<double>(products) * alone.ResidentBytes(1);
  }
  const double hub_bytes = hub_mesh.ResidentBytes(), whole_bytes = monoliths.ResidentBytes();
  std::printf(
      "# hub.%zu: the hub's process has %.0f MB, a product's %.0f MB, a monolith %.0f MB; p99 at %.0f requests/s\n",
      products, hub_mesh.ResidentBytes(0) / 1e6, hub_mesh.ResidentBytes(1) / 1e6, monoliths.ResidentBytes(0) / 1e6,
      offered);
  const auto add = [&](const char* name, const char* unit, double value, double baseline, double at_most,
                       double at_least) {
    Figure figure;
    figure.name = absl::StrCat("hub.", products, ".", name);
    figure.unit = unit;
    figure.value = value;
    figure.baseline = baseline;
    figure.at_most = at_most;
    figure.at_least = at_least;
    report.Add(figure);
  };
  add("memory", "MB", hub_bytes / 1e6, parts / 1e6, 1.1, 0);
  add("saved", "MB", hub_bytes / 1e6, whole_bytes / 1e6, 0, 0);
  add("requests", "requests/s", Median(hub.rates), Median(apart.rates), 0, 1);
  add("batch", "rows", Median(hub.batches), Median(apart.batches), 0, 1);
  add("p99", "ms", Median(hub.p99s), Median(apart.p99s), 1, 0);
}

}  // namespace

std::vector<Scenario> HubScenarios() {
  std::vector<Scenario> scenarios;
  for (const size_t products : {2, 4, 8}) {
    scenarios.push_back({absl::StrCat("hub.", products),
                         absl::StrCat("an encoder of 100 MB behind ", products, " products, beside as many monoliths"),
                         [products](Report& report) { Run(products, report); }});
  }
  return scenarios;
}

}  // namespace portico::bench
