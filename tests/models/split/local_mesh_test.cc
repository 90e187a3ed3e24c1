#include "models/split/local_mesh.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Models whose portals call packages of a folder.
class LocalMeshTest : public ::testing::Test {
 protected:
  /// FOLDER/NAME/VERSION: out = p − q, times `factor`.
  Digest WriteMinus(const std::string& name, int version, float factor) {
    ModelBuilder model;
    model.Input("p", DType::kFloat, {"N"}).Input("q", DType::kFloat, {"N"}).Output("out", DType::kFloat, {"N"});
    model.Initializer("f", Tensor::Of<float>({}, {factor})).Node("Sub", {"p", "q"}, {"d"});
    model.Node("Mul", {"d", "f"}, {"out"});
    model.WriteTo(folder_.File(absl::StrCat(name, "/", version, "/model.onnx")));
    return *ModelDigest(Load(model));
  }
  /// y = target(a, b).
  static ModelBuilder Caller(const std::string& target, Attrs attrs) {
    ModelBuilder model;
    model.Input("a", DType::kFloat, {"N"}).Input("b", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    model.Portal("Remote", target, {"a", "b"}, {"y"}, {DType::kFloat}, {"N"}, std::move(attrs));
    return model;
  }
  Model Load(const ModelBuilder& builder) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store_);
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  /// Of a = 5 and b = 2.
  absl::StatusOr<float> Ask(const ModelBuilder& builder) {
    CalledModels called({{"", folder_.path()}});
    LocalMesh mesh({.optimize = false, .called = &called});
    const Model model = Load(builder);
    const absl::Status added = mesh.Add("caller", model, *ModelDigest(model));
    if (!added.ok()) return added;
    const auto outputs = mesh.Run({Tensor::Of<float>({1}, {5}), Tensor::Of<float>({1}, {2})});
    if (!outputs.ok()) return outputs.status();
    return outputs->at(0).data<float>()[0];
  }
  std::string ErrorOf(const ModelBuilder& builder) {
    const absl::StatusOr<float> answer = Ask(builder);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition) << answer.status();
    return std::string(answer.status().message());
  }

  TempFolder folder_;
  WeightStore store_;
};

TEST_F(LocalMeshTest, ADigestChoosesTheVersionAndTensorsGoByPlace) {
  const Digest one = WriteMinus("minus", 1, 1);
  const Digest ten = WriteMinus("minus", 2, 10);
  const auto names = Strings("input_names", {"q", "p"});
  EXPECT_EQ(Ask(Caller("minus", {String("digest", one.Hex()), names})).value(), 3);
  EXPECT_EQ(Ask(Caller("minus", {String("digest", ten.Hex()), names})).value(), 30);
  EXPECT_THAT(ErrorOf(Caller("minus", {String("digest", Sha256("none").Hex())})),
              AllOf(HasSubstr("minus/2' of digest " + ten.Short()), HasSubstr("minus/1' of digest " + one.Short()),
                    HasSubstr("--package minus=FOLDER")));
}

TEST_F(LocalMeshTest, WithoutADigestTheHighestVersionIsCalledByName) {
  WriteMinus("minus", 1, 1);
  WriteMinus("minus", 2, 10);
  const auto out = Strings("output_names", {"out"});
  EXPECT_EQ(Ask(Caller("minus", {Strings("input_names", {"p", "q"}), out})).value(), 30);
  EXPECT_EQ(Ask(Caller("minus", {Strings("input_names", {"q", "p"}), out})).value(), -30);
  EXPECT_THAT(ErrorOf(Caller("minus", {Strings("input_names", {"q", "r"}), out})), HasSubstr("got no input 'p'"));
}

TEST_F(LocalMeshTest, SignaturesAreThoseOfThePackage) {
  WriteMinus("minus", 1, 1);
  folder_.Write(
      "minus/1/servable.yaml",
      "signatures:\n  swapped:\n    inputs: {x: {tensor: q}, y: {tensor: p}}\n    outputs: {z: {tensor: out}}\n");
  const Attrs names = {String("signature", "swapped"), Strings("input_names", {"x", "y"}),
                       Strings("output_names", {"z"})};
  EXPECT_EQ(Ask(Caller("minus", names)).value(), -3);
  EXPECT_THAT(ErrorOf(Caller("minus", {String("signature", "other"), Strings("output_names", {"out"})})),
              HasSubstr("got signature 'other', which"));
}

TEST_F(LocalMeshTest, ModelsThatCallInACircleAreRefused) {
  Caller("loop", {Strings("input_names", {"a", "b"}), Strings("output_names", {"y"})})
      .WriteTo(folder_.File("loop/1/model.onnx"));
  EXPECT_THAT(ErrorOf(Caller("loop", {Strings("input_names", {"a", "b"}), Strings("output_names", {"y"})})),
              HasSubstr("got more than 16 portals one behind the other"));
}

TEST_F(LocalMeshTest, WhatCannotBeReadIsNamed) {
  folder_.Write("broken/1/model.onnx", "not ONNX");
  EXPECT_THAT(ErrorOf(Caller("broken", {Strings("input_names", {"a", "b"})})),
              AllOf(HasSubstr("broken/1', which cannot be read"), HasSubstr("model.onnx")));
  // Names do not lead out of the places.
  WriteMinus("minus", 1, 1);
  const Attrs names = {Strings("input_names", {"p", "q"}), Strings("output_names", {"out"})};
  EXPECT_EQ(Ask(Caller("minus", names)).value(), 3);
  for (const std::string& target : {folder_.path() + "/minus", std::string("minus/../minus")}) {
    EXPECT_THAT(ErrorOf(Caller(target, names)), HasSubstr("want segments of letters"));
  }
  EXPECT_THAT(ErrorOf(Caller("nowhere", {Strings("input_names", {"a", "b"})})), HasSubstr("got no such package"));
}

}  // namespace
}  // namespace portico
