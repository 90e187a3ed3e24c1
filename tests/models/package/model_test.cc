#include "models/package/model.h"

#include <sys/stat.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ModelTest : public ::testing::Test {
 protected:
  absl::StatusOr<Model> Load(const std::string& path) { return Model::Load(path, store_); }
  absl::StatusOr<Model> FromProto(const ModelBuilder& builder) { return Model::FromProto(builder.Build(), "", store_); }

  /// A model whose weight "w" is float32[4] in `location`; `more` are further entries ("offset", "16").
  std::string WriteExternal(const std::string& location, std::vector<std::pair<std::string, std::string>> more = {}) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 4}).Node("Add", {"x", "w"}, {"y"});
    onnx::TensorProto* w = builder.graph().add_initializer();
    w->set_name("w");
    w->set_data_type(onnx::TensorProto::FLOAT);
    w->add_dims(4);
    w->set_data_location(onnx::TensorProto::EXTERNAL);
    more.emplace_back("location", location);
    for (const auto& [key, value] : more) {
      onnx::StringStringEntryProto* entry = w->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    builder.WriteTo(folder_.File("m/model.onnx"));
    return folder_.File("m/model.onnx");
  }
  static std::string Floats(std::initializer_list<float> values) {
    return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float));
  }
  void ExpectRefused(const std::string& path, const std::string& what) {
    const absl::Status status = Load(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(path), HasSubstr(what)));
  }

  TempFolder folder_;
  WeightStore store_;
};

ModelBuilder Small() {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 2})
      .Output("y", DType::kFloat, {"N", 2})
      .Initializer("w", {2}, {1, 2})
      .Node("Add", {"x", "w"}, {"y"});
  return builder;
}

TEST_F(ModelTest, InitializersMoveOutOfTheProtobuf) {
  Small().WriteTo(folder_.File("model.onnx"));
  const absl::StatusOr<Model> model = Load(folder_.File("model.onnx"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->initializers().at("w").tensor.data<float>()[1], 2.0f);
  ASSERT_EQ(model->proto().graph().initializer_size(), 1);
  EXPECT_EQ(model->proto().graph().initializer(0).raw_data(), "");
  EXPECT_EQ(model->proto().graph().initializer(0).dims(0), 2);
  EXPECT_EQ(model->weight_bytes(), 8u);
  EXPECT_EQ(store_.bytes(), 8u);
}

TEST_F(ModelTest, TiedWeightsCountOnce) {
  ModelBuilder builder = Small();
  builder.Initializer("tied", {2}, {1, 2});
  const absl::StatusOr<Model> model = FromProto(builder);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->weight_bytes(), 8u);
  const auto address = [&](const char* name) { return model->initializers().at(name).tensor.bytes().data(); };
  EXPECT_EQ(address("w"), address("tied"));
}

TEST_F(ModelTest, VersionsShareWeights) {
  Small().WriteTo(folder_.File("1/model.onnx"));
  Small().WriteTo(folder_.File("2/model.onnx"));
  {
    const absl::StatusOr<Model> first = Load(folder_.File("1/model.onnx"));
    const absl::StatusOr<Model> second = Load(folder_.File("2/model.onnx"));
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(store_.bytes(), 8u);
  }
  EXPECT_EQ(store_.bytes(), 0u);
}

TEST_F(ModelTest, PartSharesTheWeightsOfItsSource) {
  const absl::StatusOr<Model> source = FromProto(Small());
  ASSERT_TRUE(source.ok()) << source.status();
  const absl::StatusOr<Model> part = Model::WithWeightsOf(*source, std::make_unique<onnx::ModelProto>(source->proto()));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->initializers().at("w").tensor.bytes().data(), source->initializers().at("w").tensor.bytes().data());
  EXPECT_EQ(*ModelDigest(*part), *ModelDigest(*source));
  ModelBuilder other = Small();
  other.Initializer("v", {1}, {1});
  EXPECT_EQ(Model::WithWeightsOf(*source, other.Build()).status().message(),
            "initializer 'v': got float32[1], want a weight of the source model");
}

TEST_F(ModelTest, BodiesNestedTooDeepAreRefused) {
  ModelBuilder graph;
  graph.Node("Relu", {"x"}, {"y"}).Output("y", DType::kFloat, {});
  for (int i = 0; i < 100; ++i) {
    ModelBuilder outer;
    outer.Node("If", {"b"}, {"y"}, {Body("then_branch", graph.BuildGraph())}).Output("y", DType::kFloat, {});
    graph = outer;
  }
  EXPECT_THAT(std::string(FromProto(graph).status().message()), HasSubstr("nested deeper than 32"));
}

TEST_F(ModelTest, MissingFileIsNotFound) {
  EXPECT_EQ(Load(folder_.File("none.onnx")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelTest, WhatIsNotOnnxIsRefused) {
  ExpectRefused(folder_.Write("text.onnx", "this is not a model at all, just some text that goes on"), "not ONNX");
  ExpectRefused(folder_.Write("empty.onnx", ""), "got no graph");
  ExpectRefused(folder_.Write("zeros.onnx", std::string(1000, '\0')), "not ONNX");
  ExpectRefused(folder_.Folder("folder"), "got no plain file");
}

TEST_F(ModelTest, FileCutAnywhereIsRefused) {
  const std::string whole = Small().Serialize();
  for (size_t length = 0; length < whole.size(); ++length) {
    const absl::Status status = Load(folder_.Write("cut.onnx", whole.substr(0, length))).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << length << " of " << whole.size();
  }
  EXPECT_TRUE(Load(folder_.Write("cut.onnx", whole)).ok());
}

TEST_F(ModelTest, FileOverTwoGibibytesIsRefusedUnread) {
  const std::string path = folder_.Write("big.onnx", "");
  std::filesystem::resize_file(path, uint64_t{1} << 31);  // a hole: takes no space
  ExpectRefused(path, "want at most 2147483647; save its weights as external data");
}

TEST_F(ModelTest, ModelOfManyMegabytesLoads) {
  ModelBuilder builder = Small();
  const int64_t elements = 20 << 20;
  builder.Initializer("big", Tensor::Allocate(DType::kFloat, {elements}));
  builder.WriteTo(folder_.File("model.onnx"));
  const absl::StatusOr<Model> model = Load(folder_.File("model.onnx"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->initializers().at("big").tensor.num_elements(), static_cast<uint64_t>(elements));
}

TEST_F(ModelTest, BadInitializerIsNamed) {
  ModelBuilder builder = Small();
  builder.graph().mutable_initializer(0)->set_raw_data("123");
  builder.WriteTo(folder_.File("model.onnx"));
  ExpectRefused(folder_.File("model.onnx"), "initializer 'w': tensor: got 3 bytes, want 8");
}

TEST_F(ModelTest, TwoInitializersOfOneNameAreRefused) {
  ModelBuilder builder = Small();
  builder.Initializer("w", {1}, {1});
  EXPECT_EQ(FromProto(builder).status().message(), "initializer 'w': got two of that name, want one");
}

TEST_F(ModelTest, SparseInitializersAreRefused) {
  ModelBuilder builder = Small();
  builder.graph().add_sparse_initializer()->mutable_values()->set_name("s");
  EXPECT_THAT(std::string(FromProto(builder).status().message()), HasSubstr("initializer 's': got a sparse tensor"));
}

TEST_F(ModelTest, ExternalDataIsMapped) {
  folder_.Write("m/data/w.bin", std::string(16, 'x') + Floats({1, 2, 3, 4}));
  const absl::StatusOr<Model> model = Load(WriteExternal("data/w.bin", {{"offset", "16"}, {"length", "16"}}));
  ASSERT_TRUE(model.ok()) << model.status();
  const Tensor& w = model->initializers().at("w").tensor;
  EXPECT_EQ(w.data<float>()[3], 4.0f);
  // 16 bytes behind the start of a page: a view of the mapping.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(w.bytes().data()) % 4096, 16u);
  EXPECT_EQ(model->proto().graph().initializer(0).external_data_size(), 0);
  EXPECT_EQ(model->proto().graph().initializer(0).data_location(), onnx::TensorProto::DEFAULT);
}

TEST_F(ModelTest, ExternalDataOverTwoGibibytesIsMapped) {
  const std::string path = folder_.Write("m/w.bin", "");
  const uint64_t offset = (uint64_t{3} << 30) + 64;
  std::filesystem::resize_file(path, offset);
  std::ofstream(path, std::ios::binary | std::ios::app) << Floats({1, 2, 3, 4});
  const absl::StatusOr<Model> model = Load(WriteExternal("w.bin", {{"offset", absl::StrCat(offset)}}));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->initializers().at("w").tensor.data<float>()[3], 4.0f);
}

TEST_F(ModelTest, ExternalDataAtOddOffsetIsAligned) {
  folder_.Write("m/w.bin", "x" + Floats({1, 2, 3, 4}));
  const absl::StatusOr<Model> model = Load(WriteExternal("w.bin", {{"offset", "1"}}));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->initializers().at("w").tensor.data<float>()[3], 4.0f);
}

TEST_F(ModelTest, ExternalDataOutsideThePackageIsRefused) {
  const std::string outside = folder_.Write("secret.bin", Floats({1, 2, 3, 4}));
  folder_.Write("mm/w.bin", Floats({1, 2, 3, 4}));
  ExpectRefused(WriteExternal("../secret.bin"), "initializer 'w': external data '../secret.bin': got a file outside");
  ExpectRefused(WriteExternal("sub/../../secret.bin"), "got a file outside");
  ExpectRefused(WriteExternal(outside), "got a file outside");
  ExpectRefused(WriteExternal("../mm/w.bin"), "got a file outside");
  ExpectRefused(WriteExternal(""), "got a file outside");
  std::filesystem::create_symlink(outside, folder_.File("m/link.bin"));
  ExpectRefused(WriteExternal("link.bin"), "got a file outside");
  std::filesystem::create_directory_symlink(folder_.path(), folder_.File("m/up"));
  ExpectRefused(WriteExternal("up/secret.bin"), "got a file outside");
  std::filesystem::create_directory_symlink(folder_.path() + "/mm", folder_.File("m/neighbour"));
  ExpectRefused(WriteExternal("neighbour/w.bin"), "got a file outside");
}

TEST_F(ModelTest, LinksThatStayInThePackageAreFollowed) {
  folder_.Write("m/real.bin", Floats({1, 2, 3, 4}));
  std::filesystem::create_symlink("real.bin", folder_.File("m/link.bin"));
  EXPECT_TRUE(Load(WriteExternal("link.bin")).ok());
  std::filesystem::create_directory_symlink(folder_.path() + "/m", folder_.path() + "/alias");
  EXPECT_TRUE(Load(folder_.path() + "/alias/model.onnx").ok());
}

TEST_F(ModelTest, ExternalDataThatDoesNotFitIsRefused) {
  folder_.Write("m/w.bin", Floats({1, 2, 3, 4}));
  ExpectRefused(WriteExternal("w.bin", {{"offset", "4"}}), "got a file of 16 bytes, want 16 bytes at offset 4");
  ExpectRefused(WriteExternal("w.bin", {{"offset", "18446744073709551615"}}), "want 16 bytes at offset");
  ExpectRefused(WriteExternal("w.bin", {{"offset", "-1"}}), "got offset '-1'");
  ExpectRefused(WriteExternal("w.bin", {{"length", "12"}}), "got 12 bytes, want 16 for float32[4]");
  ExpectRefused(WriteExternal("w.bin", {{"length", "many"}}), "got length 'many'");
  EXPECT_EQ(Load(WriteExternal("none.bin")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelTest, ModelInMemoryMayNotReadFiles) {
  const std::string path = WriteExternal("/etc/hostname");
  auto proto = std::make_unique<onnx::ModelProto>();
  ASSERT_TRUE(proto->ParseFromString(folder_.Read("m/model.onnx")));
  EXPECT_THAT(std::string(Model::FromProto(std::move(proto), "", store_).status().message()),
              HasSubstr("got a model without a folder"));
}

TEST_F(ModelTest, ExternalDataInsideNodesIsBroughtIn) {
  folder_.Write("m/c.bin", Floats({5, 6}));
  const auto external = [](const char* location) {
    onnx::AttributeProto value = Value("value", Tensor::Of<float>({2}, {0, 0}));
    value.mutable_t()->clear_raw_data();
    value.mutable_t()->set_data_location(onnx::TensorProto::EXTERNAL);
    onnx::StringStringEntryProto* entry = value.mutable_t()->add_external_data();
    entry->set_key("location");
    entry->set_value(location);
    return value;
  };
  ModelBuilder body;
  body.Output("c", DType::kFloat, {2}).Node("Constant", {}, {"c"}, {external("c.bin")});
  ModelBuilder builder;
  builder.Input("b", DType::kBool, {}).Output("y", DType::kFloat, {2});
  builder.Node("If", {"b"}, {"y"}, {Body("then_branch", body.BuildGraph()), Body("else_branch", body.BuildGraph())});
  builder.WriteTo(folder_.File("m/model.onnx"));
  const absl::StatusOr<Model> model = Load(folder_.File("m/model.onnx"));
  ASSERT_TRUE(model.ok()) << model.status();
  const onnx::TensorProto& inner = model->proto().graph().node(0).attribute(0).g().node(0).attribute(0).t();
  EXPECT_EQ(inner.raw_data(), Floats({5, 6}));
  EXPECT_EQ(inner.data_location(), onnx::TensorProto::DEFAULT);

  ModelBuilder bad;
  bad.Output("c", DType::kFloat, {2}).Node("Constant", {}, {"c"}, {external("../c.bin")});
  bad.WriteTo(folder_.File("m/model.onnx"));
  ExpectRefused(folder_.File("m/model.onnx"), "got a file outside");
}

TEST_F(ModelTest, GraphSignatureFollowsTheGraph) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N", 4, "?"}).Input("s", DType::kString, {}).InputWithoutRank("r", DType::kInt8);
  builder.OutputWithoutRank("y", DType::kFloat);
  builder.graph().add_output()->set_name("untyped");
  const absl::StatusOr<Model> model = FromProto(builder);
  ASSERT_TRUE(model.ok()) << model.status();
  const absl::StatusOr<Signature> signature = GraphSignature(*model);
  ASSERT_TRUE(signature.ok()) << signature.status();
  EXPECT_EQ(signature->name, "serving_default");
  ASSERT_EQ(signature->inputs.size(), 3u);
  EXPECT_EQ(signature->inputs[0].ToString(), "float32[N,4,?]");
  EXPECT_EQ(signature->inputs[0].graph_name, "x");
  EXPECT_EQ(signature->inputs[0].axis, AxisKind::kShared);
  EXPECT_EQ(signature->inputs[1].ToString(), "string[]");
  EXPECT_EQ(signature->inputs[2].ToString(), "int8[...]");
  ASSERT_EQ(signature->outputs.size(), 2u);
  EXPECT_EQ(signature->outputs[0].ToString(), "float32[...]");
  EXPECT_EQ(signature->outputs[1].ToString(), "any[...]");
}

TEST_F(ModelTest, InputsWithAnInitializerAreWeights) {
  ModelBuilder builder = Small();
  builder.IrVersion(3).Input("w", DType::kFloat, {2});
  const absl::StatusOr<Model> model = FromProto(builder);
  ASSERT_TRUE(model.ok()) << model.status();
  const absl::StatusOr<Signature> signature = GraphSignature(*model);
  ASSERT_TRUE(signature.ok()) << signature.status();
  ASSERT_EQ(signature->inputs.size(), 1u);
  EXPECT_EQ(signature->inputs[0].name, "x");
}

TEST_F(ModelTest, OnlyDenseTensorsAreServed) {
  const auto message = [this](bool output, void (*set)(onnx::TypeProto*)) {
    ModelBuilder builder = Small();
    onnx::ValueInfoProto* value = output ? builder.graph().add_output() : builder.graph().add_input();
    value->set_name("v");
    if (set != nullptr) set(value->mutable_type());
    const absl::StatusOr<Model> model = FromProto(builder);
    EXPECT_TRUE(model.ok()) << model.status();
    const absl::Status status = GraphSignature(*model).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message(false, [](onnx::TypeProto* type) { type->mutable_sequence_type(); }),
            "input 'v': got a sequence, want a dense tensor; only dense tensors are served");
  EXPECT_THAT(message(true, [](onnx::TypeProto* type) { type->mutable_map_type(); }), HasSubstr("output 'v': got a m"));
  EXPECT_THAT(message(true, [](onnx::TypeProto* type) { type->mutable_optional_type(); }), HasSubstr("an optional"));
  EXPECT_THAT(message(false, [](onnx::TypeProto* type) { type->mutable_sparse_tensor_type(); }), HasSubstr("sparse"));
  EXPECT_THAT(message(false, nullptr), HasSubstr("input 'v': got no type"));
}

}  // namespace
}  // namespace portico
