#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/tfs_client.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "models/split/submodel.h"
#include "tests/integration/cli_folder.h"
#include "tests/integration/portico_command.h"
#include "tests/models/split/split_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ShareCliTest : public CliFolder {
 protected:
  /// digit.onnx and parity.onnx: one encoder, two heads.
  void WriteModels() {
    DigitsLike().WriteTo(folder_.File("digit.onnx"));
    ModelBuilder parity;
    parity.Input("pixels", DType::kFloat, {"batch", 8})
        .Output("odd", DType::kFloat, {"batch", 1})
        .Initializer("head", Weights({4, 1}, 0.7f))
        .Initializer("bias", Weights({4}, 0.1f))
        .Initializer("weight", Weights({8, 4}, -0.5f))
        .Node("MatMul", {"pixels", "weight"}, {"a"})
        .Node("Add", {"a", "bias"}, {"b"})
        .Node("Relu", {"b"}, {"c"})
        .Node("MatMul", {"c", "head"}, {"d"})
        .Node("Sigmoid", {"d"}, {"odd"});
    parity.WriteTo(folder_.File("parity.onnx"));
  }
};

TEST_F(ShareCliTest, ProposesAndWritesNothing) {
  WriteModels();
  const Result result = Portico("share digit.onnx parity.onnx --min-bytes 100");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, AllOf(HasSubstr("MODULE"), HasSubstr("hub/digit-shared  digit parity      3    144 B  144 B"),
                                HasSubstr("64 FLOP"), HasSubstr("in digit: image -> features\n"),
                                HasSubstr("in parity: pixels -> c\n"), HasSubstr("saved: 144 B of "),
                                HasSubstr("nothing was written; --out DIR")));
  EXPECT_FALSE(Exists("packages"));
  const Result dry = Portico("share digit.onnx parity.onnx --min-bytes 100 --out packages --dry-run");
  EXPECT_EQ(dry.exit_code, 0);
  EXPECT_EQ(dry.out, result.out);
  EXPECT_FALSE(Exists("packages"));
}

TEST_F(ShareCliTest, NothingInCommonIsNoError) {
  WriteModels();
  DigitsLike(0.25f).WriteTo(folder_.File("other.onnx"));
  ModelBuilder stranger;
  stranger.Input("x", DType::kFloat, {"N", 8}).Output("y", DType::kFloat, {"N", 8}).Node("Neg", {"x"}, {"y"});
  stranger.WriteTo(folder_.File("stranger.onnx"));
  const Result result = Portico("share digit.onnx stranger.onnx --min-bytes 1 --out packages");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("nothing to share: 2 models"));
  EXPECT_FALSE(Exists("packages"));
  const Result small = Portico("share digit.onnx parity.onnx");
  EXPECT_EQ(small.exit_code, 0);
  EXPECT_THAT(small.out, AllOf(HasSubstr("nothing to share"), HasSubstr("--min-bytes allows less")));
}

/// The demo's models, trained and exported together, as two files that know nothing of each other.
TEST_F(ShareCliTest, WhatIsWrittenAnswersThroughAMeshAsTheModelsDid) {
  const std::string out = folder_.path() + "/packages";
  const std::string digit = PORTICO_SOURCE_DIR "/examples/digits/digit.onnx";
  const std::string parity = PORTICO_SOURCE_DIR "/examples/digits/parity.onnx";
  const Result share = Portico(absl::StrCat("share '", digit, "' '", parity,
                                            "' --min-bytes 1KiB --name hub/encoder --out '", out, "' --version 3"));
  ASSERT_EQ(share.exit_code, 0) << share.err;
  EXPECT_THAT(share.out, AllOf(HasSubstr("verified: digit, 3 runs equal"), HasSubstr("verified: parity, 3 runs equal"),
                               HasSubstr("module hub/encoder: "), HasSubstr("packages/hub/encoder/3")));
  // The mesh that it prints, on ports that are free.
  const std::vector<std::string> parts = absl::StrSplit(share.out, "mesh.yaml that serves it:\n");
  ASSERT_EQ(parts.size(), 2u);
  const std::string mesh =
      folder_.Write("mesh.yaml", absl::StrReplaceAll(parts[1], {{"grpc: 8500, http: 8501", "grpc: 0, http: 0"}}));
  PorticoCommand up({"up", mesh, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'shared' is ready")) << up.output();
  const auto status = ReadNodeStatus(folder_.path() + "/run/status/apps-0.json");
  ASSERT_TRUE(status.ok()) << status.status();
  TfsClient client(status->grpc);

  std::vector<float> pixels(5 * 64);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>((i * 7) % 17);
  const Tensor image = Tensor::Of<float>({5, 64}, absl::MakeConstSpan(pixels));
  for (const std::string& name : {std::string("digit"), std::string("parity")}) {
    WeightStore store;
    const auto model = Model::Load(name == "digit" ? digit : parity, store);
    ASSERT_TRUE(model.ok()) << model.status();
    auto runnable = MakeRunnable(*model, {});
    ASSERT_TRUE(runnable.ok()) << runnable.status();
    const auto session = Session::Create(runnable->proto, std::move(runnable->weights), {});
    ASSERT_TRUE(session.ok()) << session.status();
    const auto want = (*session)->Run({image});
    ASSERT_TRUE(want.ok()) << want.status();
    const auto got = client.Predict(name, "", {{(*session)->inputs()[0].name, image}}, {});
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_EQ(got->outputs.size(), want->size());
    for (size_t i = 0; i < want->size(); ++i) {
      const auto answer = std::find_if(got->outputs.begin(), got->outputs.end(),
                                       [&](const auto& each) { return each.name == (*session)->outputs()[i].name; });
      ASSERT_NE(answer, got->outputs.end());
      const absl::Status equal = CompareTensors(answer->tensor, (*want)[i]);
      EXPECT_TRUE(equal.ok()) << name << ": " << equal;
    }
  }
}

TEST_F(ShareCliTest, ErrorsGoToStandardErrorAndNothingIsWritten) {
  WriteModels();
  const Result one = Portico("share digit.onnx --out packages");
  EXPECT_EQ(one.exit_code, 1);
  EXPECT_EQ(one.out, "");
  EXPECT_THAT(one.err, HasSubstr("want two at least"));
  const Result twice = Portico("share digit.onnx digit.onnx --out packages");
  EXPECT_EQ(twice.exit_code, 1);
  EXPECT_THAT(twice.err, AllOf(HasSubstr("product 'digit'"), HasSubstr("NAME=MODEL.ONNX")));
  const Result named = Portico("share digit.onnx other=digit.onnx --min-bytes 1 --out packages/named");
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_TRUE(Exists("packages/named/other/1/model.onnx"));
  // What was shared has a portal, and shares what it has left.
  const Result again = Portico("share packages/named/other/1/model.onnx packages/named/digit/1/model.onnx");
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("nothing to share"));
  folder_.Write("broken.onnx", "not ONNX");
  const Result broken = Portico("share digit.onnx broken.onnx");
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_THAT(broken.err, HasSubstr("broken.onnx"));
  EXPECT_EQ(Portico("share digit.onnx parity.onnx --min-bytes lots").exit_code, 1);
  EXPECT_EQ(Portico("share digit.onnx nowhere.onnx").exit_code, 1);
}

TEST_F(ShareCliTest, SamplesAreOfEachProduct) {
  WriteModels();
  folder_.Write("samples/digit/one/input_0.pb", TensorToProto("", Weights({2, 8}, 0)).SerializeAsString());
  folder_.Write("samples/parity/one/input_0.pb", TensorToProto("", Weights({5, 8}, 1)).SerializeAsString());
  const Result result = Portico("share digit.onnx parity.onnx --min-bytes 1 --samples samples --out packages");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("verified: digit, 1 run equal"), HasSubstr("verified: parity, 1 run equal")));
}

TEST_F(ShareCliTest, HelpShowsAnExample) {
  const Result result = Portico("share --help");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("Example:\n  portico share"));
}

}  // namespace
}  // namespace portico
