#include "models/split/split_embeddings.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "models/package/shard_package.h"
#include "tests/models/split/embedding_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// Numbers that no type holds exactly.
Tensor RandomTable(int64_t rows, int64_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.3f);
  std::vector<float> values(static_cast<size_t>(rows * dim));
  for (float& value : values) value = normal(random);
  return Tensor::Of<float>({rows, dim}, absl::Span<const float>(values));
}

/// users[N], items[N,5] → y[N]: two tables of 5,000 and 300 rows of 16.
ModelBuilder Clicks() {
  ModelBuilder model;
  model.Input("users", DType::kInt64, {"N"})
      .Input("items", DType::kInt32, {"N", 5})
      .Initializer("users_table", RandomTable(5000, 16, 1))
      .Initializer("items_table", RandomTable(300, 16, 2))
      .Initializer("small", RandomTable(4, 16, 3))
      .Initializer("bag", Tensor::Of<int64_t>({1}, {1}))
      .Node("Gather", {"users_table", "users"}, {"user"})
      .Node("Gather", {"items_table", "items"}, {"rows"})
      .Node("ReduceSum", {"rows", "bag"}, {"item"}, {Int("keepdims", 0)})
      .Node("Mul", {"user", "item"}, {"product"})
      .Node("ReduceSum", {"product", "bag"}, {"y"}, {Int("keepdims", 0)})
      .Output("y", DType::kFloat, {"N"});
  return model;
}

class SplitEmbeddingsTest : public ::testing::Test {
 protected:
  SplitEmbeddingsTest() {
    split_.product = "clicks";
    split_.out = folder_.path() + "/out";
    split_.options.min_bytes = 1024;
    split_.options.shards = 3;
  }
  absl::StatusOr<EmbeddingSplitReport> Run(const ModelBuilder& builder) {
    auto model = Model::FromProto(builder.Build(), "", store_);
    if (!model.ok()) return model.status();
    return SplitEmbeddings(*model, split_, [this](absl::string_view, uint64_t done, uint64_t all) {
      if (done == all) ++passes_;
    });
  }
  std::string Error(const ModelBuilder& builder) {
    const auto report = Run(builder);
    EXPECT_FALSE(report.ok());
    return std::string(report.status().message());
  }
  /// Of the first node.
  static std::string Attribute(const Model& model, absl::string_view name) {
    for (const auto& attribute : model.proto().graph().node(0).attribute()) {
      if (attribute.name() == name) return attribute.s();
    }
    return "";
  }
  std::string Mesh() { return folder_.Read("out/mesh.yaml"); }

  const TempFolder folder_;
  WeightStore store_;
  EmbeddingSplit split_;
  int passes_ = 0;
};

TEST_F(SplitEmbeddingsTest, TablesGoToShardsAndTheRestToAPackage) {
  const auto report = Run(Clicks());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(passes_, 2);
  EXPECT_EQ(report->portals, 1);
  EXPECT_EQ(report->lookups, 2);
  EXPECT_THAT(report->lookup_texts,
              ::testing::UnorderedElementsAre("users_table: none, padded", "items_table: sum, padded"));
  EXPECT_EQ(report->rounds, 3);
  ASSERT_EQ(report->tables.size(), 2u);
  EXPECT_EQ(report->tables[0].rows + report->tables[1].rows, 5300u);
  EXPECT_EQ(report->tables[0].error, 0);
  EXPECT_LT(report->differences.at(0).second, 1e-5);
  EXPECT_LT(report->product_bytes, 100u);
  const auto product = LoadPackage("clicks", report->product_folder, store_);
  ASSERT_TRUE(product.ok()) << product.status();
  EXPECT_EQ(OpTypes(product->model), (std::vector<std::string>{"EmbeddingBag", "Mul", "ReduceSum"}));
  const auto original = Model::FromProto(Clicks().Build(), "", store_);
  ASSERT_TRUE(original.ok()) << original.status();
  const Digest source = *ModelDigest(*original);
  EXPECT_EQ(Attribute(product->model, "source"), source.Hex());
  for (const char* shard : {"0of3", "1of3", "2of3"}) {
    const std::string version = absl::StrCat(report->group_folder, "/", shard, "/1");
    const auto package = ReadShardPackage(version);
    ASSERT_TRUE(package.ok()) << package.status();
    EXPECT_EQ(package->file, "table.shard");
    EXPECT_EQ(package->source, source);
  }
  EXPECT_THAT(Mesh(), HasSubstr("tables:\n  clicks-tables: {path: clicks-tables}"));
  EXPECT_THAT(Mesh(), HasSubstr("shard-2: {serve: [clicks-tables.2of3]}"));
}

TEST_F(SplitEmbeddingsTest, RowsOfFewerBitsAreOffByHalfAStepAtMost) {
  double last = 0;
  for (const RowType type : {RowType::kFloat16, RowType::kBfloat16, RowType::kInt8, RowType::kInt4}) {
    split_.options.row_type = type;
    split_.out = folder_.path() + "/" + std::string(RowTypeName(type));
    const auto report = Run(Clicks());
    ASSERT_TRUE(report.ok()) << report.status();
    for (const TableReport& table : report->tables) {
      EXPECT_GT(table.error, 0);
      EXPECT_LE(table.error, table.bound);
      // The bound is no more than what is needed.
      EXPECT_GT(table.error, table.bound / 4);
    }
    const double difference = report->differences.at(0).second;
    EXPECT_GT(difference, 0);
    // Bytes with a scale of their own and bfloat16 are about as good.
    if (type != RowType::kInt8) {
      EXPECT_GT(difference, last) << RowTypeName(type);
    }
    last = difference;
    EXPECT_LT(difference, 10);
  }
}

TEST_F(SplitEmbeddingsTest, ARowThatIsNotAsItWasIsFound) {
  const std::vector<TableWeight> weights = {{"t", RandomTable(50, 8, 1)}};
  const std::vector<TableWeight> others = {{"t", RandomTable(50, 8, 2)}};
  EmbeddingOptions options;
  options.row_type = RowType::kInt8;
  const std::string group = folder_.path() + "/group";
  auto writer = GroupWriter::Create(group, {.shards = 2});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(WriteTables(weights, options, **writer, [](uint64_t, uint64_t) {}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto tables = LocalTables::OfFiles({(*writer)->StagedFolder(0), (*writer)->StagedFolder(1)});
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_TRUE(CheckTables(weights, **tables, [](uint64_t, uint64_t) {}).ok());
  const auto wrong = CheckTables(others, **tables, [](uint64_t, uint64_t) {});
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(wrong.status().message(), HasSubstr("table 't', row 0: value 0: got"));
}

TEST_F(SplitEmbeddingsTest, WhateverFailsNothingIsThere) {
  split_.options.min_bytes = 1 << 30;
  EXPECT_THAT(Error(Clicks()), HasSubstr("got no weight of 1073741824 bytes or more"));
  split_.options.min_bytes = 1024;
  split_.product = "a//b";
  EXPECT_THAT(Error(Clicks()), HasSubstr("a//b"));
  split_.product = "clicks";
  split_.options.group = "clicks";
  EXPECT_THAT(Error(Clicks()), HasSubstr("want another name than the product's"));
  split_.options.group = "";
  split_.version = 0;
  EXPECT_THAT(Error(Clicks()), HasSubstr("version: got 0"));
  split_.version = 1;
  ModelBuilder portal = Clicks();
  portal.Portal("Remote", "hub/x", {"y"}, {"z"}, {DType::kFloat}, {"N"}).Output("z", DType::kFloat, {"N"});
  EXPECT_THAT(Error(portal), HasSubstr("(Remote): tables can't be taken out of a model that has portals"));
  // No type holds a number that is none.
  ModelBuilder broken = Clicks();
  std::vector<float> values(300 * 16, 1.0f);
  values[77] = NAN;
  broken.graph().mutable_initializer(1)->CopyFrom(
      TensorToProto("items_table", Tensor::Of<float>({300, 16}, absl::Span<const float>(values))));
  EXPECT_THAT(Error(broken), HasSubstr("table 'items_table', row"));
  EXPECT_TRUE(!fs::exists(split_.out) || fs::is_empty(split_.out));
}

TEST_F(SplitEmbeddingsTest, AVersionThatIsThereIsLeftAlone) {
  ASSERT_TRUE(Run(Clicks()).ok());
  EXPECT_THAT(Error(Clicks()), HasSubstr("choose another --version"));
  split_.version = 2;
  const auto second = Run(Clicks());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->mesh_file, "");
  EXPECT_TRUE(fs::exists(split_.out + "/clicks-tables/2of3/1/table.shard"));
  EXPECT_TRUE(fs::exists(split_.out + "/clicks-tables/2of3/2/table.shard"));
}

TEST_F(SplitEmbeddingsTest, ASplitThatEndedBeforeItsProductWasThereGoesOnWithTheTables) {
  const auto first = Run(Clicks());
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string shard = first->group_folder + "/1of3/1/table.shard";
  const auto written = fs::last_write_time(shard);
  fs::remove_all(first->product_folder);
  passes_ = 0;
  const auto second = Run(Clicks());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(passes_, 1) << "rows are read back, not written";
  EXPECT_EQ(fs::last_write_time(shard), written);
  EXPECT_TRUE(LoadPackage("clicks", second->product_folder, store_).ok());
  // Tables of something else stay, and are no reason to go on.
  fs::remove_all(first->product_folder);
  split_.options.row_type = RowType::kInt8;
  EXPECT_THAT(Error(Clicks()), HasSubstr("of 16 numbers of float32, want what this split writes"));
  split_.options.row_type = RowType::kFloat32;
  ModelBuilder other = Clicks();
  other.graph().mutable_initializer(0)->CopyFrom(TensorToProto("users_table", RandomTable(5000, 16, 7)));
  EXPECT_THAT(Error(other), HasSubstr("got tables of another model, want what this split writes"));
  // Whatever they say of themselves.
  split_.provenance.source = ReadShardPackage(first->group_folder + "/1of3/1")->source;
  EXPECT_THAT(Error(other), HasSubstr("table 'users_table'"));
  EXPECT_FALSE(fs::exists(first->product_folder));
}

TEST(EmbeddingOptionsTest, KeysAreReadAndOthersRefused) {
  const auto options = ParseEmbeddingOptions("min_bytes=3MiB,shards=4,dtype=int8,unknown=zeros,group=a/b");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->min_bytes, 3u << 20);
  EXPECT_EQ(options->shards, 4u);
  EXPECT_EQ(options->row_type, RowType::kInt8);
  EXPECT_EQ(options->unknown, UnknownId::kZeros);
  EXPECT_EQ(options->group, "a/b");
  EXPECT_EQ(ParseEmbeddingOptions("dtype=fp16")->row_type, RowType::kFloat16);
  EXPECT_EQ(ParseEmbeddingOptions("")->min_bytes, 1u << 20);
  const auto error = [](absl::string_view text) { return std::string(ParseEmbeddingOptions(text).status().message()); };
  EXPECT_THAT(error("size=3"), HasSubstr("key 'size': got it, want one of min_bytes, shards"));
  EXPECT_THAT(error("dtype=int3"), HasSubstr("key 'dtype': row type: got 'int3'"));
  EXPECT_THAT(error("shards=0"), HasSubstr("key 'shards': got '0', want 1 to 1024"));
  EXPECT_THAT(error("shards=many"), HasSubstr("got 'many'"));
  EXPECT_EQ(ParseEmbeddingOptions("min_bytes=16KB")->min_bytes, 16'000u);
  EXPECT_THAT(error("min_bytes=1.5MB"), HasSubstr("key 'min_bytes': got '1.5MB'"));
  EXPECT_THAT(error("min_bytes=99999999TiB"), HasSubstr("got '99999999TiB'"));
  EXPECT_THAT(error("unknown=default"), HasSubstr("a model has no default row"));
  EXPECT_THAT(error("group=../x"), HasSubstr("key 'group'"));
}

}  // namespace
}  // namespace portico
