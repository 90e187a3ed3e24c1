#include <algorithm>
#include <filesystem>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/split/split.h"
#include "tests/models/split/split_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Every file and folder below `folder`, relative to it.
std::set<std::string> Contents(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    names.insert(fs::relative(entry.path(), folder).string());
  }
  return names;
}

class WriteTest : public ::testing::Test {
 protected:
  std::vector<SplitModel> SplitDigits(float first_weight = -0.5f) {
    auto result = split_(DigitsLike(first_weight), {Part("hub/encoder", {}, {"features"})});
    PORTICO_CHECK(result.ok());
    return *std::move(result);
  }

  TempFolder folder_;
  Splitting split_;
};

TEST_F(WriteTest, WritesVersionFoldersThatLoadWithTheSameDigest) {
  const auto split = SplitDigits();
  const std::string out = folder_.path() + "/not/yet/there";
  const absl::Status status = WriteSplit(split, out, 3);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(Contents(out), ElementsAre("hub", "hub/encoder", "hub/encoder/3", "hub/encoder/3/model.onnx", "product",
                                         "product/3", "product/3/model.onnx"));
  for (const SplitModel& model : split) {
    WeightStore store;
    const auto loaded = Model::Load(out + "/" + model.name + "/3/model.onnx", store);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(*ModelDigest(*loaded), model.digest);
  }
}

TEST_F(WriteTest, LeavesAnExistingFolderOfTheSameDigestAsItIs) {
  ASSERT_TRUE(WriteSplit(SplitDigits(), folder_.path(), 1).ok());
  const fs::path model = fs::path(folder_.path()) / "hub/encoder/1/model.onnx";
  const auto time = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(model, time);
  fs::remove_all(fs::path(folder_.path()) / "product");
  ASSERT_TRUE(WriteSplit(SplitDigits(), folder_.path(), 1).ok());
  EXPECT_EQ(fs::last_write_time(model), time);
  EXPECT_TRUE(fs::exists(fs::path(folder_.path()) / "product/1/model.onnx"));
}

TEST_F(WriteTest, RefusesAFolderOfAnotherDigestAndWritesNothing) {
  auto split = SplitDigits();
  std::vector<SplitModel> encoder;
  encoder.push_back(std::move(split[1]));
  ASSERT_TRUE(WriteSplit(encoder, folder_.path(), 1).ok());
  const std::set<std::string> before = Contents(folder_.path());
  const absl::Status status = WriteSplit(SplitDigits(0.75f), folder_.path(), 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("hub/encoder/1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--version"));
  EXPECT_EQ(Contents(folder_.path()), before);
  EXPECT_TRUE(WriteSplit(SplitDigits(0.75f), folder_.path(), 2).ok());
}

TEST_F(WriteTest, RefusesAFolderThatHoldsNoModel) {
  folder_.Write("product/1/notes.txt", "mine");
  EXPECT_EQ(WriteSplit(SplitDigits(), folder_.path(), 1).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Contents(folder_.path()), ElementsAre("product", "product/1", "product/1/notes.txt"));
}

TEST_F(WriteTest, RemovesWhatItMadeWhenAModelCannotBeWritten) {
  folder_.Write("product", "a file where a folder has to be");
  const absl::Status status = WriteSplit(SplitDigits(), folder_.path(), 1);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(Contents(folder_.path()), ElementsAre("product"));
}

TEST_F(WriteTest, RefusesNamesThatLeaveTheFolder) {
  auto split = SplitDigits();
  split[1].name = "../encoder";
  EXPECT_EQ(WriteSplit(split, folder_.Folder("out"), 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Contents(folder_.path()), ElementsAre("out"));
  EXPECT_EQ(WriteSplit(SplitDigits(), folder_.path(), 0).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(WriteTest, SplitsModelsWithExternalData) {
  // Over 1 MiB of weights, in a file beside the model.
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 600})
      .Output("y", DType::kFloat, {"N", 600})
      .Node("MatMul", {"x", "w1"}, {"h"})
      .Node("MatMul", {"h", "w2"}, {"y"});
  std::string data;
  for (const auto& [name, first] : {std::pair("w1", 0.001f), std::pair("w2", -0.002f)}) {
    onnx::TensorProto* weight = builder.graph().add_initializer();
    weight->set_name(name);
    weight->set_data_type(onnx::TensorProto::FLOAT);
    weight->add_dims(600);
    weight->add_dims(600);
    weight->set_data_location(onnx::TensorProto::EXTERNAL);
    const Tensor tensor = Weights({600, 600}, first);
    for (const auto& [key, value] :
         {std::pair("location", std::string("data.bin")), std::pair("offset", std::to_string(data.size())),
          std::pair("length", std::to_string(tensor.bytes().size()))}) {
      auto* entry = weight->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    data += std::string(tensor.bytes());
  }
  folder_.Write("original/data.bin", data);
  builder.WriteTo(folder_.File("original/model.onnx"));
  const auto model = Model::Load(folder_.path() + "/original/model.onnx", split_.store);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto split = split_(*model, {Part("part", {}, {"h"})});
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ((*split)[1].model.initializers().at("w1").tensor.bytes().data(),
            model->initializers().at("w1").tensor.bytes().data());
  const auto report = VerifySplit(*model, *split, {});
  ASSERT_TRUE(report.ok()) << report.status();
  const std::string out = folder_.Folder("out");
  const absl::Status status = WriteSplit(*split, out, 1);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Contents(out).contains("part/1/weights.bin"));
  const auto loaded = Model::Load(out + "/part/1/model.onnx", split_.store);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(*ModelDigest(*loaded), (*split)[1].digest);
}

}  // namespace
}  // namespace portico
