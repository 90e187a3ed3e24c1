#include "cli/table_build.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/table_bench.h"
#include "embedding/shard_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/npy_bytes.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class TableBuildTest : public ::testing::Test {
 protected:
  TableBuildTest() {
    build_.out = folder_.File("t.shard");
    build_.name = "t";
    build_.rows = folder_.Write("rows.npy", Npy<float>("<f4", "(3, 2)", {1, 2, 3, 4, 5, 6}));
  }
  absl::Status Build() {
    return BuildTable(build_, [this](uint64_t done, uint64_t all) { done_ = absl::StrCat(done, "/", all); }).status();
  }
  std::string Error() {
    const absl::Status status = Build();
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(std::filesystem::exists(build_.out));
    return std::string(status.message());
  }
  std::vector<float> Rows(const IdBags& bags) {
    const auto file = ShardFile::Open(build_.out);
    EXPECT_TRUE(file.ok()) << file.status();
    std::vector<float> out(bags.count() * 2);
    const auto counts = (*file)->Find("t")->Lookup(bags, Pooling::kNone, absl::MakeSpan(out));
    EXPECT_TRUE(counts.ok()) << counts.status();
    return out;
  }

  const TempFolder folder_;
  TableBuild build_;
  std::string done_;
};

TEST_F(TableBuildTest, RowsOfAnArrayAreFoundByPlace) {
  ASSERT_TRUE(Build().ok());
  EXPECT_EQ(done_, "3/3");
  const std::vector<int64_t> ids = {2, 0};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(5, 6, 1, 2));
}

TEST_F(TableBuildTest, RowsAreFoundByTheIdsGiven) {
  build_.ids = folder_.Write("ids.npy", Npy<int64_t>("<i8", "(3,)", {-7, 1LL << 50, 9}));
  ASSERT_TRUE(Build().ok());
  const std::vector<int64_t> ids = {9, -7};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(5, 6, 1, 2));
}

TEST_F(TableBuildTest, RowsAreFoundByTheLinesGiven) {
  build_.string_ids = folder_.Write("ids.txt", "ab\nc d\nz\n");
  build_.unknown = "default";
  build_.default_row = folder_.Write("default.npy", Npy<double>("<f8", "(2,)", {8, 9}));
  ASSERT_TRUE(Build().ok());
  const std::vector<absl::string_view> strings = {"c d", "none"};
  EXPECT_THAT(Rows({.strings = strings}), ::testing::ElementsAre(3, 4, 8, 9));
}

TEST_F(TableBuildTest, RawNumbersNeedATypeAndADim) {
  build_.rows = folder_.Write("rows", Bytes<double>({1, 2, 3, 4}));
  build_.raw = "float64";
  EXPECT_THAT(Error(), HasSubstr("--raw: got no --dim"));
  build_.dim = 3;
  EXPECT_THAT(Error(), HasSubstr("got 32 bytes, want a multiple of 24"));
  build_.dim = 2;
  build_.ids = folder_.Write("ids", Bytes<int64_t>({4, 5}));
  ASSERT_TRUE(Build().ok());
  const std::vector<int64_t> ids = {5, 4};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(3, 4, 1, 2));
}

TEST_F(TableBuildTest, WhatDoesNotFitTogetherIsRefusedAndNothingIsWritten) {
  build_.ids = folder_.Write("ids.npy", Npy<int64_t>("<i8", "(2,)", {1, 2}));
  EXPECT_THAT(Error(), HasSubstr("got shape [2], want [3]"));
  build_.ids = folder_.Write("ids.npy", Npy<float>("<f4", "(3,)", {1, 2, 3}));
  EXPECT_THAT(Error(), HasSubstr("got float32, want int64"));
  build_.ids = folder_.Write("ids.npy", Npy<int64_t>("<i8", "(3,)", {1, 2, 1}));
  EXPECT_THAT(Error(), HasSubstr("got id '1' twice"));
  build_.ids = "";
  build_.string_ids = folder_.Write("ids.txt", "a\nb\n");
  EXPECT_THAT(Error(), HasSubstr("got fewer lines than there are rows"));
  build_.string_ids = folder_.Write("ids.txt", "a\nb\nc\nd\n");
  EXPECT_THAT(Error(), HasSubstr("got more lines than there are rows"));
  build_.string_ids = "";
  build_.type = "int2";
  EXPECT_THAT(Error(), HasSubstr("row type: got 'int2'"));
  build_.type = "int8";
  build_.rows = folder_.Write("rows.npy", Npy<float>("<f4", "(3, 2)", {1, 2, 3, 4, 5}));
  EXPECT_THAT(Error(), HasSubstr("bytes, want"));
  build_.rows = folder_.Write("rows.npy", Npy<float>("<f4", "(4,)", {1, 2, 3, 4}));
  EXPECT_THAT(Error(), HasSubstr("got shape [4], want [rows, dim]"));
  build_.rows = folder_.Write("rows.npy", Npy<float>("<f4", "(1, 2)", {1, NAN}));
  EXPECT_THAT(Error(), HasSubstr("row 0: value 1: got nan"));
}

TEST_F(TableBuildTest, TheBenchmarkLooksUpWhatIsThere) {
  build_.string_ids = folder_.Write("ids.txt", "ab\nc d\nz\n");
  ASSERT_TRUE(Build().ok());
  const auto file = ShardFile::Open(build_.out);
  ASSERT_TRUE(file.ok());
  const auto text = RunTableBench(*(*file)->tables()[0], {.bags = 4, .ids_per_bag = 3, .time = absl::Milliseconds(5)});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("4 bags of 3 ids"));
}

}  // namespace
}  // namespace portico
