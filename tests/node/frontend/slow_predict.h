#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/model_builder.h"

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

}  // namespace portico
