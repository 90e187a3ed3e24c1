#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// Of the slow model's rows.
inline constexpr int64_t kSlowWidth = 512;

/// A model of which thousands of rows keep a worker busy for long: x → y float32[N,512], `layers` matrix products.
inline void WriteSlowModel(const std::string& file, int layers) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kSlowWidth}).Output("y", DType::kFloat, {"N", kSlowWidth});
  model.Initializer("w",
                    Tensor::Of<float>({kSlowWidth, kSlowWidth}, std::vector<float>(kSlowWidth * kSlowWidth, 1e-3f)));
  for (int i = 0; i < layers; ++i) {
    model.Node("MatMul", {i == 0 ? "x" : absl::StrCat("h", i), "w"},
               {i + 1 == layers ? "y" : absl::StrCat("h", i + 1)});
  }
  model.WriteTo(file);
}

/// A Predict call under way.
struct PredictUnderWay {
  grpc::ClientContext context;
  tensorflow::serving::PredictRequest request;
  tensorflow::serving::PredictResponse response;
  grpc::Status status;
  std::atomic<bool> done{false};
};

inline std::unique_ptr<tensorflow::serving::PredictionService::Stub> PredictStub(const Node& node) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return tensorflow::serving::PredictionService::NewStub(
      grpc::CreateCustomChannel(node.grpc_address(), grpc::InsecureChannelCredentials(), arguments));
}

/// Asks for so many rows. `call` says when it is done.
inline void StartPredict(tensorflow::serving::PredictionService::Stub& stub, PredictUnderWay& call,
                         const std::string& model, int64_t rows) {
  call.request.mutable_model_spec()->set_name(model);
  tensorflow::TensorProto& x = (*call.request.mutable_inputs())["x"];
  x.set_dtype(tensorflow::DT_FLOAT);
  x.mutable_tensor_shape()->add_dim()->set_size(rows);
  x.mutable_tensor_shape()->add_dim()->set_size(kSlowWidth);
  x.set_tensor_content(std::string(static_cast<size_t>(rows * kSlowWidth) * sizeof(float), '\0'));
  stub.async()->Predict(&call.context, &call.request, &call.response, [&call](grpc::Status status) {
    call.status = std::move(status);
    call.done = true;
    call.done.notify_one();
  });
}

/// Until the node's /metrics has `line`; false when that takes over a minute.
inline bool WaitForMetric(const Node& node, const std::string& line) {
  for (const absl::Time until = absl::Now() + absl::Minutes(1); absl::Now() < until;) {
    if (absl::StrContains(RawHttp(node.http_address()).Get("/metrics").body, line)) return true;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return false;
}

/// Rows that keep a worker busy, and layers of the slow model with which that takes about two seconds on this machine:
/// longer than anything that tests do meanwhile. Measured once.
inline constexpr int64_t kBusyRows = 4096;

inline int BusyLayers() {
  static const int layers = [] {
    constexpr int kProbed = 4;
    const TempFolder folder;
    WriteSlowModel(folder.File("slow/1/model.onnx"), kProbed);
    Node::Options options;
    options.workers = 1;
    options.grpc.address = "127.0.0.1:0";
    options.models.push_back({"slow", folder.Folder("slow")});
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    const auto stub = PredictStub(**node);
    absl::Duration fastest = absl::InfiniteDuration();
    for (int i = 0; i < 4; ++i) {
      PredictUnderWay call;
      const absl::Time start = absl::Now();
      StartPredict(*stub, call, "slow", kBusyRows);
      call.done.wait(false);
      EXPECT_TRUE(call.status.ok()) << call.status.error_message();
      fastest = std::min(fastest, absl::Now() - start);
    }
    return static_cast<int>(kProbed * absl::FDivDuration(absl::Seconds(2), fastest)) + 1;
  }();
  return layers;
}

}  // namespace portico
