#include "embedding/table.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr size_t kRows = 3000;

class TableTest : public ::testing::Test {
 protected:
  const EmbeddingTable& Table(TableSpec spec, size_t rows = kRows, const ShardFile::Options& options = {}) {
    spec.name = "t";
    const std::string path = folder_.File(absl::StrCat("shard", files_.size()));
    const absl::Status built = BuildShard(path, {{spec, rows}});
    EXPECT_TRUE(built.ok()) << built;
    files_.push_back(OpenShard(path, options));
    return *files_.back()->tables()[0];
  }

  static std::string Error(const EmbeddingTable& table, const IdBags& bags, Pooling pooling = Pooling::kSum,
                           size_t rows = 1) {
    std::vector<float> out(rows * table.spec().dim, 77.0f);
    const auto counts = table.Lookup(bags, pooling, absl::MakeSpan(out));
    EXPECT_FALSE(counts.ok());
    for (const float value : out) EXPECT_EQ(value, 77.0f) << "touched";
    return counts.status().ToString();
  }

  const TempFolder folder_;
  std::vector<std::unique_ptr<ShardFile>> files_;
};

struct Case {
  IdKind kind;
  RowType type;
  Isa isa;
};

/// Every kind of id, row type and instruction set against sums in double precision of what was given.
class TableSweepTest : public TableTest, public ::testing::WithParamInterface<Case> {};

TEST_P(TableSweepTest, PoolsTheRowsOfEachBag) {
  const Case param = GetParam();
  ShardFile::Options options;
  options.kernels = RowKernels::For(param.isa);
  if (options.kernels == nullptr) GTEST_SKIP() << "this processor has no " << IsaName(param.isa);
  std::mt19937 random(1);
  for (const size_t dim : {1, 17, 64}) {
    const EmbeddingTable& table = Table({.dim = dim, .row_type = param.type, .id_kind = param.kind}, kRows, options);
    std::vector<int64_t> ids, offsets = {0};
    std::vector<size_t> rows;
    std::vector<std::string> texts;
    std::vector<float> weights;
    for (int bag = 0; bag < 60; ++bag) {
      for (size_t n = random() % 50; n > 0; --n) {
        rows.push_back(random() % kRows);
        ids.push_back(param.kind == IdKind::kSparse ? SparseId(rows.back()) : static_cast<int64_t>(rows.back()));
        texts.push_back(StringId(rows.back()));
        weights.push_back(static_cast<float>(random() % 64) / 16 - 2);
      }
      offsets.push_back(static_cast<int64_t>(rows.size()));
    }
    const std::vector<absl::string_view> strings(texts.begin(), texts.end());
    IdBags bags;
    if (param.kind == IdKind::kString) {
      bags.strings = strings;
    } else {
      bags.ids = ids;
    }
    bags.offsets = offsets;
    for (const bool weighted : {false, true}) {
      for (const Pooling pooling : {Pooling::kSum, Pooling::kMean, Pooling::kNone}) {
        if (weighted && pooling == Pooling::kMean) continue;
        if (weighted) bags.weights = weights;
        if (!weighted) bags.weights = {};
        const size_t out_rows = pooling == Pooling::kNone ? rows.size() : 60;
        std::vector<float> out(out_rows * dim, 1e30f);
        const auto counts = table.Lookup(bags, pooling, absl::MakeSpan(out));
        ASSERT_TRUE(counts.ok()) << counts.status();
        EXPECT_EQ(counts->ids, rows.size());
        EXPECT_EQ(counts->unknown, 0u);
        for (size_t r = 0; r < out_rows; ++r) {
          const size_t begin = pooling == Pooling::kNone ? r : static_cast<size_t>(offsets[r]);
          const size_t end = pooling == Pooling::kNone ? r + 1 : static_cast<size_t>(offsets[r + 1]);
          std::vector<double> want(dim, 0.0);
          double size = 0;
          for (size_t i = begin; i < end; ++i) {
            const std::vector<float> values = RowValues(rows[i], dim);
            const double weight = weighted ? static_cast<double>(weights[i]) : 1.0;
            size += std::fabs(weight);
            for (size_t d = 0; d < dim; ++d) want[d] += weight * static_cast<double>(values[d]);
          }
          if (pooling == Pooling::kMean && end > begin) {
            for (double& value : want) value /= static_cast<double>(end - begin);
            size = 1;
          }
          // Of values up to 13.25 in rows whose range is 13: what a type may be off by, for each row of the sum.
          const double off[] = {1e-5, 13.5 / 2048, 13.5 / 256, 13.0 / 255 / 2 + 1e-4, 13.0 / 15 / 2 + 1e-4};
          for (size_t d = 0; d < dim; ++d) {
            ASSERT_NEAR(out[r * dim + d], want[d], off[static_cast<size_t>(param.type)] * size + 1e-6)
                << "bag " << r << " dim " << dim;
          }
        }
      }
    }
  }
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const IdKind kind : {IdKind::kDense, IdKind::kSparse, IdKind::kString}) {
    for (const RowType type :
         {RowType::kFloat32, RowType::kFloat16, RowType::kBfloat16, RowType::kInt8, RowType::kInt4}) {
      for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) cases.push_back({kind, type, isa});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, TableSweepTest, ::testing::ValuesIn(AllCases()), [](const auto& info) {
  return absl::StrCat(IdKindName(info.param.kind), "_", RowTypeName(info.param.type), "_", IsaName(info.param.isa));
});

TEST_F(TableTest, PaddedIdsLeaveThePaddingOut) {
  const EmbeddingTable& table = Table({.dim = 2});
  const std::vector<int64_t> ids = {4, -1, 6, -1, -1, -1};
  std::vector<float> out(4);
  const auto counts = table.Lookup({.ids = ids, .width = 3, .padding = -1}, Pooling::kMean, absl::MakeSpan(out));
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->ids, 2u);
  EXPECT_FLOAT_EQ(out[0], (RowValues(4, 2)[0] + RowValues(6, 2)[0]) / 2);
  EXPECT_EQ(out[2], 0.0f);
  EXPECT_EQ(out[3], 0.0f);
}

TEST_F(TableTest, EmptyStringsArePaddingWhereThatIsSaid) {
  const EmbeddingTable& table = Table({.dim = 1, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros});
  const std::string id = StringId(9);
  const std::vector<absl::string_view> strings = {id, "", "", ""};
  std::vector<float> out(2);
  auto counts =
      table.Lookup({.strings = strings, .width = 2, .empty_is_padding = true}, Pooling::kMean, absl::MakeSpan(out));
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->ids, 1u);
  EXPECT_EQ(counts->unknown, 0u);
  EXPECT_EQ(out[0], RowValues(9, 1)[0]);
  counts = table.Lookup({.strings = strings, .width = 2}, Pooling::kMean, absl::MakeSpan(out));
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->unknown, 3u);
  EXPECT_EQ(out[0], RowValues(9, 1)[0] / 2);
}

TEST_F(TableTest, UnknownIdsAreZerosADefaultRowOrAnErrorAndCounted) {
  for (const IdKind kind : {IdKind::kDense, IdKind::kSparse}) {
    TableSpec spec{.dim = 3, .row_type = RowType::kInt8, .id_kind = kind, .unknown = UnknownId::kZeros};
    // The last is unknown to both.
    const std::vector<int64_t> ids = {kind == IdKind::kSparse ? SparseId(5) : 5, int64_t{1} << 62};
    const std::vector<int64_t> offsets = {0, 1, 2};
    const IdBags bags{.ids = ids, .offsets = offsets};
    std::vector<float> out(6, 5.0f);

    const EmbeddingTable& zeros = Table(spec);
    auto counts = zeros.Lookup(bags, Pooling::kSum, absl::MakeSpan(out));
    ASSERT_TRUE(counts.ok()) << counts.status();
    EXPECT_EQ(counts->unknown, 1u);
    EXPECT_EQ(zeros.unknown_ids(), 1u);
    EXPECT_EQ(zeros.looked_up_ids(), 2u);
    EXPECT_NEAR(out[0], RowValues(5, 3)[0], 0.1);
    for (size_t i = 3; i < 6; ++i) EXPECT_EQ(out[i], 0.0f);

    spec.unknown = UnknownId::kDefaultRow;
    spec.default_row = {1, -2, 3};
    const EmbeddingTable& defaults = Table(spec);
    counts = defaults.Lookup(bags, Pooling::kSum, absl::MakeSpan(out));
    ASSERT_TRUE(counts.ok()) << counts.status();
    EXPECT_EQ(counts->unknown, 1u);
    EXPECT_EQ(out[3], 1.0f);
    EXPECT_EQ(out[4], -2.0f);
    EXPECT_EQ(out[5], 3.0f);

    spec.unknown = UnknownId::kError;
    spec.default_row = {};
    const auto refused = Table(spec).Lookup(bags, Pooling::kSum, absl::MakeSpan(out));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("table 't': id 1: got 4611686018427387904"));
  }
}

TEST_F(TableTest, StringsThatShareABeginningOrALengthAreToldApart) {
  const EmbeddingTable& table = Table({.dim = 1, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros});
  const std::string near[] = {StringId(7) + "0", StringId(7).substr(1), "item/xxxxxxx8",
                              std::string("item/xxxxxxx7\0", 14)};
  const std::vector<absl::string_view> strings(std::begin(near), std::end(near));
  std::vector<float> out(4);
  const auto counts = table.Lookup({.strings = strings}, Pooling::kNone, absl::MakeSpan(out));
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->unknown, 4u);
}

TEST_F(TableTest, RefusesBadBagsBeforeAnythingIsTouched) {
  const EmbeddingTable& table = Table({.dim = 4});
  const std::vector<int64_t> ids = {1, 2, 3};
  const std::vector<int64_t> offsets = {0, 3};
  const std::vector<int64_t> negative = {1, -5, 3}, huge = {1, 2, kRows},
                             minimum = {std::numeric_limits<int64_t>::min()};
  const std::vector<int64_t> one = {0, 1}, from_one = {1, 3}, down = {0, 2, 1, 3}, over = {0, 4}, under = {0, 2},
                             below = {0, -1, 3};
  const std::vector<float> nan = {1, std::nanf(""), 1}, infinite = {INFINITY, 1, 1}, two = {1, 2}, fine = {1, 2, 3};
  EXPECT_THAT(Error(table, {.ids = negative, .offsets = offsets}),
              HasSubstr("table 't': id 1: got -5, want 0 or more"));
  EXPECT_THAT(Error(table, {.ids = huge, .offsets = offsets}), HasSubstr("id 2: got 3000, want less than 3000"));
  EXPECT_THAT(Error(table, {.ids = minimum, .offsets = one}), HasSubstr("id 0: got -9223372036854775808"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = from_one}), HasSubstr("offset 0: got 1, want 0"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = down}, Pooling::kSum, 3),
              HasSubstr("offset 2: got 1 behind 2, want no decrease"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = below}, Pooling::kSum, 2), HasSubstr("offset 1: got -1 behind 0"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = over}), HasSubstr("offset 1: got 4, want 3, the number of ids"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = under}), HasSubstr("offset 1: got 2, want 3"));
  EXPECT_THAT(Error(table, {.ids = ids}), HasSubstr("offsets: got none"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = offsets, .weights = nan}), HasSubstr("weight 1: got nan"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = offsets, .weights = infinite}), HasSubstr("weight 0: got inf"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = offsets, .weights = two}), HasSubstr("weights: got 2, want 3"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = offsets, .weights = fine}, Pooling::kMean),
              HasSubstr("weights: got some with mean"));
  EXPECT_THAT(Error(table, {.ids = ids, .width = 2}), HasSubstr("ids: got 3, want a multiple of 2"));
  EXPECT_THAT(Error(table, {.ids = ids, .offsets = offsets}, Pooling::kSum, 2), HasSubstr("result: got room for 8"));
  const std::vector<absl::string_view> strings = {"a"};
  EXPECT_THAT(Error(table, {.strings = strings, .width = 1}), HasSubstr("ids: got strings, want numbers"));
}

TEST_F(TableTest, AnEmptyTableAndAnEmptyRequestAreFine) {
  const EmbeddingTable& table = Table({.dim = 4, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros}, 0);
  const std::vector<int64_t> ids = {7}, offsets = {0, 0, 1}, none = {0};
  std::vector<float> out(8, 1.0f);
  const auto counts = table.Lookup({.ids = ids, .offsets = offsets}, Pooling::kSum, absl::MakeSpan(out));
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->unknown, 1u);
  EXPECT_THAT(out, ::testing::Each(0.0f));
  EXPECT_TRUE(table.Lookup({.offsets = none}, Pooling::kSum, {}).ok());
}

TEST(RowStrideTest, RowsAreAlignedWhereThatCostsLess) {
  const auto stride = [](RowType type, IdKind kind, size_t dim) {
    return RowStride({.name = "t", .dim = dim, .row_type = type, .id_kind = kind});
  };
  EXPECT_EQ(stride(RowType::kFloat32, IdKind::kDense, 64), 256u);
  // 48 bytes: one line instead of 1.6 for a third more.
  EXPECT_EQ(stride(RowType::kInt8, IdKind::kSparse, 32), 64u);
  // 144 bytes: 3 lines instead of 3.1 for a third more.
  EXPECT_EQ(stride(RowType::kInt8, IdKind::kSparse, 128), 144u);
  EXPECT_EQ(stride(RowType::kFloat32, IdKind::kDense, 1), 8u);
}

TEST(TableSpecTest, WhatCannotBeIsRefused) {
  const auto error = [](const TableSpec& spec) { return std::string(spec.Validate().message()); };
  EXPECT_THAT(error({.name = "", .dim = 1}), HasSubstr("name of 0 bytes"));
  EXPECT_THAT(error({.name = "t", .dim = 0}), HasSubstr("got dim 0"));
  EXPECT_THAT(error({.name = "t", .dim = kMaxDim + 1}), HasSubstr("got dim 16385"));
  EXPECT_THAT(error({.name = "t", .dim = 2, .unknown = UnknownId::kDefaultRow}), HasSubstr("default row of 0"));
  EXPECT_THAT(error({.name = "t", .dim = 1, .unknown = UnknownId::kDefaultRow, .default_row = {NAN}}),
              HasSubstr("nan"));
  EXPECT_THAT(error({.name = "t", .dim = 1, .default_row = {1}}), HasSubstr("default row of 1"));
}

}  // namespace
}  // namespace portico
