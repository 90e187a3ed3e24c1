#include "embedding/shard_lookup.h"

#include <functional>
#include <random>

#include "Eigen/Core"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/lookup_builder.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr size_t kRows = 2000;

std::vector<float> DefaultRow(size_t dim) {
  std::vector<float> row(dim);
  for (size_t i = 0; i < dim; ++i) row[i] = static_cast<float>(i % 7) - 3;
  return row;
}

/// A shard with a table for every row type, kind of ids and answer to unknown ids.
class ShardLookupTest : public ::testing::Test {
 protected:
  ShardLookupTest() {
    std::vector<std::pair<TableSpec, size_t>> tables;
    for (int type = 0; type < kRowTypes; ++type) {
      for (int kind = 0; kind < kIdKinds; ++kind) {
        for (int unknown = 0; unknown < kUnknownIds; ++unknown) {
          TableSpec spec;
          spec.dim = static_cast<size_t>(3 + 5 * type + 11 * kind);
          spec.row_type = static_cast<RowType>(type);
          spec.id_kind = static_cast<IdKind>(kind);
          spec.unknown = static_cast<UnknownId>(unknown);
          if (spec.unknown == UnknownId::kDefaultRow) spec.default_row = DefaultRow(spec.dim);
          spec.name = NameOf(spec.row_type, spec.id_kind, spec.unknown);
          tables.emplace_back(spec, kRows);
        }
      }
    }
    const std::string path = folder_.File("table.shard");
    const absl::Status built = BuildShard(path, tables);
    EXPECT_TRUE(built.ok()) << built;
    shard_ = OpenShard(path);
  }

  static std::string NameOf(RowType type, IdKind kind, UnknownId unknown) {
    return absl::StrCat(RowTypeName(type), " ", IdKindName(kind), " ", UnknownIdName(unknown));
  }
  static int64_t IdOf(IdKind kind, size_t row) {
    return kind == IdKind::kSparse ? SparseId(row) : static_cast<int64_t>(row);
  }
  /// The numbers of a row as the table gives them: what was stored, not what was given.
  std::vector<float> Stored(const EmbeddingTable& table, size_t row) const {
    const TableSpec& spec = table.spec();
    const std::vector<float> given = row < kRows                              ? RowValues(row, spec.dim)
                                     : spec.unknown == UnknownId::kDefaultRow ? spec.default_row
                                                                              : std::vector<float>(spec.dim);
    if (row >= kRows && spec.unknown != UnknownId::kDefaultRow) return given;
    std::string bytes(EncodedBytes(spec.row_type, spec.dim), '\0');
    EXPECT_TRUE(EncodeRow(RowKernels::Best(), spec.row_type, given, bytes.data()).ok());
    return Decoded(spec, bytes.data());
  }
  static std::vector<float> Decoded(const TableSpec& spec, const char* row) {
    std::vector<float> values(spec.dim);
    DecodeRow(RowKernels::Best(), spec.row_type, row, absl::MakeSpan(values));
    return values;
  }
  absl::StatusOr<std::vector<Tensor>> Run(const LookupBuilder& call) const {
    auto lookup = ShardLookup::Read(*shard_, call.Build());
    if (!lookup.ok()) return lookup.status();
    return lookup->Run();
  }
  void ExpectRefused(const LookupBuilder& call, absl::StatusCode code, absl::string_view message) const {
    ExpectRefused(call.Build(), code, message);
  }
  void ExpectRefused(std::vector<Tensor> inputs, absl::StatusCode code, absl::string_view message) const {
    const auto lookup = ShardLookup::Read(*shard_, std::move(inputs));
    EXPECT_EQ(lookup.status().code(), code) << lookup.status();
    EXPECT_THAT(std::string(lookup.status().message()), HasSubstr(std::string(message)));
  }

  const TempFolder folder_;
  std::unique_ptr<ShardFile> shard_;
};

/// What one entry of a random call wants, by row numbers; those from kRows on are unknown.
struct Wanted {
  const EmbeddingTable* table;
  LookupForm form;
  std::vector<size_t> rows;
  std::vector<int32_t> lengths;
  std::vector<float> weights;
};

TEST_F(ShardLookupTest, RandomCallsAreAnsweredAsEigenDoes) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    LookupBuilder call;
    std::vector<Wanted> wanted;
    for (size_t entries = random() % 12; entries > 0; --entries) {
      Wanted one;
      one.table = shard_->tables()[random() % shard_->tables().size()].get();
      one.form = random() % 2 == 0 ? LookupForm::kSums : LookupForm::kRows;
      const TableSpec& spec = one.table->spec();
      const size_t end = spec.unknown == UnknownId::kError ? kRows : kRows + kRows / 10;
      LookupBuilder::Sums sums;
      for (size_t bags = random() % 20; bags > 0; --bags) {
        sums.lengths.push_back(static_cast<int32_t>(random() % 9));
        for (int n = sums.lengths.back(); n > 0; --n) one.rows.push_back(random() % end);
      }
      const bool weighted = one.form == LookupForm::kSums && random() % 3 == 0;
      for (const size_t row : one.rows) {
        if (spec.id_kind == IdKind::kString) {
          sums.strings.push_back(StringId(row));
        } else {
          sums.ids.push_back(IdOf(spec.id_kind, row));
        }
        if (weighted) one.weights.push_back(static_cast<float>(random() % 64) / 16 - 2);
      }
      one.lengths = sums.lengths;
      sums.weights = one.weights;
      if (one.form == LookupForm::kSums) {
        call.Add(spec.name, sums);
      } else if (spec.id_kind == IdKind::kString) {
        call.AddRows(spec.name, sums.strings);
      } else {
        call.AddRows(spec.name, sums.ids);
      }
      wanted.push_back(std::move(one));
    }
    const auto outputs = Run(call);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    const LookupAnswer answer(*outputs);
    for (size_t e = 0; e < wanted.size(); ++e) {
      const Wanted& one = wanted[e];
      const TableSpec& spec = one.table->spec();
      SCOPED_TRACE(absl::StrCat("round ", round, ", entry ", e, ", ", spec.name));
      EXPECT_EQ(answer.Found(e, LookupCall::kUnknown),
                std::count_if(one.rows.begin(), one.rows.end(), [](size_t row) { return row >= kRows; }));
      EXPECT_EQ(answer.Found(e, LookupCall::kRowType), static_cast<int64_t>(spec.row_type));
      EXPECT_EQ(answer.Found(e, LookupCall::kDim), static_cast<int64_t>(spec.dim));
      EXPECT_EQ(static_cast<uint64_t>(answer.Found(e, LookupCall::kBegin)) % LookupCall::kAlignment, 0u);
      if (one.form == LookupForm::kRows) {
        for (size_t i = 0; i < one.rows.size(); ++i) {
          ASSERT_GE(answer.Bytes(e).size(), (i + 1) * one.table->row_bytes());
          ASSERT_EQ(Decoded(spec, answer.Bytes(e).data() + i * one.table->row_bytes()),
                    Stored(*one.table, one.rows[i]));
        }
        continue;
      }
      size_t i = 0;
      for (size_t bag = 0; bag < one.lengths.size(); ++bag) {
        Eigen::VectorXd want = Eigen::VectorXd::Zero(static_cast<Eigen::Index>(spec.dim));
        double size = 0;
        for (int n = one.lengths[bag]; n > 0; --n, ++i) {
          // A default row is added as it was declared, rows as they were stored.
          const std::vector<float> row = one.rows[i] >= kRows && spec.unknown == UnknownId::kDefaultRow
                                             ? spec.default_row
                                             : Stored(*one.table, one.rows[i]);
          const double weight = one.weights.empty() ? 1.0 : static_cast<double>(one.weights[i]);
          want += weight * Eigen::Map<const Eigen::VectorXf>(row.data(), want.size()).cast<double>();
          size += std::abs(weight) * 14;
        }
        const float* const got = answer.Sums(e) + bag * spec.dim;
        for (size_t d = 0; d < spec.dim; ++d) {
          ASSERT_NEAR(got[d], want[static_cast<Eigen::Index>(d)], 1e-5 * size + 1e-6);
        }
      }
    }
  }
}

TEST_F(ShardLookupTest, AnswersBeginAtWholeLinesAndGapsAreZeros) {
  LookupBuilder call;
  const std::string name = NameOf(RowType::kFloat32, IdKind::kDense, UnknownId::kError);
  call.Add(name, {.ids = {1}, .lengths = {1}}).Add(name, {.ids = {2}, .lengths = {1}});
  const auto outputs = Run(call);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const LookupAnswer answer(*outputs);
  EXPECT_EQ(answer.Found(1, LookupCall::kBegin), 64);
  EXPECT_EQ(answer.size(), 64u + 3 * sizeof(float));
  EXPECT_EQ(answer.Bytes(0).substr(12, 52), std::string(52, '\0'));
}

TEST_F(ShardLookupTest, ACallOfNothingIsAnsweredWithNothing) {
  const auto outputs = Run(LookupBuilder());
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[LookupCall::kRows].bytes().size(), 0u);
  EXPECT_EQ((*outputs)[LookupCall::kFound].rows(), 0);
}

TEST_F(ShardLookupTest, UnknownIdsThatAreErrorsAreOutOfRangeSoThatNobodyAsksAReplica) {
  for (const IdKind kind : {IdKind::kDense, IdKind::kSparse}) {
    const std::string name = NameOf(RowType::kInt8, kind, UnknownId::kError);
    for (const LookupForm form : {LookupForm::kSums, LookupForm::kRows}) {
      LookupBuilder call;
      const std::vector<int64_t> ids = {IdOf(kind, 3), IdOf(kind, kRows + 1)};
      if (form == LookupForm::kSums) call.Add(name, {.ids = ids, .lengths = {2}});
      if (form == LookupForm::kRows) call.AddRows(name, ids);
      const auto outputs = Run(call);
      EXPECT_EQ(outputs.status().code(), absl::StatusCode::kOutOfRange) << outputs.status();
      EXPECT_THAT(std::string(outputs.status().message()), HasSubstr(absl::StrCat("table '", name, "'")));
    }
  }
}

TEST_F(ShardLookupTest, ABrokenBlockIsDataLossThatNamesIt) {
  const std::string path = folder_.File("broken.shard");
  ASSERT_TRUE(BuildShard(path, {{{.name = "t", .dim = 64}, 2000}}).ok());
  const uint64_t at = OpenShard(path)->layout().tables[0].rows.offset + 100;
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put('\x55');
  }
  shard_ = OpenShard(path);
  EXPECT_TRUE(Run(LookupBuilder().AddRows("t", std::vector<int64_t>{1999})).ok());
  const auto lost = Run(LookupBuilder().AddRows("t", std::vector<int64_t>{1999, 0}));
  EXPECT_EQ(lost.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(lost.status().message()), HasSubstr("(rows of table 't', bytes"));
}

TEST_F(ShardLookupTest, ADefaultRowThatTheRowTypeCannotHoldIsRefusedWhenTheTableIsMade) {
  TableSpec spec{.name = "t", .dim = 1, .row_type = RowType::kFloat16, .unknown = UnknownId::kDefaultRow};
  spec.default_row = {1e6f};
  const absl::Status built = BuildShard(folder_.File("large.shard"), {{spec, 3}});
  EXPECT_EQ(built.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(built.message()), HasSubstr("default row: value 0: got 1e+06, which does not fit float16"));
}

TEST_F(ShardLookupTest, EveryMalformedCallIsRefusedWithAMessageOfItsOwn) {
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  const std::string table = NameOf(RowType::kFloat32, IdKind::kDense, UnknownId::kZeros);
  LookupBuilder good;
  good.Add(table, {.ids = {1, 2, 3}, .lengths = {1, 2}, .weights = {1, 1, 1}});
  ASSERT_TRUE(Run(good).ok());
  const auto spoilt = [&](const std::function<void(LookupBuilder&)>& spoil) {
    LookupBuilder call = good;
    spoil(call);
    return call;
  };
  const auto column = [&](LookupCall::Entry which, int32_t value) {
    return spoilt([&](LookupBuilder& call) { call.entries[which] = value; });
  };
  ExpectRefused(column(LookupCall::kForm, 3), kInvalid, "input 'entries', entry 0: got 3 for form, want 0 (sums)");
  ExpectRefused(column(LookupCall::kForm, -1), kInvalid, "got -1 for form");
  ExpectRefused(column(LookupCall::kForm, 1), kInvalid, "got 2 for bags, want 0: rows have none");
  ExpectRefused(column(LookupCall::kIdCount, -1), kInvalid, "got -1 for ids, want 0 or more");
  ExpectRefused(column(LookupCall::kBagCount, -7), kInvalid, "got -7 for bags, want 0 or more");
  ExpectRefused(column(LookupCall::kWeighted, 2), kInvalid, "got 2 for weighted, want 0 or 1");
  ExpectRefused(column(LookupCall::kIdCount, 4), kInvalid, "input 'ids': got 3, want 4");
  ExpectRefused(column(LookupCall::kIdCount, 0x7fffffff), kInvalid, "input 'ids': got 3, want 2147483647");
  ExpectRefused(column(LookupCall::kBagCount, 1), kInvalid, "input 'lengths': got 2, want 1, the bags");
  ExpectRefused(column(LookupCall::kWeighted, 0), kInvalid, "input 'weights': got 3, want 0");
  ExpectRefused(spoilt([](LookupBuilder& call) {
                  call.entries[LookupCall::kForm] = 1;
                  call.entries[LookupCall::kBagCount] = 0;
                }),
                kInvalid, "got 1 for weighted, want 0: rows have no weights");
  ExpectRefused(spoilt([](LookupBuilder& call) { call.strings = {"a"}; }), kInvalid, "input 'strings': got 1, want 0");
  ExpectRefused(spoilt([](LookupBuilder& call) {
                  call.lengths = {4, -1};
                }),
                kInvalid, "input 'lengths', bag 1: got -1, want 0 or more");
  ExpectRefused(spoilt([](LookupBuilder& call) {
                  call.lengths = {1, 1};
                }),
                kInvalid, "input 'lengths', entry 0: got bags of 2 ids, want 3");
  ExpectRefused(spoilt([](LookupBuilder& call) {
                  call.lengths = {0x7fffffff, 0x7fffffff};
                }),
                kInvalid, "got bags of 4294967294 ids, want 3");
  ExpectRefused(spoilt([](LookupBuilder& call) { call.tables = {"nobody"}; }), absl::StatusCode::kNotFound,
                "table 'nobody': not in shard file");

  std::vector<Tensor> inputs = good.Build();
  inputs.pop_back();
  ExpectRefused(inputs, kInvalid, "lookup: got 5 inputs, want 6");
  inputs = good.Build();
  inputs[LookupCall::kIds] = Tensor::Of<int32_t>({3}, {1, 2, 3});
  ExpectRefused(inputs, kInvalid, "input 'ids': got int32[3], want int64 of rank 1");
  inputs = good.Build();
  inputs[LookupCall::kLengths] = Tensor::Of<int32_t>({1, 2}, {1, 2});
  ExpectRefused(inputs, kInvalid, "input 'lengths': got int32[1,2], want int32 of rank 1");
  inputs = good.Build();
  inputs[LookupCall::kEntries] = Tensor::Of<int32_t>({4, 1}, {0, 3, 2, 1});
  ExpectRefused(inputs, kInvalid, "input 'entries': got [4,1], want [1,4], a row for each table");
  inputs = good.Build();
  inputs[LookupCall::kTables] = Tensor();
  ExpectRefused(inputs, kInvalid, "input 'tables': got ");

  LookupBuilder many;
  for (int64_t i = 0; i <= LookupCall::kMaxEntries; ++i) many.Add(table, {});
  ExpectRefused(many, kInvalid, "input 'tables': got 4097, want at most 4096");
}

TEST_F(ShardLookupTest, IdsAndWeightsAreCheckedByTheTable) {
  const std::string table = NameOf(RowType::kFloat32, IdKind::kDense, UnknownId::kZeros);
  const auto negative = Run(LookupBuilder().AddRows(table, std::vector<int64_t>{-1}));
  EXPECT_THAT(std::string(negative.status().message()), HasSubstr("id 0: got -1, want 0 or more"));
  const auto weight = Run(LookupBuilder().Add(table, {.ids = {1}, .lengths = {1}, .weights = {std::nanf("")}}));
  EXPECT_THAT(std::string(weight.status().message()), HasSubstr("weight 0: got nan"));
}

TEST_F(ShardLookupTest, AnswersThatWouldBeTooLargeAreRefusedBeforeMemoryIsTaken) {
  const std::string table = NameOf(RowType::kFloat32, IdKind::kDense, UnknownId::kZeros);
  const auto refused = ShardLookup::Read(*shard_, LookupBuilder().Add(table, {.lengths = {0, 0, 0}}).Build(), 35);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("got 36 bytes of rows to answer with, want at most 35"));
  EXPECT_TRUE(ShardLookup::Read(*shard_, LookupBuilder().Add(table, {.lengths = {0, 0, 0}}).Build(), 36).ok());
  // By what is said alone: no tensor of this size exists.
  LookupBuilder claims;
  for (int i = 0; i < 4000; ++i) claims.Add(table, {});
  for (size_t i = 0; i < claims.entries.size(); i += 4) claims.entries[i + 2] = 0x7fffffff;
  ExpectRefused(claims, absl::StatusCode::kInvalidArgument, "input 'lengths': got 0, want 8589934588000");
}

}  // namespace
}  // namespace portico
