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

}  // namespace
}  // namespace portico
