#include "models/package/signature.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TensorSpec Spec(std::vector<Dim> dims) {
  TensorSpec spec;
  spec.name = "x";
  spec.dtype = DType::kFloat;
  spec.dims = std::move(dims);
  return spec;
}

TEST(SignatureTest, SpecsAreWrittenWithSymbolsAndExtents) {
  EXPECT_EQ(Spec({{-1, "N"}, {64, ""}, {-1, ""}}).ToString(), "float32[N,64,?]");
  EXPECT_EQ(Spec({}).ToString(), "float32[]");
  TensorSpec no_rank = Spec({});
  no_rank.has_rank = false;
  EXPECT_EQ(no_rank.ToString(), "float32[...]");
  no_rank.dtype = DType::kInvalid;
  EXPECT_EQ(no_rank.ToString(), "any[...]");
}

TEST(SignatureTest, TensorThatFitsIsTaken) {
  const TensorSpec spec = Spec({{-1, "N"}, {2, ""}});
  EXPECT_TRUE(spec.Check("input", Tensor::Allocate(DType::kFloat, {0, 2})).ok());
  EXPECT_TRUE(spec.Check("input", Tensor::Allocate(DType::kFloat, {7, 2})).ok());
}

TEST(SignatureTest, MisfitsAreNamed) {
  const TensorSpec spec = Spec({{-1, "N"}, {2, ""}});
  const auto message = [&](DType dtype, Shape shape) {
    const absl::Status status = spec.Check("input", Tensor::Allocate(dtype, std::move(shape)));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message(DType::kInt64, {2}), "input 'x': got int64[2], want float32[N,2]; its dtype differs");
  EXPECT_EQ(message(DType::kFloat, {2}), "input 'x': got float32[2], want float32[N,2]; its number of dims differs");
  EXPECT_EQ(message(DType::kFloat, {2, 3}), "input 'x': got float32[2,3], want float32[N,2]; dim 1 must be 2");
}

TEST(SignatureTest, EqualSymbolsMeanEqualExtents) {
  const TensorSpec spec = Spec({{-1, "N"}, {-1, ""}, {-1, ""}, {-1, "N"}});
  EXPECT_TRUE(spec.Check("output", Tensor::Allocate(DType::kFloat, {3, 1, 2, 3})).ok());
  EXPECT_EQ(spec.Check("output", Tensor::Allocate(DType::kFloat, {3, 1, 2, 4})).message(),
            "output 'x': got float32[3,1,2,4], want float32[N,?,?,N]; dims 0 and 3 are both 'N' and must be equal");
}

TEST(SignatureTest, WithoutRankOrDtypeAnythingFits) {
  TensorSpec spec = Spec({});
  spec.has_rank = false;
  EXPECT_TRUE(spec.Check("output", Tensor::Allocate(DType::kFloat, {3, 1})).ok());
  EXPECT_FALSE(spec.Check("output", Tensor::Allocate(DType::kInt8, {3, 1})).ok());
  spec.dtype = DType::kInvalid;
  EXPECT_TRUE(spec.Check("output", Tensor::Allocate(DType::kInt8, {3, 1})).ok());
}

TEST(SignatureTest, TensorsAreFoundByName) {
  Signature signature;
  signature.inputs = {Spec({})};
  EXPECT_EQ(signature.InputIndex("x"), 0);
  EXPECT_EQ(signature.InputIndex("y"), -1);
  EXPECT_EQ(signature.OutputIndex("x"), -1);
}

}  // namespace
}  // namespace portico
