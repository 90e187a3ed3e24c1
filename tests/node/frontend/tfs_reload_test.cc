// HandleReloadConfigRequest, through a node.

#include <string>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/node.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tests/node/frontend/grade_model.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;
using ::testing::HasSubstr;

class TfsReloadTest : public ::testing::Test {
 protected:
  TfsReloadTest() {
    for (const int version : {1, 2, 3}) WriteGradeModel(folder_, "first", version);
    WriteGradeModel(folder_, "second", 7);
    Node::Options options;
    options.grpc.address = "127.0.0.1:0";
    options.models = {{"first", folder_.Folder("first")}};
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
    stub_ = tfs::ModelService::NewStub(grpc::CreateChannel(node_->grpc_address(), grpc::InsecureChannelCredentials()));
  }

  tfs::ModelConfig* AddModel(const std::string& name, tfs::ReloadConfigRequest* request) {
    tfs::ModelConfig* model = request->mutable_config()->mutable_model_config_list()->add_config();
    model->set_name(name);
    model->set_base_path(folder_.path() + "/" + name);
    model->set_model_platform("tensorflow");
    return model;
  }
  grpc::Status Reload(const tfs::ReloadConfigRequest& request) {
    response_.Clear();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    return stub_->HandleReloadConfigRequest(&context, request, &response_);
  }
  /// The version that a reference means; −1: none.
  int64_t VersionOf(ServableRef ref) {
    const auto servable = node_->inference().servables().Resolve(ref);
    return servable.ok() ? (*servable)->version() : -1;
  }
  void ExpectRejected(const tfs::ReloadConfigRequest& request, const std::string& message) {
    const grpc::Status status = Reload(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
    EXPECT_EQ(VersionOf({.name = "first"}), 3);
    EXPECT_EQ(VersionOf({.name = "second"}), -1);
  }

  const TempFolder folder_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<tfs::ModelService::Stub> stub_;
  tfs::ReloadConfigResponse response_;
};

TEST_F(TfsReloadTest, AnswersWhenTheNewModelsAreAvailable) {
  tfs::ReloadConfigRequest request;
  tfs::ModelConfig* first = AddModel("first", &request);
  first->mutable_model_version_policy()->mutable_specific()->add_versions(1);
  first->mutable_model_version_policy()->mutable_specific()->add_versions(2);
  (*first->mutable_version_labels())["stable"] = 1;
  AddModel("second", &request);
  const grpc::Status status = Reload(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response_.status().error_code(), 0);
  EXPECT_EQ(VersionOf({.name = "second"}), 7);
  EXPECT_EQ(VersionOf({.name = "first"}), 2);
  EXPECT_EQ(VersionOf({.name = "first", .label = "stable"}), 1);
}

TEST_F(TfsReloadTest, ModelsThatAreLeftOutGo) {
  tfs::ReloadConfigRequest request;
  AddModel("second", &request);
  ASSERT_TRUE(Reload(request).ok());
  EXPECT_EQ(VersionOf({.name = "second"}), 7);
  EXPECT_FALSE(node_->inference().servables().Has("first"));
}

TEST_F(TfsReloadTest, RejectedConfigurationChangesNothing) {
  tfs::ReloadConfigRequest request;
  ExpectRejected(request, "Only ModelConfigList is currently supported");
  AddModel("second", &request);
  AddModel("second", &request);
  ExpectRejected(request, "second");
  request.mutable_config()->mutable_model_config_list()->mutable_config(1)->set_name("");
  ExpectRejected(request, "name");
  request.mutable_config()->mutable_model_config_list()->mutable_config(1)->set_name("third");
  request.mutable_config()->mutable_model_config_list()->mutable_config(1)->set_model_platform("caffe");
  ExpectRejected(request, "model 'third': model_platform: got 'caffe'");
  auto& third = *request.mutable_config()->mutable_model_config_list()->mutable_config(1);
  third.set_model_platform("onnx");
  third.mutable_model_version_policy()->mutable_specific();
  ExpectRejected(request, "got no versions");
}

TEST_F(TfsReloadTest, ModelThatCannotLoadIsTold) {
  // Its version folder is missing: the client learns of it by the call's deadline at the latest, and others serve on.
  tfs::ReloadConfigRequest request;
  AddModel("first", &request);
  AddModel("second", &request)->set_base_path(folder_.path() + "/nowhere");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(3));
  const grpc::Status status = stub_->HandleReloadConfigRequest(&context, request, &response_);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(VersionOf({.name = "first"}), 3);
}

}  // namespace
}  // namespace portico
