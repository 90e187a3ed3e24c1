#include "node/frontend/tfs_example.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tensorflow_serving/inference.pb.h"
#include "tests/node/frontend/example_client.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMaxBytes = 1 << 20;

TensorSpec Spec(std::string name, DType dtype, std::vector<int64_t> extents) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.dtype = dtype;
  for (const int64_t extent : extents) spec.dims.push_back({extent, extent < 0 ? "N" : ""});
  return spec;
}

/// x float32[N,2], k int64[N,2], tag string[N,2].
Signature Grade() {
  Signature signature;
  signature.name = "grade";
  signature.inputs = {Spec("x", DType::kFloat, {-1, 2}), Spec("k", DType::kInt64, {-1, 2}),
                      Spec("tag", DType::kString, {-1, 2})};
  return signature;
}

absl::StatusOr<std::vector<Tensor>> Read(const Signature& signature, const tensorflow::serving::Input& input,
                                         uint64_t max_bytes = kMaxBytes) {
  const std::string bytes = input.SerializeAsString();
  const auto view = ReadExamples(bytes);
  if (!view.ok()) return view.status();
  return ExampleTensors(signature, *view, max_bytes);
}

std::string ErrorOf(const Signature& signature, const tensorflow::serving::Input& input) {
  const auto tensors = Read(signature, input);
  EXPECT_FALSE(tensors.ok());
  return std::string(tensors.status().message());
}

TEST(TfsExampleTest, FeaturesBecomeRowsOfTheInputsOfTheirNames) {
  tensorflow::serving::Input input = GradeInput();
  (*input.mutable_example_list()->mutable_examples(0)->mutable_features()->mutable_feature())["other"];
  const auto tensors = Read(Grade(), input);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ((*tensors)[0].shape(), (Shape{2, 2}));
  EXPECT_THAT((*tensors)[0].data<float>(), ElementsAre(1, 2, 0.5, -2));
  EXPECT_THAT((*tensors)[1].data<int64_t>(), ElementsAre(10, 20, 0, 1));
  EXPECT_EQ((*tensors)[2].StringAt(3), "d");
}

TEST(TfsExampleTest, ContextBelongsToEachExampleWhichWins) {
  tensorflow::serving::Input input;
  auto& list = *input.mutable_example_list_with_context();
  *list.mutable_context() = GradeExample({7, 8}, {1, 2}, {});
  *list.add_examples() = GradeExample({}, {}, {"a", "b"});
  *list.add_examples() = GradeExample({5, 6}, {}, {"c", "d"});
  const auto tensors = Read(Grade(), input);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT((*tensors)[0].data<float>(), ElementsAre(7, 8, 5, 6));
  EXPECT_THAT((*tensors)[1].data<int64_t>(), ElementsAre(1, 2, 1, 2));
}

TEST(TfsExampleTest, NumbersBecomeTheInputsDtype) {
  tensorflow::serving::Input input;
  *input.mutable_example_list()->add_examples() = GradeExample({0.5, -2}, {0, 1}, {});
  Signature signature;
  signature.inputs = {Spec("x", DType::kDouble, {-1, 2}), Spec("k", DType::kBool, {-1, 2})};
  auto tensors = Read(signature, input);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT((*tensors)[0].data<double>(), ElementsAre(0.5, -2));
  EXPECT_THAT((*tensors)[1].data<bool>(), ElementsAre(false, true));
  signature.inputs = {Spec("k", DType::kUint8, {-1, 2})};
  tensors = Read(signature, input);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT((*tensors)[0].data<uint8_t>(), ElementsAre(0, 1));
  *input.mutable_example_list()->mutable_examples(0) = GradeExample({}, {0, 256}, {});
  EXPECT_THAT(ErrorOf(signature, input), HasSubstr("example 0: feature 'k': got a value out of range, want uint8"));
  *input.mutable_example_list()->mutable_examples(0) = GradeExample({}, {-1, 0}, {});
  EXPECT_THAT(ErrorOf(signature, input), HasSubstr("out of range"));
}

TEST(TfsExampleTest, UnpackedValuesAndSeveralListsAddUp) {
  // Feature{float_list{1 (unpacked)}, float_list{2 (packed)}}, as an old writer or a merge leaves it.
  const std::string one("\x0a\x05\x0d\x00\x00\x80\x3f", 7), two("\x0a\x06\x0a\x04\x00\x00\x00\x40", 8);
  const std::string feature = "\x12\x05" + one.substr(2) + "\x12\x06" + two.substr(2);
  const std::string entry = std::string("\x0a\x01x\x12") + static_cast<char>(feature.size()) + feature;
  const std::string features = std::string("\x0a") + static_cast<char>(entry.size()) + entry;
  const std::string example = std::string("\x0a") + static_cast<char>(features.size()) + features;
  Signature signature;
  signature.inputs = {Spec("x", DType::kFloat, {-1, 2})};
  const auto tensors = ExampleTensors(signature, {{example}, ""}, kMaxBytes);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT((*tensors)[0].data<float>(), ElementsAre(1, 2));
}

TEST(TfsExampleTest, OneUnknownExtentIsTheFeaturesLength) {
  Signature signature;
  signature.inputs = {Spec("x", DType::kFloat, {-1, -1, 2})};
  tensorflow::serving::Input input;
  *input.mutable_example_list()->add_examples() = GradeExample({1, 2, 3, 4}, {}, {});
  const auto tensors = Read(signature, input);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ((*tensors)[0].shape(), (Shape{1, 2, 2}));
  *input.mutable_example_list()->add_examples() = GradeExample({1, 2}, {}, {});
  EXPECT_THAT(ErrorOf(signature, input), HasSubstr("example 1: feature 'x': got 2 values, want 4"));
  *input.mutable_example_list()->mutable_examples(0) = GradeExample({1, 2, 3}, {}, {});
  EXPECT_THAT(ErrorOf(signature, input), HasSubstr("got 3 values, want a multiple of 2"));
  signature.inputs = {Spec("x", DType::kFloat, {-1, -1, -1})};
  EXPECT_THAT(ErrorOf(signature, input), HasSubstr("use Predict"));
}

TEST(TfsExampleTest, WhatDoesNotFitIsNamed) {
  tensorflow::serving::Input input = GradeInput();
  auto& features = *input.mutable_example_list()->mutable_examples(1)->mutable_features()->mutable_feature();
  features["x"].mutable_float_list()->add_value(3);
  EXPECT_THAT(ErrorOf(Grade(), input), HasSubstr("example 1: feature 'x': got 3 values, want 2"));
  features["x"].mutable_int64_list()->add_value(3);
  EXPECT_THAT(ErrorOf(Grade(), input),
              HasSubstr("example 1: feature 'x': got int64_list, want float_list for float32[N,2]"));
  features.erase("x");
  EXPECT_THAT(ErrorOf(Grade(), input),
              HasSubstr("example 1: Feature: x (data type: float) is required but could not be found."));
  EXPECT_EQ(ErrorOf(Grade(), {}), "Input is empty.");
  input.mutable_example_list()->clear_examples();
  EXPECT_EQ(ErrorOf(Grade(), input), "Input is empty.");
}

TEST(TfsExampleTest, SignatureOfSerialisedExamplesGetsThem) {
  Signature signature;
  signature.inputs = {Spec("inputs", DType::kString, {-1})};
  const auto plain = Read(signature, GradeInput());
  ASSERT_TRUE(plain.ok()) << plain.status();
  tensorflow::Example example;
  ASSERT_TRUE(example.ParseFromString(std::string((*plain)[0].StringAt(1))));
  EXPECT_EQ(example.features().feature().at("tag").bytes_list().value(0), "c");

  tensorflow::serving::Input input;
  *input.mutable_example_list_with_context()->mutable_context() = GradeExample({7}, {}, {"z"});
  *input.mutable_example_list_with_context()->add_examples() = GradeExample({}, {}, {"a"});
  const auto merged = Read(signature, input);
  ASSERT_TRUE(merged.ok()) << merged.status();
  ASSERT_TRUE(example.ParseFromString(std::string((*merged)[0].StringAt(0))));
  EXPECT_EQ(example.features().feature().at("x").float_list().value(0), 7);
  EXPECT_EQ(example.features().feature().at("tag").bytes_list().value(0), "a");
}

TEST(TfsExampleTest, MemoryIsBoundedBeforeItIsTaken) {
  tensorflow::serving::Input input;
  auto& list = *input.mutable_example_list_with_context();
  *list.mutable_context() = GradeExample({1, 2}, {1, 2}, {std::string(1000, 'a'), "b"});
  for (int i = 0; i < 100; ++i) list.add_examples();
  EXPECT_TRUE(Read(Grade(), input, 1 << 20).ok());
  EXPECT_EQ(Read(Grade(), input, 1 << 10).status().code(), absl::StatusCode::kResourceExhausted);
  // The numbers fit, the strings, each of which the context gives to all examples, don't.
  EXPECT_EQ(Read(Grade(), input, 50'000).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TfsExampleTest, EveryPrefixAndEveryFlippedByteIsReadOrRefused) {
  const std::string whole = GradeInput().SerializeAsString();
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::string cut = whole.substr(0, length);
    if (const auto view = ReadExamples(cut); view.ok()) (void)ExampleTensors(Grade(), *view, kMaxBytes);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto view = ReadExamples(flipped);
      if (!view.ok()) continue;
      const auto tensors = ExampleTensors(Grade(), *view, kMaxBytes);
      if (!tensors.ok()) continue;
      EXPECT_EQ((*tensors)[0].rows(), static_cast<int64_t>(view->examples.size()));
    }
  }
}

}  // namespace
}  // namespace portico
