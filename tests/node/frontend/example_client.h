#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "tensorflow_serving/inference.pb.h"
#include "tensorflow_serving/predict.grpc.pb.h"

namespace portico {

/// Features of an example of the grade model.
inline tensorflow::Example GradeExample(const std::vector<float>& x, const std::vector<int64_t>& k,
                                        const std::vector<std::string>& tag) {
  tensorflow::Example example;
  auto& features = *example.mutable_features()->mutable_feature();
  for (const float value : x) features["x"].mutable_float_list()->add_value(value);
  for (const int64_t value : k) features["k"].mutable_int64_list()->add_value(value);
  for (const std::string& value : tag) features["tag"].mutable_bytes_list()->add_value(value);
  return example;
}

/// Two examples: scores {11, 22} tagged a, b and {0.5, -1} tagged c, d.
inline tensorflow::serving::Input GradeInput() {
  tensorflow::serving::Input input;
  *input.mutable_example_list()->add_examples() = GradeExample({1, 2}, {10, 20}, {"a", "b"});
  *input.mutable_example_list()->add_examples() = GradeExample({0.5, -2}, {0, 1}, {"c", "d"});
  return input;
}

/// Calls the RPCs of the TensorFlow Serving API that take Examples, through generated stubs.
class ExampleClient {
 public:
  explicit ExampleClient(const std::string& address)
      : stub_(tensorflow::serving::PredictionService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

  grpc::Status Classify(const tensorflow::serving::ClassificationRequest& request,
                        tensorflow::serving::ClassificationResponse* response) {
    grpc::ClientContext context;
    return stub_->Classify(&context, request, response);
  }
  grpc::Status Regress(const tensorflow::serving::RegressionRequest& request,
                       tensorflow::serving::RegressionResponse* response) {
    grpc::ClientContext context;
    return stub_->Regress(&context, request, response);
  }
  grpc::Status MultiInference(const tensorflow::serving::MultiInferenceRequest& request,
                              tensorflow::serving::MultiInferenceResponse* response) {
    grpc::ClientContext context;
    return stub_->MultiInference(&context, request, response);
  }

 private:
  const std::unique_ptr<tensorflow::serving::PredictionService::Stub> stub_;
};

}  // namespace portico
