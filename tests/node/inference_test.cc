#include "node/inference.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

Signature TwoInputs() {
  Signature signature;
  signature.name = "serving_default";
  for (const char* name : {"a", "b"}) {
    TensorSpec spec;
    spec.name = name;
    spec.dtype = DType::kFloat;
    spec.dims = {{-1, "N"}};
    signature.inputs.push_back(spec);
  }
  return signature;
}

std::vector<NamedTensor> Named(std::initializer_list<const char*> names) {
  std::vector<NamedTensor> named;
  for (const char* name : names) named.push_back({name, Tensor::Of<float>({1}, {static_cast<float>(name[0])})});
  return named;
}

TEST(OrderInputsTest, PutsInputsInTheSignaturesOrder) {
  const auto ordered = OrderInputs(TwoInputs(), Named({"b", "a"}));
  ASSERT_TRUE(ordered.ok());
  EXPECT_EQ((*ordered)[0].data<float>()[0], 'a');
  EXPECT_EQ((*ordered)[1].data<float>()[0], 'b');
}

TEST(OrderInputsTest, OtherCountIsToldInTensorFlowServingsWords) {
  EXPECT_EQ(
      OrderInputs(TwoInputs(), {}).status().message(),
      "input size does not match signature: 0!=2 len({}) != len({a,b}). Sent extra: {}. Missing but required: {a,b}.");
  EXPECT_EQ(OrderInputs(TwoInputs(), Named({"a", "b", "z"})).status().message(),
            "input size does not match signature: 3!=2 len({a,b,z}) != len({a,b}). Sent extra: {z}. Missing but "
            "required: {}.");
}

TEST(OrderInputsTest, WrongNameIsTold) {
  const auto status = OrderInputs(TwoInputs(), Named({"a", "z"})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "input 'b': missing; the request has inputs {a,z}, the signature wants {a,b}");
}

TEST(OrderInputsTest, TheSameInputTwiceIsRefused) {
  EXPECT_EQ(OrderInputs(TwoInputs(), Named({"a", "a"})).status().code(), absl::StatusCode::kInvalidArgument);
}

/// ids by row_splits, words by segment ids, x in rows.
Signature RaggedSignature() {
  Signature signature;
  const auto add = [&signature](const char* name, DType dtype, const char* symbol) -> TensorSpec& {
    TensorSpec spec;
    spec.name = name;
    spec.dtype = dtype;
    spec.dims = {{-1, symbol}};
    spec.axis = AxisKind::kRagged;
    signature.inputs.push_back(spec);
    return signature.inputs.back();
  };
  TensorSpec& ids = add("ids", DType::kInt64, "V");
  ids.partition = RowPartition::kRowSplits;
  ids.partition_input = "splits";
  add("splits", DType::kInt64, "S");
  TensorSpec& words = add("words", DType::kFloat, "W");
  words.partition = RowPartition::kSegmentIds;
  words.partition_input = "rows_of_words";
  add("rows_of_words", DType::kInt32, "W2");
  return signature;
}

absl::Status CheckRagged(std::vector<int64_t> splits, std::vector<int32_t> rows_of_words) {
  const std::vector<Tensor> inputs = {
      Tensor::Of<int64_t>({3}, {7, 8, 9}),
      Tensor::Of<int64_t>({static_cast<int64_t>(splits.size())}, absl::MakeConstSpan(splits)),
      Tensor::Of<float>({2}, {1, 2}),
      Tensor::Of<int32_t>({static_cast<int64_t>(rows_of_words.size())}, absl::MakeConstSpan(rows_of_words))};
  return CheckInputs(RaggedSignature(), inputs);
}

TEST(CheckInputsTest, RaggedInputsMustDivideTheirValues) {
  EXPECT_TRUE(CheckRagged({0, 1, 3}, {0, 1}).ok());
  EXPECT_EQ(CheckRagged({0, 1, 2}, {0, 1}).message(),
            "input 'splits', row_splits of 'ids': got 2 at the end, want its 3 values");
  EXPECT_EQ(CheckRagged({0, 4, 3}, {0, 1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckRagged({0, 1, 3}, {0, 2}).message(),
            "input 'rows_of_words', segment_ids of 'words': got 2 at 1 behind 0, want row numbers that do not fall, "
            "from 0 to 1");
  EXPECT_EQ(CheckRagged({0, 1, 3}, {0}).message(),
            "input 'rows_of_words', segment_ids of 'words': got 1 numbers, want one for each of its 2 values");
}

}  // namespace
}  // namespace portico
