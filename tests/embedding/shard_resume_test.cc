#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/shard_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Saved = ShardWriter::Saved;

/// A table that is written in parts, each by a writer that is dropped then, as with a process that was killed.
class ShardResumeTest : public ::testing::TestWithParam<TableSpec> {
 protected:
  ShardResumeTest() { options_.keep = folder_.File("part"); }

  absl::Status AddRows(ShardWriter& writer, size_t begin, size_t end) const {
    for (size_t row = begin; row < end; ++row) {
      const std::vector<int64_t> ids = {SparseId(row)};
      const std::string text = StringId(row);
      const std::vector<absl::string_view> strings = {text};
      const std::vector<float> values = RowValues(row, spec_.dim);
      ShardWriter::Rows rows{.values = values};
      if (spec_.id_kind == IdKind::kSparse) rows.ids = ids;
      if (spec_.id_kind == IdKind::kString) rows.strings = strings;
      RETURN_IF_ERROR(writer.Add(rows));
    }
    return absl::OkStatus();
  }
  /// Writes on from `from`, null for the beginning, up to `saved` rows, and `lost` more behind them.
  absl::StatusOr<Saved> Write(const Saved* from, size_t saved, size_t lost) const {
    std::unique_ptr<ShardWriter> writer;
    if (from == nullptr) {
      ASSIGN_OR_RETURN(writer, ShardWriter::Create(path_, options_));
      RETURN_IF_ERROR(writer->BeginTable(spec_));
    } else {
      ASSIGN_OR_RETURN(writer, ShardWriter::Continue(path_, options_, spec_, *from));
    }
    RETURN_IF_ERROR(AddRows(*writer, from == nullptr ? 0 : from->rows, saved));
    ASSIGN_OR_RETURN(const Saved result, writer->Save());
    RETURN_IF_ERROR(AddRows(*writer, saved, saved + lost));
    return result;
  }
  absl::Status Finish(const Saved& from, size_t rows) const {
    ASSIGN_OR_RETURN(const auto writer, ShardWriter::Continue(path_, options_, spec_, from));
    RETURN_IF_ERROR(AddRows(*writer, from.rows, rows));
    RETURN_IF_ERROR(writer->EndTable());
    return writer->Commit();
  }
  std::string Whole(size_t rows) const {
    const std::string path = folder_.File("whole.shard");
    EXPECT_TRUE(BuildShard(path, {{spec_, rows}}).ok());
    return *ReadFile(path, uint64_t{1} << 30);
  }

  const TempFolder folder_;
  const std::string path_ = folder_.File("t.shard");
  const TableSpec spec_ = GetParam();
  ShardWriter::Options options_;
};

TEST_P(ShardResumeTest, TheFileIsTheSameHoweverOftenItWasInterrupted) {
  constexpr size_t kRows = 9'000;
  for (const std::vector<size_t>& stops :
       {std::vector<size_t>{0}, {1}, {kRows}, {0, 0, 1, 2}, {100, 1'000, 1'001, 5'000}, {3'000, kRows}}) {
    for (const size_t lost : {0, 1, 4'000}) {
      SCOPED_TRACE(absl::StrCat(stops.size(), " stops from row ", stops[0], ", ", lost, " rows lost"));
      std::optional<Saved> saved;
      for (const size_t stop : stops) {
        const auto next = Write(saved.has_value() ? &*saved : nullptr, stop, lost);
        ASSERT_TRUE(next.ok()) << next.status();
        ASSERT_FALSE(fs::exists(path_));
        saved = *next;
        ASSERT_EQ(saved->rows, stop);
      }
      ASSERT_EQ(Finish(*saved, kRows), absl::OkStatus());
      ASSERT_TRUE(*ReadFile(path_, uint64_t{1} << 30) == Whole(kRows));
      fs::remove(path_);
    }
  }
}

TEST_P(ShardResumeTest, WhoIsKilledAgainBeforeTheNextCheckpointLosesNothing) {
  for (const size_t stop : {1, 100, 3'000, 9'000}) {
    SCOPED_TRACE(absl::StrCat(stop, " rows"));
    const auto saved = Write(nullptr, stop, 0);
    ASSERT_TRUE(saved.ok()) << saved.status();
    for (const size_t more : {0, 0, 1, 200}) {
      const auto writer = ShardWriter::Continue(path_, options_, spec_, *saved);
      ASSERT_TRUE(writer.ok()) << writer.status();
      ASSERT_TRUE(AddRows(**writer, stop, stop + more).ok());
    }
    ASSERT_EQ(Finish(*saved, 9'500), absl::OkStatus());
    ASSERT_TRUE(*ReadFile(path_, uint64_t{1} << 30) == Whole(9'500));
    fs::remove(path_);
  }
}

TEST_P(ShardResumeTest, IdsThatComeTwiceAreFoundAcrossAStop) {
  if (spec_.id_kind == IdKind::kDense) return;
  auto saved = Write(nullptr, 100, 0);
  ASSERT_TRUE(saved.ok()) << saved.status();
  const auto writer = ShardWriter::Continue(path_, options_, spec_, *saved);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(AddRows(**writer, 7, 8).ok());
  EXPECT_THAT(std::string((*writer)->EndTable().message()), HasSubstr("twice, in rows 7 and 100"));
}

TEST_P(ShardResumeTest, WhatIsNotWhatWasWrittenIsNotGoneOnWith) {
  auto saved = Write(nullptr, 3'000, 0);
  ASSERT_TRUE(saved.ok()) << saved.status();
  const std::string rows_path = options_.keep + ".rows";
  const std::string good = *ReadFile(rows_path, uint64_t{1} << 30);
  const auto error = [&] {
    const auto writer = ShardWriter::Continue(path_, options_, spec_, *saved);
    EXPECT_TRUE(absl::IsDataLoss(writer.status())) << writer.status();
    return std::string(writer.status().message());
  };
  const size_t begin = ShardLayout::kSectionAlignment;
  for (const size_t at : {begin, begin + 50'000, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    ASSERT_TRUE(WriteFileAtomically(rows_path, bad).ok());
    error();
  }
  ASSERT_TRUE(WriteFileAtomically(rows_path, good.substr(0, good.size() - 1)).ok());
  EXPECT_THAT(error(), HasSubstr("want at least"));
  fs::remove(rows_path);
  EXPECT_THAT(error(), HasSubstr("got 0 bytes"));
  ASSERT_TRUE(WriteFileAtomically(rows_path, good).ok());
  if (spec_.id_kind == IdKind::kString) {
    const std::string strings_path = options_.keep + ".strings";
    std::string strings = *ReadFile(strings_path, uint64_t{1} << 30);
    strings[strings.size() / 2] = '?';
    ASSERT_TRUE(WriteFileAtomically(strings_path, strings).ok());
    EXPECT_THAT(error(), HasSubstr("another id than was written"));
    ASSERT_TRUE(WriteFileAtomically(strings_path, "").ok());
    error();
    return;
  }
  ASSERT_EQ(Finish(*saved, 3'001), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ShardResumeTest,
    ::testing::Values(TableSpec{.name = "dense", .dim = 12},
                      TableSpec{.name = "sparse", .dim = 31, .row_type = RowType::kInt8, .id_kind = IdKind::kSparse},
                      TableSpec{.name = "string", .dim = 3, .id_kind = IdKind::kString, .seed = 9}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace portico
