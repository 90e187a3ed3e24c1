#include <filesystem>

#include "base/atomic_file.h"
#include "gtest/gtest.h"
#include "models/package/model.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

class ModelSaveTest : public ::testing::Test {
 protected:
  Model FromProto(const ModelBuilder& builder) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store_);
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  /// `model` saved and loaded again.
  Model Reloaded(const Model& model) {
    const absl::Status saved = model.Save(folder_.path());
    EXPECT_TRUE(saved.ok()) << saved;
    absl::StatusOr<Model> loaded = Model::Load(folder_.path() + "/model.onnx", store_);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    PORTICO_CHECK(loaded.ok());
    return *std::move(loaded);
  }
  onnx::ModelProto Parsed() {
    onnx::ModelProto proto;
    EXPECT_TRUE(proto.ParseFromString(folder_.Read("model.onnx")));
    return proto;
  }

  TempFolder folder_;
  WeightStore store_;
};

Tensor Ramp(int64_t elements, float first) {
  Tensor tensor = Tensor::Allocate(DType::kFloat, {elements});
  auto* out = reinterpret_cast<float*>(tensor.mutable_bytes());
  for (int64_t i = 0; i < elements; ++i) out[i] = first + static_cast<float>(i);
  return tensor;
}

TEST_F(ModelSaveTest, SmallModelIsOneFile) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Initializer("w", {2}, {1, 2});
  builder.Initializer("s", Tensor::OfStrings({2}, std::vector<std::string>{"a", "bc"})).Node("Add", {"x", "w"}, {"y"});
  const Model model = FromProto(builder);
  const Model loaded = Reloaded(model);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/weights.bin"));
  EXPECT_EQ(Parsed().graph().initializer(0).raw_data().size(), 8u);
  EXPECT_EQ(loaded.initializers().at("s").tensor.StringAt(1), "bc");
  EXPECT_EQ(*ModelDigest(model), *ModelDigest(loaded));
}

TEST_F(ModelSaveTest, LargeWeightsGoToAFileOfTheirOwnOncePerDigest) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  builder.Initializer("odd", Ramp(333, 7)).Initializer("big", Ramp(1 << 18, 0)).Initializer("tied", Ramp(1 << 18, 0));
  builder.Initializer("small", {1}, {3});
  builder.Node("Sum", {"x", "odd", "big", "tied", "small"}, {"y"});
  const Model model = FromProto(builder);
  const Model loaded = Reloaded(model);
  EXPECT_EQ(*ModelDigest(model), *ModelDigest(loaded));
  EXPECT_EQ(store_.bytes(), model.weight_bytes());
  // 333 floats, up to the next multiple of 64, then one copy of the tied weights.
  EXPECT_EQ(std::filesystem::file_size(folder_.path() + "/weights.bin"), 1344u + (4u << 18));
  const onnx::ModelProto saved = Parsed();
  for (const onnx::TensorProto& initializer : saved.graph().initializer()) {
    EXPECT_EQ(initializer.data_location() == onnx::TensorProto::EXTERNAL, initializer.name() != "small");
    for (const onnx::StringStringEntryProto& entry : initializer.external_data()) {
      if (entry.key() != "offset") continue;
      EXPECT_EQ(std::stoull(entry.value()) % 64, 0u) << initializer.name();
    }
  }
  EXPECT_EQ(loaded.initializers().at("tied").tensor.data<float>()[1000], 1000.0f);
}

TEST_F(ModelSaveTest, SavingOverTheFilesItWasLoadedFromWorks) {
  ModelBuilder builder;
  builder.Output("y", DType::kFloat, {1 << 19}).Initializer("w", Ramp(1 << 19, 1)).Node("Relu", {"w"}, {"y"});
  Digest digest;
  {
    const Model model = FromProto(builder);
    digest = *ModelDigest(model);
    ASSERT_TRUE(model.Save(folder_.path()).ok());
  }
  absl::StatusOr<Model> mapped = Model::Load(folder_.path() + "/model.onnx", store_);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ(*ModelDigest(Reloaded(*mapped)), digest);
}

TEST_F(ModelSaveTest, NothingButTheModelStaysInTheFolder) {
  ModelBuilder builder;
  builder.Output("y", DType::kFloat, {1 << 19}).Initializer("w", Ramp(1 << 19, 1)).Node("Relu", {"w"}, {"y"});
  ASSERT_TRUE(FromProto(builder).Save(folder_.path()).ok());
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_TRUE(entry.path().filename() == "model.onnx" || entry.path().filename() == "weights.bin") << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST_F(ModelSaveTest, MissingFolderIsReported) {
  const absl::Status status = FromProto(ModelBuilder()).Save(folder_.path() + "/none");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST_F(ModelSaveTest, FileThatIsNotCommittedLeavesTheOldOne) {
  const std::string path = folder_.Write("f", "old");
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Append("new").ok());
  }
  EXPECT_EQ(folder_.Read("f"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  ASSERT_TRUE(file.ok() && file->Append("new").ok());
  EXPECT_EQ(*file->Align(8), 8u);
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(folder_.Read("f"), std::string("new\0\0\0\0\0", 8));
}

}  // namespace
}  // namespace portico
