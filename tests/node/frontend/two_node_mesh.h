#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "inference/grpc_service.grpc.pb.h"
#include "node/node.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// Nodes with a model `front` and a model `mid`, front being nothing but a portal to mid; what mid is, tests say. For
/// what clients of either are told beside the answer. Both have x float[N,2] → y float[N,2].
class TwoNodeMesh : public ::testing::Test {
 private:
  /// Outlives the nodes, which look into it.
  TempFolder folder_;

 protected:
  /// `mid`: a model whose portal calls "deep", which nobody serves. `policies`: of both nodes.
  void Start(const ModelBuilder& mid, const std::map<std::string, RoutePolicy>& policies = {}) {
    mid.WriteTo(folder_.File("mid/1/model.onnx"));
    mid_ = StartNode("mid", "deep", "tcp://127.0.0.1:1", policies);
    ModelBuilder front;
    front.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    front.Portal("Remote", "mid", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    front.WriteTo(folder_.File("front/1/model.onnx"));
    front_ = StartNode("front", "mid", mid_->peer_endpoint(), policies);
  }

  /// The trailing metadata of that name; empty where there is none.
  static std::string Metadata(const grpc::ClientContext& context, const std::string& name) {
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto found = metadata.find(name);
    return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
  }
  /// Requests of `front` with rows of two.
  static tensorflow::serving::PredictRequest PredictOf(const std::vector<float>& values) {
    tensorflow::serving::PredictRequest request;
    request.mutable_model_spec()->set_name("front");
    tensorflow::TensorProto& x = (*request.mutable_inputs())["x"];
    x.set_dtype(tensorflow::DT_FLOAT);
    x.mutable_tensor_shape()->add_dim()->set_size(static_cast<int64_t>(values.size() / 2));
    x.mutable_tensor_shape()->add_dim()->set_size(2);
    for (const float value : values) x.add_float_val(value);
    return request;
  }
  static inference::ModelInferRequest InferOf(const std::vector<float>& values) {
    inference::ModelInferRequest request;
    request.set_model_name("front");
    inference::ModelInferRequest::InferInputTensor& x = *request.add_inputs();
    x.set_name("x");
    x.set_datatype("FP32");
    x.add_shape(static_cast<int64_t>(values.size() / 2));
    x.add_shape(2);
    for (const float value : values) x.mutable_contents()->add_fp32_contents(value);
    return request;
  }
  /// What the three gRPC calls of `front` say: the metadata `header` of Predict and ModelInfer, the parameter
  /// `parameter` of ModelInfer alone and in a stream, which has one set of metadata for all its answers.
  std::vector<std::string> GrpcNotes(const std::vector<float>& values, const std::string& header,
                                     const std::string& parameter) {
    std::vector<std::string> notes;
    const auto channel = grpc::CreateChannel(front_->grpc_address(), grpc::InsecureChannelCredentials());
    {
      grpc::ClientContext context;
      tensorflow::serving::PredictResponse response;
      const grpc::Status status =
          tensorflow::serving::PredictionService::NewStub(channel)->Predict(&context, PredictOf(values), &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      notes.push_back(Metadata(context, header));
    }
    const auto stub = inference::GRPCInferenceService::NewStub(channel);
    {
      grpc::ClientContext context;
      inference::ModelInferResponse response;
      const grpc::Status status = stub->ModelInfer(&context, InferOf(values), &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      notes.push_back(Metadata(context, header));
      notes.push_back(response.parameters().contains(parameter) ? response.parameters().at(parameter).string_param()
                                                                : "");
    }
    grpc::ClientContext context;
    const auto stream = stub->ModelStreamInfer(&context);
    EXPECT_TRUE(stream->Write(InferOf(values)));
    inference::ModelStreamInferResponse response;
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error_message(), "");
    const auto& parameters = response.infer_response().parameters();
    notes.push_back(parameters.contains(parameter) ? parameters.at(parameter).string_param() : "");
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
    return notes;
  }

  std::unique_ptr<Node> mid_, front_;

 private:
  std::unique_ptr<Node> StartNode(const std::string& name, const std::string& target, const std::string& peer,
                                  const std::map<std::string, RoutePolicy>& policies) {
    Node::Options options;
    options.name = name;
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.peer = "tcp://127.0.0.1:0";
    options.models.push_back({name, folder_.Folder(name)});
    options.peers[target] = {peer};
    options.policies = policies;
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    return *std::move(node);
  }
};

}  // namespace portico
