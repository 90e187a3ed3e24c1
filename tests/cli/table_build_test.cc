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
#include "models/package/shard_package.h"
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

TEST_F(TableBuildTest, NoFileButAShardFileIsReplaced) {
  const auto refused = [this](const std::string& out) {
    const std::string before = folder_.Read(out);
    build_.out = folder_.File(out);
    const absl::Status status = Build();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(folder_.Read(out), before);
    return std::string(status.message());
  };
  EXPECT_THAT(refused("rows.npy"), HasSubstr("': got the input '"));
  std::filesystem::create_hard_link(build_.rows, folder_.File("same.npy"));
  EXPECT_THAT(refused("same.npy"), HasSubstr("which the table would replace, want another file"));
  folder_.Write("notes.txt", "what nobody has a copy of");
  EXPECT_THAT(refused("notes.txt"), HasSubstr("got a file there that is no shard file"));
  folder_.Write("long.txt", std::string(100'000, 'x'));
  EXPECT_THAT(refused("long.txt"), HasSubstr("choose another name, or remove it"));
  build_.out = folder_.Folder("folder");
  EXPECT_THAT(std::string(Build().message()), HasSubstr("got a folder, want a file"));

  build_.out = folder_.Write("empty", "");
  ASSERT_EQ(Build(), absl::OkStatus());
  build_.rows = folder_.Write("other.npy", Npy<float>("<f4", "(1, 2)", {8, 9}));
  ASSERT_EQ(Build(), absl::OkStatus());
  const std::vector<int64_t> ids = {0};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(8, 9));
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

TEST_F(TableBuildTest, AGroupHasAPackageForEachShard) {
  build_.out = folder_.path() + "/tables/t";
  build_.package = true;
  build_.shards = 2;
  build_.version = 3;
  ASSERT_TRUE(Build().ok());
  EXPECT_EQ(done_, "3/3");
  for (const char* shard : {"0of2", "1of2"}) {
    const auto package = ReadShardPackage(absl::StrCat(build_.out, "/", shard, "/3"));
    EXPECT_TRUE(package.ok()) << package.status();
  }
  // Row 2 is the second of shard 0.
  const auto file = ShardFile::Open(build_.out + "/0of2/3/table.shard");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<int64_t> ids = {1, 0};
  std::vector<float> out(4);
  ASSERT_TRUE((*file)->Find("t")->Lookup({.ids = ids}, Pooling::kNone, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ::testing::ElementsAre(5, 6, 1, 2));
  EXPECT_EQ(Build().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(TableBuildTest, RowsOfATextHaveTheirIdsInIt) {
  build_.text = "csv";
  build_.rows = folder_.Write("rows.csv", "id,a,b\n-7,1,2\n 12 , 3 , 4e-1\r\n\n9,5,6");
  ASSERT_TRUE(Build().ok());
  const std::vector<int64_t> ids = {9, 12, -7};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(5, 6, 3, 0.4f, 1, 2));

  build_.id_kind = "string";
  build_.rows = folder_.Write("rows.csv", "\"a,\"\"b\"\"\",1,2\nplain,3,4\n");
  ASSERT_TRUE(Build().ok());
  const std::vector<absl::string_view> strings = {"plain", "a,\"b\""};
  EXPECT_THAT(Rows({.strings = strings}), ::testing::ElementsAre(3, 4, 1, 2));

  build_.text = "kv";
  build_.rows = folder_.Write("rows.tsv", "an id\t1 2\nplain\t3   4 \n");
  ASSERT_TRUE(Build().ok());
  const std::vector<absl::string_view> keys = {"plain", "an id"};
  EXPECT_THAT(Rows({.strings = keys}), ::testing::ElementsAre(3, 4, 1, 2));

  build_.id_kind = "dense";
  build_.rows = folder_.Write("rows.tsv", "0\t1 2\n1\t3 4\n");
  ASSERT_TRUE(Build().ok());
  const std::vector<int64_t> places = {1, 0};
  EXPECT_THAT(Rows({.ids = places}), ::testing::ElementsAre(3, 4, 1, 2));
}

TEST_F(TableBuildTest, NumbersTooSmallForAFloatAreZero) {
  build_.text = "csv";
  build_.rows = folder_.Write("rows.csv", "1,1e-60,-1e-400\n");
  ASSERT_TRUE(Build().ok());
  const std::vector<int64_t> ids = {1};
  EXPECT_THAT(Rows({.ids = ids}), ::testing::ElementsAre(0, 0));
}

TEST_F(TableBuildTest, ALongTextComesInPieces) {
  build_.text = "csv";
  build_.package = true;
  build_.shards = 3;
  build_.out = folder_.path() + "/group";
  std::string text;
  constexpr int kRows = 200'000;  // over a piece of a million numbers
  for (int row = 0; row < kRows; ++row) absl::StrAppend(&text, row * 7, ",", row, ",1,2,3,4,5,6\n");
  build_.rows = folder_.Write("rows.csv", text);
  ASSERT_TRUE(Build().ok());
  EXPECT_EQ(done_, absl::StrCat(text.size(), "/", text.size()));
  uint64_t all = 0;
  for (const char* shard : {"0of3", "1of3", "2of3"}) {
    const auto file = ShardFile::Open(absl::StrCat(build_.out, "/", shard, "/1/table.shard"));
    ASSERT_TRUE(file.ok()) << file.status();
    all += (*file)->layout().tables[0].row_count;
  }
  EXPECT_EQ(all, uint64_t{kRows});
}

TEST_F(TableBuildTest, TextsThatAreNoneAreRefusedWithTheirLine) {
  build_.text = "csv";
  const auto error = [this](absl::string_view text) {
    build_.rows = folder_.Write("rows.csv", text);
    return Error();
  };
  EXPECT_THAT(error(""), HasSubstr("rows.csv:0: got the end, want a row"));
  EXPECT_THAT(error("id,a\n"), HasSubstr("got the end, want a row"));
  EXPECT_THAT(error("id,a\nid,b\n"), HasSubstr("rows.csv:2: number 0: got 'b'"));
  EXPECT_THAT(error("1,2x\n2,3\n"), HasSubstr("rows.csv:1: got no comma between numbers"));
  EXPECT_THAT(error("x,2\n2,3\n"), HasSubstr("rows.csv:1: got id 'x', want a number"));
  EXPECT_THAT(error("1,2\n2,1e39\n"), HasSubstr("rows.csv:2: number 0: got '1e39'"));
  EXPECT_THAT(error("1,2\n2,3,4\n"), HasSubstr("rows.csv:2: got 2 numbers, want 1"));
  EXPECT_THAT(error("1,2\nx,3\n"), HasSubstr("rows.csv:2: got id 'x', want a number"));
  EXPECT_THAT(error("1,2\n2,3x\n"), HasSubstr("got no comma between numbers"));
  EXPECT_THAT(error("1,2\n3\n"), HasSubstr("rows.csv:2: got no comma"));
  EXPECT_THAT(error("1,2\n1,3\n"), HasSubstr("got id '1' twice"));
  EXPECT_THAT(error("1,2\n2,inf\n"), HasSubstr("got inf"));
  EXPECT_THAT(error(absl::StrCat("1,2\n", std::string(2 << 20, '3'))),
              HasSubstr("rows.csv:2: got a line of more than"));
  build_.id_kind = "dense";
  EXPECT_THAT(error("0,2\n2,3\n"), HasSubstr("rows.csv:2: got id 2, want 1"));
  build_.id_kind = "string";
  EXPECT_THAT(error("\"a,2\n"), HasSubstr("without its closing quote"));
  build_.text = "json";
  EXPECT_THAT(Error(), HasSubstr("--text: got 'json', want csv or kv"));
  build_.text = "kv";
  EXPECT_THAT(error("a 1 2\n"), HasSubstr("got no tab"));
  build_.ids = "ids.npy";
  EXPECT_THAT(Error(), HasSubstr("a text has its ids in it"));
  build_.text = "";
  EXPECT_THAT(Error(), HasSubstr("--id-kind: got one without --text"));
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
