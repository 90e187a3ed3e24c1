#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simdjson.h"
#include "tests/integration/cli_folder.h"
#include "tests/models/split/split_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SplitCliTest : public CliFolder {
 protected:
  void WriteDigits(const std::string& plan = "parts: [{name: hub/encoder, outputs: [features]}]\n") {
    DigitsLike().WriteTo(folder_.File("digit.onnx"));
    folder_.Write("plan.yaml", plan);
  }
};

TEST_F(SplitCliTest, SplitsVerifiesWritesAndReports) {
  WriteDigits();
  const Result result = Portico("split digit.onnx --plan plan.yaml --out packages --version 2");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, AllOf(HasSubstr("product digit: 3 nodes, 48 B of weights, digest "),
                                HasSubstr("part hub/encoder: 3 nodes, 144 B of weights, digest "),
                                HasSubstr("in   image float32[N,8]"), HasSubstr("out  features float32[N,4]"),
                                HasSubstr("packages/hub/encoder/2"), HasSubstr("verified: 3 runs equal"),
                                HasSubstr("largest difference is")));
  EXPECT_TRUE(Exists("packages/digit/2/model.onnx"));
  EXPECT_TRUE(Exists("packages/hub/encoder/2/model.onnx"));
}

TEST_F(SplitCliTest, InspectShowsWhatAPackageIs) {
  WriteDigits();
  ASSERT_EQ(Portico("split digit.onnx --plan plan.yaml --out packages").exit_code, 0);
  const Result encoder = Portico("inspect packages/hub/encoder");
  ASSERT_EQ(encoder.exit_code, 0) << encoder.err;
  EXPECT_THAT(encoder.out, AllOf(HasSubstr("encoder version 1"), HasSubstr("in  image float32[N,8]  rows (inferred)"),
                                 HasSubstr("segment segment_0: 3 nodes, 144 B of weights"),
                                 HasSubstr("rows of requests are joined")));
  const Result product = Portico("inspect packages/digit/1");
  ASSERT_EQ(product.exit_code, 0) << product.err;
  EXPECT_THAT(product.out, AllOf(HasSubstr("digit version 1"), HasSubstr("(Remote) to hub/encoder"),
                                 HasSubstr("features float32[N,4]")));
  const Result file = Portico("inspect digit.onnx");
  ASSERT_EQ(file.exit_code, 0) << file.err;
  EXPECT_THAT(file.out, HasSubstr("5 nodes, 192 B of weights"));
}

TEST_F(SplitCliTest, InspectWritesJsonThatNamesTheDigestOfThePortalsTarget) {
  WriteDigits();
  ASSERT_EQ(Portico("split digit.onnx --plan plan.yaml --out packages").exit_code, 0);
  const Result product = Portico("inspect packages/digit --json");
  const Result encoder = Portico("inspect packages/hub/encoder/1 --json");
  ASSERT_EQ(product.exit_code, 0) << product.err;
  ASSERT_EQ(encoder.exit_code, 0) << encoder.err;
  simdjson::dom::parser product_parser, encoder_parser;
  const simdjson::dom::element product_json = product_parser.parse(product.out);
  const simdjson::dom::element encoder_json = encoder_parser.parse(encoder.out);
  const simdjson::dom::element portal = product_json.at_pointer("/signatures/0/portals/0");
  EXPECT_EQ(std::string_view(portal["target"]), "hub/encoder");
  EXPECT_EQ(std::string_view(portal["digest"]), std::string_view(encoder_json["digest"]));
  EXPECT_EQ(std::string_view(encoder_json.at_pointer("/signatures/0/inputs/0/axis")), "rows");
  EXPECT_EQ(std::string_view(encoder_json.at_pointer("/signatures/0/inputs/0/shape/0")), "N");
  EXPECT_EQ(int64_t(encoder_json.at_pointer("/signatures/0/inputs/0/shape/1")), 8);
  EXPECT_EQ(int64_t(encoder_json["weight_bytes"]), 144);
}

TEST_F(SplitCliTest, SamplesReplaceGeneratedInputs) {
  WriteDigits();
  folder_.Write("samples/one/input_0.pb", TensorToProto("", Weights({2, 8}, 0)).SerializeAsString());
  const Result result = Portico("split digit.onnx --plan plan.yaml --out packages --samples samples");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("verified: 1 run equal"));
}

TEST_F(SplitCliTest, WhatWasSplitIsSplitAgainOverWhatItCalls) {
  WriteDigits();
  ASSERT_EQ(Portico("split digit.onnx --plan plan.yaml --out packages").exit_code, 0);
  folder_.Write("head.yaml", "product: digit\nparts: [{name: hub/head, inputs: [features], outputs: [logits]}]\n");
  const std::string split = "split packages/digit/1/model.onnx --plan head.yaml --out again";
  const Result beside = Portico(split);
  ASSERT_EQ(beside.exit_code, 0) << beside.err;
  EXPECT_THAT(beside.out, HasSubstr("verified: 3 runs equal"));
  EXPECT_THAT(Portico("inspect again/digit").out,
              AllOf(HasSubstr("(Remote) to hub/encoder"), HasSubstr("(Remote) to hub/head")));

  std::filesystem::remove_all(folder_.path() + "/again");
  std::filesystem::rename(folder_.path() + "/packages/hub", folder_.path() + "/elsewhere");
  const Result lost = Portico(split);
  EXPECT_EQ(lost.exit_code, 1);
  EXPECT_THAT(lost.err, AllOf(HasSubstr("calls 'hub/encoder' of digest "), HasSubstr("got no such package"),
                              HasSubstr("--package hub/encoder=FOLDER")));
  EXPECT_FALSE(Exists("again"));
  EXPECT_EQ(Portico(split + " --package hub/encoder=elsewhere/encoder").exit_code, 0);
  std::filesystem::create_directory(folder_.path() + "/packages2");
  std::filesystem::rename(folder_.path() + "/elsewhere", folder_.path() + "/packages2/hub");
  EXPECT_EQ(Portico(split + "2 --package packages2").exit_code, 0);
  const Result nowhere = Portico(split + " --package nowhere");
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("--package 'nowhere': got nothing at 'nowhere'"));
}

TEST_F(SplitCliTest, ErrorsGoToStandardErrorAndNothingIsWritten) {
  WriteDigits("parts: [{name: hub/encoder, outputs: [featuers]}]\n");
  const Result tensor = Portico("split digit.onnx --plan plan.yaml --out packages");
  EXPECT_EQ(tensor.exit_code, 1);
  EXPECT_EQ(tensor.out, "");
  EXPECT_THAT(tensor.err, AllOf(HasSubstr("part 'hub/encoder': got tensor 'featuers'"), HasSubstr("'features'")));
  EXPECT_FALSE(Exists("packages"));

  folder_.Write("plan.yaml", "parts:\n- name: a\n  outputs: [features]\n  input: [image]\n");
  const Result plan = Portico("split digit.onnx --plan plan.yaml --out packages");
  EXPECT_EQ(plan.exit_code, 1);
  EXPECT_THAT(plan.err, HasSubstr("plan.yaml:4: part: got unknown key 'input'"));

  folder_.Write("digit.onnx", "not ONNX");
  folder_.Write("plan.yaml", "parts: [{name: a, outputs: [features]}]\n");
  const Result model = Portico("split digit.onnx --plan plan.yaml --out packages");
  EXPECT_EQ(model.exit_code, 1);
  EXPECT_THAT(model.err, HasSubstr("digit.onnx"));
  EXPECT_EQ(Portico("inspect nowhere").exit_code, 1);
  EXPECT_EQ(Portico("inspect digit.onnx").exit_code, 1);
  EXPECT_FALSE(Exists("packages"));
}

TEST_F(SplitCliTest, HelpShowsAnExample) {
  for (const char* command : {"split", "inspect"}) {
    const Result result = Portico(absl::StrCat(command, " --help"));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.out, HasSubstr(absl::StrCat("Example:\n  portico ", command)));
  }
}

}  // namespace
}  // namespace portico
