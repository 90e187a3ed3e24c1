#include "embedding/row_kernels.h"

#include <Eigen/Core>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr RowType kTypes[] = {RowType::kFloat32, RowType::kFloat16, RowType::kBfloat16, RowType::kInt8, RowType::kInt4};
constexpr size_t kDims[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 768};

std::vector<float> Normal(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// What a stored row stands for, by Eigen and by the format's description: nothing of the kernels' code.
Eigen::VectorXd Reference(RowType type, const std::string& row, size_t dim) {
  Eigen::VectorXd values(static_cast<Eigen::Index>(dim));
  if (type == RowType::kFloat32) {
    values =
        Eigen::Map<const Eigen::VectorXf>(reinterpret_cast<const float*>(row.data()), values.size()).cast<double>();
  } else if (type == RowType::kFloat16) {
    const auto* from = reinterpret_cast<const Eigen::half*>(row.data());
    for (Eigen::Index i = 0; i < values.size(); ++i) values[i] = static_cast<double>(static_cast<float>(from[i]));
  } else if (type == RowType::kBfloat16) {
    const auto* from = reinterpret_cast<const Eigen::bfloat16*>(row.data());
    for (Eigen::Index i = 0; i < values.size(); ++i) values[i] = static_cast<double>(static_cast<float>(from[i]));
  } else {
    float scale, bias;
    std::memcpy(&scale, row.data(), 4);
    std::memcpy(&bias, row.data() + 4, 4);
    for (size_t i = 0; i < dim; ++i) {
      const auto byte = static_cast<uint8_t>(row[8 + (type == RowType::kInt8 ? i : i / 2)]);
      const int code = type == RowType::kInt8 ? byte : i % 2 == 0 ? byte & 15 : byte >> 4;
      values[static_cast<Eigen::Index>(i)] = static_cast<double>(scale) * code + static_cast<double>(bias);
    }
  }
  return values;
}

/// How far a stored value may be from the one that was given.
double Bound(RowType type, const std::string& row, float value) {
  const double size = std::fabs(static_cast<double>(value));
  switch (type) {
    case RowType::kFloat32:
      return 0;
    case RowType::kFloat16:
      return std::max(size * std::ldexp(1, -11), std::ldexp(1, -25));
    case RowType::kBfloat16:
      return std::max(size * std::ldexp(1, -8), std::ldexp(1, -134));
    case RowType::kInt8:
    case RowType::kInt4: {
      float scale_and_bias[2];
      std::memcpy(scale_and_bias, row.data(), 8);
      return 0.501 * static_cast<double>(scale_and_bias[0]) +
             std::ldexp(std::fabs(static_cast<double>(scale_and_bias[1])), -22) + 1e-35;
    }
  }
  return 0;
}

class RowKernelsTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    kernels_ = RowKernels::For(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this processor has no " << IsaName(GetParam());
  }

  /// The stored row, in memory of exactly its size, so that the address sanitizer sees what reads or writes beyond it.
  std::string Encode(RowType type, const std::vector<float>& values) {
    std::string row(EncodedBytes(type, values.size()), '\x5a');
    const absl::Status status = EncodeRow(*kernels_, type, values, row.data());
    EXPECT_TRUE(status.ok()) << status;
    return row;
  }

  const RowKernels* kernels_ = nullptr;
};

TEST_P(RowKernelsTest, EveryStoredValueIsWithinTheBoundOfItsType) {
  for (const RowType type : kTypes) {
    for (const size_t dim : kDims) {
      for (const float scale : {1.0f, 1e-3f, 500.0f}) {
        const std::vector<float> values = Normal(dim, static_cast<uint32_t>(dim), scale);
        const std::string row = Encode(type, values);
        const Eigen::VectorXd stored = Reference(type, row, dim);
        for (size_t i = 0; i < dim; ++i) {
          ASSERT_LE(std::fabs(stored[static_cast<Eigen::Index>(i)] - static_cast<double>(values[i])),
                    Bound(type, row, values[i]))
              << RowTypeName(type) << " dim " << dim << " scale " << scale << " value " << values[i];
        }
      }
    }
  }
}

TEST_P(RowKernelsTest, AddsWhatTheRowStandsForTimesTheWeight) {
  for (const RowType type : kTypes) {
    for (const size_t dim : kDims) {
      const std::string row = Encode(type, Normal(dim, 7));
      const Eigen::VectorXd stored = Reference(type, row, dim);
      for (const float weight : {1.0f, -0.37f, 0.0f, 12.5f}) {
        std::vector<float> out = Normal(dim + 3, 11);
        const std::vector<float> before = out;
        kernels_->add[static_cast<size_t>(type)](row.data(), weight, dim, out.data());
        for (size_t i = 0; i < dim; ++i) {
          const double want =
              static_cast<double>(before[i]) + static_cast<double>(weight) * stored[static_cast<Eigen::Index>(i)];
          ASSERT_NEAR(out[i], want, 4e-6 * (1 + std::fabs(want) + std::fabs(static_cast<double>(weight))))
              << RowTypeName(type) << " dim " << dim << " at " << i;
        }
        for (size_t i = dim; i < out.size(); ++i) ASSERT_EQ(out[i], before[i]) << "wrote behind the row";
      }
    }
  }
}

TEST_P(RowKernelsTest, AddsManyRowsAsItAddsEach) {
  for (const RowType type : kTypes) {
    for (const size_t dim : kDims) {
      for (const uint32_t count : {0u, 1u, 2u, 33u}) {
        std::vector<std::string> encoded;
        std::vector<const char*> rows;
        for (uint32_t r = 0; r < count; ++r) encoded.push_back(Encode(type, Normal(dim, 50 + r)));
        for (const std::string& row : encoded) rows.push_back(row.data());
        const std::vector<float> weights = Normal(count, 3);
        for (const float* weighted : {static_cast<const float*>(nullptr), weights.data()}) {
          std::vector<float> out = Normal(dim + 3, 11), want = out;
          kernels_->add_rows[static_cast<size_t>(type)](rows.data(), weighted, count, dim, out.data());
          for (uint32_t r = 0; r < count; ++r) {
            kernels_->add[static_cast<size_t>(type)](rows[r], weighted == nullptr ? 1.0f : weights[r], dim,
                                                     want.data());
          }
          for (size_t i = 0; i < dim; ++i) {
            ASSERT_NEAR(out[i], want[i], 2e-4) << RowTypeName(type) << " dim " << dim << " of " << count << " at " << i;
          }
          for (size_t i = dim; i < out.size(); ++i) ASSERT_EQ(out[i], want[i]) << "wrote behind the row";
        }
      }
    }
  }
}

TEST_P(RowKernelsTest, DecodeGivesWhatIsStored) {
  for (const RowType type : kTypes) {
    const std::string row = Encode(type, Normal(33, 5));
    std::vector<float> out(33, 1e9f);
    DecodeRow(*kernels_, type, row.data(), absl::MakeSpan(out));
    const Eigen::VectorXd stored = Reference(type, row, 33);
    for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], stored[static_cast<Eigen::Index>(i)], 1e-6);
  }
}

TEST_P(RowKernelsTest, SumsOfThirtyTwoRowsAreAsNearAsTheDesignSays) {
  // Relative to the length of the sum; measured when the types were chosen, a quarter more for luck.
  const double most[] = {1e-6, 2.5e-4, 2.5e-3, 7.5e-3, 1.25e-1};
  constexpr size_t kDim = 128;
  for (const RowType type : kTypes) {
    Eigen::VectorXd want = Eigen::VectorXd::Zero(kDim);
    std::vector<float> sum(kDim, 0.0f);
    for (uint32_t r = 0; r < 32; ++r) {
      const std::vector<float> values = Normal(kDim, 100 + r);
      want += Eigen::Map<const Eigen::VectorXf>(values.data(), kDim).cast<double>();
      kernels_->add[static_cast<size_t>(type)](Encode(type, values).data(), 1.0f, kDim, sum.data());
    }
    const Eigen::VectorXd got = Eigen::Map<const Eigen::VectorXf>(sum.data(), kDim).cast<double>();
    EXPECT_LE((got - want).norm() / want.norm(), most[static_cast<size_t>(type)]) << RowTypeName(type);
  }
}

TEST_P(RowKernelsTest, ConstantAndExtremeRowsKeepTheirValues) {
  for (const RowType type : kTypes) {
    for (const std::vector<float>& values :
         {std::vector<float>(5, 0.0f), std::vector<float>(5, -3.5f), std::vector<float>{1.0f},
          std::vector<float>{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
          std::vector<float>{1e-42f, 0, 2e-42f}, std::vector<float>{60000, -60000, 0}}) {
      const std::string row = Encode(type, values);
      const Eigen::VectorXd stored = Reference(type, row, values.size());
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_LE(std::fabs(stored[static_cast<Eigen::Index>(i)] - static_cast<double>(values[i])),
                  Bound(type, row, values[i]))
            << RowTypeName(type) << " " << values[i];
      }
    }
  }
}

TEST_P(RowKernelsTest, SmallFloatsAreRoundedAsEigenRounds) {
  std::vector<float> values = Normal(4097, 3, 30);
  for (size_t i = 0; i < 256; ++i)
    values[i] = std::ldexp(1.0f + static_cast<float>(i) / 256, static_cast<int>(i % 12) - 6);
  const std::string half = Encode(RowType::kFloat16, values);
  const std::string bfloat = Encode(RowType::kBfloat16, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto half_want = Eigen::numext::bit_cast<uint16_t>(Eigen::half(values[i]));
    const auto bfloat_want = Eigen::numext::bit_cast<uint16_t>(Eigen::bfloat16(values[i]));
    uint16_t got;
    std::memcpy(&got, half.data() + 2 * i, 2);
    ASSERT_EQ(got, half_want) << values[i];
    std::memcpy(&got, bfloat.data() + 2 * i, 2);
    ASSERT_EQ(got, bfloat_want) << values[i];
  }
}

TEST_P(RowKernelsTest, RefusesWhatIsNotFiniteAndNamesIt) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (const RowType type : kTypes) {
    for (const float value : bad) {
      for (const size_t at : {0, 5, 16, 18}) {
        std::vector<float> values(19, 1.0f);
        values[at] = value;
        std::string row(EncodedBytes(type, values.size()), '\0');
        const absl::Status status = EncodeRow(*kernels_, type, values, row.data());
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("value ", at, ": got ")));
      }
    }
  }
}

TEST_P(RowKernelsTest, RefusesWhatDoesNotFitTheType) {
  const auto refused = [&](RowType type, const std::vector<float>& values) {
    std::string row(EncodedBytes(type, values.size()), '\0');
    return !EncodeRow(*kernels_, type, values, row.data()).ok();
  };
  EXPECT_TRUE(refused(RowType::kFloat16, {0, 1, 65520}));
  EXPECT_TRUE(refused(RowType::kFloat16, {-1e30f}));
  EXPECT_TRUE(refused(RowType::kBfloat16, {0, 3.4e38f}));
  EXPECT_TRUE(refused(RowType::kInt8, {-3e38f, 3e38f}));
  EXPECT_TRUE(refused(RowType::kInt4, {-3e38f, 3e38f}));
  EXPECT_FALSE(refused(RowType::kFloat32, {-3e38f, 3e38f}));
  EXPECT_FALSE(refused(RowType::kInt8, {2e38f, 3e38f}));
}

INSTANTIATE_TEST_SUITE_P(All, RowKernelsTest, ::testing::Values(Isa::kPortable, Isa::kAvx2, Isa::kAvx512),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

TEST(RowKernelsChoiceTest, TheBestIsTheLastThatThisProcessorHas) {
  Isa best = Isa::kPortable;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (RowKernels::For(isa) == nullptr) continue;
    EXPECT_EQ(RowKernels::For(isa)->isa, isa);
    best = isa;
  }
  EXPECT_EQ(RowKernels::Best().isa, best);
}

TEST(RowTypeTest, NamesAreReadBack) {
  for (const RowType type : kTypes) EXPECT_EQ(*RowTypeFromName(RowTypeName(type)), type);
  EXPECT_THAT(std::string(RowTypeFromName("int2").status().message()), HasSubstr("want float32, float16"));
}

}  // namespace
}  // namespace portico
