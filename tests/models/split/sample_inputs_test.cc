#include "models/split/sample_inputs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/split/split_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

ModelBuilder Lookups() {
  ModelBuilder builder;
  builder.Input("direct", DType::kInt64, {"N", 2})
      .Input("cast", DType::kInt32, {"N"})
      .Input("twice", DType::kInt64, {"N"})
      .Input("plain", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N", 2, 4})
      .Initializer("table", Weights({11, 4}, 0))
      .Initializer("wide", Weights({4, 5}, 0))
      .Node("Gather", {"table", "direct"}, {"y"})
      .Node("Cast", {"cast"}, {"cast64"}, {Int("to", 7)})
      .Node("Gather", {"wide", "cast64"}, {"a"}, {Int("axis", -1)})
      .Node("Gather", {"table", "twice"}, {"b"})
      .Node("Gather", {"wide", "twice"}, {"c"});
  return builder;
}

TEST(SampleInputsTest, FindsHowManyRowsIndicesChooseFrom) {
  Splitting split;
  EXPECT_THAT(IndexLimits(split.Load(Lookups())),
              UnorderedElementsAre(Pair("direct", 11), Pair("cast", 5), Pair("twice", 4)));
}

TEST(SampleInputsTest, IndicesStayWithinTheirLimitsAndUseTheRange) {
  Splitting split;
  const Model model = split.Load(Lookups());
  const auto signature = GraphSignature(model);
  ASSERT_TRUE(signature.ok());
  const auto samples = MakeSamples(model, signature->inputs, {0, 64}, 1);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].tensors[0].rows(), 0);
  EXPECT_EQ(samples[1].tensors[3].rows(), 64);
  const auto ids = samples[1].tensors[0].data<int64_t>();
  EXPECT_GE(*std::min_element(ids.begin(), ids.end()), 0);
  EXPECT_LT(*std::max_element(ids.begin(), ids.end()), 11);
  EXPECT_GT(*std::max_element(ids.begin(), ids.end()), 4);
  const auto casts = samples[1].tensors[1].data<int32_t>();
  EXPECT_LT(*std::max_element(casts.begin(), casts.end()), 5);
}

TEST(SampleInputsTest, ReadsTheLayoutOfOnnxTestData) {
  TempFolder folder;
  const auto write = [&](absl::string_view name, const Tensor& tensor) {
    folder.Write(name, TensorToProto("", tensor).SerializeAsString());
  };
  write("test_data_set_1/input_0.pb", Weights({2, 3}, 1));
  write("test_data_set_0/input_0.pb", Weights({1, 3}, 1));
  write("test_data_set_0/input_1.pb", Tensor::OfStrings({1}, {absl::string_view("word")}));
  write("test_data_set_0/output_0.pb", Weights({9}, 1));
  const auto samples = ReadSamples(folder.path());
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_THAT((*samples)[0].label, HasSubstr("test_data_set_0"));
  ASSERT_EQ((*samples)[0].tensors.size(), 2u);
  EXPECT_EQ((*samples)[0].tensors[1].StringAt(0), "word");
  EXPECT_EQ((*samples)[1].tensors[0].shape(), Shape({2, 3}));
}

TEST(SampleInputsTest, SaysWhatIsWrongWithAFolder) {
  TempFolder folder;
  EXPECT_THAT(std::string(ReadSamples(folder.path()).status().message()), HasSubstr("want one folder per sample"));
  EXPECT_EQ(ReadSamples(folder.path() + "/none").status().code(), absl::StatusCode::kNotFound);
  folder.Write("a/input_0.pb", "not protobuf \xff\xff");
  EXPECT_THAT(std::string(ReadSamples(folder.path()).status().message()), HasSubstr("a/input_0.pb"));
}

}  // namespace
}  // namespace portico
