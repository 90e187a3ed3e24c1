#include "node/frontend/grpc_server.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/frontend/tfs_grpc.h"
#include "tensorflow_serving/predict.grpc.pb.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
namespace tfs = ::tensorflow::serving;

/// Names a model that does not exist, padded to `bytes`.
grpc::Status Ask(grpc::ChannelInterface& channel, size_t bytes) {
  const auto stub =
      tfs::PredictionService::NewStub(std::shared_ptr<grpc::ChannelInterface>(std::shared_ptr<void>(), &channel));
  tfs::PredictRequest request;
  request.mutable_model_spec()->set_name(std::string(bytes, 'x'));
  tfs::PredictResponse response;
  grpc::ClientContext context;
  return stub->Predict(&context, request, &response);
}

/// A server of its own for the models of a serving node.
class GrpcServerTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<GrpcServer>> Start(GrpcServer::Options options) {
    return GrpcServer::Start(std::move(options), frontend_->services());
  }

  ServingNode serving_;
  Traces traces_{{}, MetricRegistry::Null(), nullptr};
  Access access_;
  const Entrance entrance_{serving_.node().inference(), traces_, access_};
  const std::unique_ptr<TfsGrpcFrontend> frontend_ = TfsGrpcFrontend::Create({}, entrance_);
};

TEST_F(GrpcServerTest, TakenAddressIsAnError) {
  const auto second = Start({.address = serving_.node().grpc_address()});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(serving_.node().grpc_address()));
}

TEST_F(GrpcServerTest, MessageOverTheLimitIsRefused) {
  const auto small = Start({.max_message_bytes = 1000});
  ASSERT_TRUE(small.ok()) << small.status();
  const auto channel = grpc::CreateChannel((*small)->address(), grpc::InsecureChannelCredentials());
  EXPECT_EQ(Ask(*channel, 100).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Ask(*channel, 2000).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GrpcServerTest, AnswersOverAUnixSocket) {
  const TempFolder folder;
  const auto server = Start({.address = "", .socket_path = folder.File("grpc.sock")});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->address(), "");
  const auto channel = grpc::CreateChannel("unix:" + folder.File("grpc.sock"), grpc::InsecureChannelCredentials());
  EXPECT_EQ(Ask(*channel, 10).error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace portico
