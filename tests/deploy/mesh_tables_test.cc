#include "deploy/mesh_tables.h"

#include <filesystem>

#include "deploy/mesh.h"
#include "embedding/group_shards.h"
#include "embedding/group_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/shard_package.h"
#include "tests/deploy/mesh_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class MeshTablesTest : public ::testing::Test {
 protected:
  MeshTablesTest() {
    WriteTables(1, 2);
    WriteRanker("users", 2, "dense");
  }

  /// A group `clicks` of one table, users.
  void WriteTables(int64_t version, uint32_t shards, const Digest& source = {}) const {
    const auto writer = GroupWriter::Create(folder_.path() + "/clicks", {.shards = shards, .version = version});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_EQ((*writer)->BeginTable({.name = "users", .dim = 2}), absl::OkStatus());
    std::vector<float> values(20, static_cast<float>(version));
    ASSERT_EQ((*writer)->Add({.values = values}), absl::OkStatus());
    ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    ASSERT_EQ((*writer)->Finish(), absl::OkStatus());
    for (uint32_t shard = 0; shard < shards; ++shard) {
      ASSERT_EQ(WriteShardPackage((*writer)->StagedFolder(shard), kShardFile, {}, source), absl::OkStatus());
    }
    ASSERT_EQ((*writer)->Commit(), absl::OkStatus());
  }
  void WriteRanker(const std::string& table, int64_t dim, const std::string& id_kind,
                   const std::string& group = "clicks", const Digest& source = {}, int version = 1) const {
    ModelBuilder model;
    const bool strings = id_kind == "string";
    model.Input("u", strings ? DType::kString : DType::kInt64, {"N", 3}).Output("y", DType::kFloat, {"N", dim});
    model.Portal(
        "EmbeddingBag", group, {"u"}, {"y"}, {DType::kFloat}, {absl::StrCat("N,", dim)},
        {Strings("tables", {table}), Ints("dims", {dim}), Strings("poolings", {"sum"}), Strings("forms", {"padded"}),
         Strings("id_kinds", {id_kind}), String("source", source.empty() ? "" : source.Hex())});
    model.WriteTo(folder_.ModelFile("ranker", version));
  }
  std::string Mesh(const std::string& nodes = "  rows: {serve: [clicks], replicas: 2}\n  apps: {serve: [ranker]}\n",
                   const std::string& tables = "  clicks: {path: clicks}\n", const std::string& more = "") const {
    return folder_.WriteMesh(absl::StrCat("mesh: m\nmodels:\n  ranker: {path: packages/ranker}\ntables:\n", tables,
                                          "nodes:\n", nodes, more));
  }
  std::string ErrorOf(const std::string& mesh) const {
    const auto read = ReadMeshFile(mesh);
    EXPECT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  }

  const MeshFolder folder_;
};

TEST_F(MeshTablesTest, ShardsAreModelsThatNodesOfTheGroupServe) {
  const auto mesh = ReadMeshFile(Mesh("  rows: {serve: [clicks], replicas: 2}\n  apps: {serve: [ranker]}\n",
                                      "  clicks: {path: clicks}\n",
                                      "policies:\n  clicks: {timeout: 70ms}\n  clicks.1of2: {timeout: 90ms}\n"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const Revision& revision = mesh->revision;
  ASSERT_THAT(revision.tables, SizeIs(1));
  EXPECT_EQ(revision.tables[0].name, "clicks");
  EXPECT_EQ(revision.tables[0].shards, 2u);
  EXPECT_EQ(revision.tables[0].path, folder_.path() + "/clicks");
  EXPECT_THAT(revision.FindNode("rows", 1)->serve, ElementsAre("clicks.0of2", "clicks.1of2"));
  ASSERT_NE(revision.FindModel("clicks.1of2"), nullptr);
  const Revision::Model& shard = *revision.FindModel("clicks.1of2");
  EXPECT_EQ(shard.path, folder_.path() + "/clicks/1of2");
  ASSERT_THAT(shard.pins, SizeIs(1));
  EXPECT_EQ(shard.pins[0].version, 1);
  EXPECT_NE(shard.pins[0].digest, revision.FindModel("clicks.0of2")->pins[0].digest);
  EXPECT_EQ(revision.PolicyFor("clicks").timeout, absl::Milliseconds(70));
  EXPECT_EQ(revision.PolicyFor("clicks.0of2").timeout, absl::Milliseconds(70));
  EXPECT_EQ(revision.PolicyFor("clicks.1of2").timeout, absl::Milliseconds(90));
  const auto again = ParseRevision(FormatRevision(revision), "r.yaml");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->SaysTheSameAs(revision));
}

TEST_F(MeshTablesTest, VersionsAreThoseThatAllShardsHave) {
  WriteTables(2, 2);
  WriteTables(3, 2);
  std::filesystem::remove_all(folder_.path() + "/clicks/1of2/3");
  auto mesh = ReadMeshFile(Mesh());
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  for (const char* shard : {"clicks.0of2", "clicks.1of2"}) {
    ASSERT_THAT(mesh->revision.FindModel(shard)->pins, SizeIs(1));
    EXPECT_EQ(mesh->revision.FindModel(shard)->pins[0].version, 2);
  }
  const std::string nodes = "  rows: {serve: [clicks, ranker]}\n";
  mesh = ReadMeshFile(Mesh(nodes, "  clicks: {path: clicks, versions: [1]}\n"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.FindModel("clicks.1of2")->pins[0].version, 1);
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: clicks, versions: [3]}\n")),
              HasSubstr("mesh.yaml:5: tables 'clicks': versions: got none that all 2 shards have, want one of 1, 2"));
  std::filesystem::remove_all(folder_.path() + "/clicks/0of2/1");
  std::filesystem::remove_all(folder_.path() + "/clicks/1of2/2");
  EXPECT_THAT(ErrorOf(Mesh()), HasSubstr("without a version that all 2 shards have"));
}

TEST_F(MeshTablesTest, TablesOfAnotherModelAreRefused) {
  const Digest first = Sha256("first"), second = Sha256("second");
  WriteRanker("users", 2, "dense", "clicks", first);
  EXPECT_TRUE(ReadMeshFile(Mesh()).ok()) << "the tables do not say of which model they are";
  WriteTables(2, 2, first);
  EXPECT_TRUE(ReadMeshFile(Mesh()).ok());
  // What is left of a split that was killed, or what a split of another model wrote into the same group.
  WriteTables(3, 2, second);
  const std::string error = ErrorOf(Mesh());
  EXPECT_THAT(error, AllOf(HasSubstr("model 'ranker': portal "), HasSubstr("got tables 'clicks' in version 3"),
                           HasSubstr(first.Short()), HasSubstr(second.Short()), HasSubstr("run again")));
  WriteRanker("users", 2, "dense", "clicks", second, 2);
  EXPECT_TRUE(ReadMeshFile(Mesh()).ok());
  EXPECT_THAT(ErrorOf(folder_.WriteMesh("mesh: m\nmodels:\n  ranker: {path: packages/ranker, versions: all}\ntables:\n"
                                        "  clicks: {path: clicks}\nnodes:\n  all: {serve: [clicks, ranker]}\n")),
              HasSubstr("got tables 'clicks' in version 3"));
  EXPECT_TRUE(ReadMeshFile(folder_.WriteMesh("mesh: m\nmodels:\n  ranker: {path: packages/ranker, versions: [1]}\n"
                                             "tables:\n  clicks: {path: clicks, versions: [2]}\nnodes:\n"
                                             "  all: {serve: [clicks, ranker]}\n"))
                  .ok());
}

TEST_F(MeshTablesTest, CurrentSaysWhichSetServes) {
  WriteTables(7, 3);
  // Those that served go on to, until it says otherwise.
  EXPECT_EQ(*ServingShards(folder_.path() + "/clicks"), 2u);
  std::filesystem::remove(folder_.path() + "/clicks/current");
  EXPECT_THAT(ErrorOf(Mesh()), AllOf(HasSubstr("mesh.yaml:5: tables 'clicks': path:"), HasSubstr("of 2 and of 3")));
  ASSERT_EQ(SetServingShards(folder_.path() + "/clicks", 2), absl::OkStatus());
  auto mesh = ReadMeshFile(Mesh());
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.tables[0].shards, 2u);
  const std::string before = LookAtGroup(mesh->revision.tables[0]);
  ASSERT_EQ(SetServingShards(folder_.path() + "/clicks", 3), absl::OkStatus());
  EXPECT_NE(LookAtGroup(mesh->revision.tables[0]), before);
  mesh = ReadMeshFile(Mesh());
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.tables[0].shards, 3u);
  EXPECT_THAT(mesh->revision.FindNode("rows", 0)->serve, ElementsAre("clicks.0of3", "clicks.1of3", "clicks.2of3"));
  EXPECT_EQ(mesh->revision.FindModel("clicks.0of2"), nullptr);
}

TEST_F(MeshTablesTest, WhatDoesNotFitIsRefusedAtItsLine) {
  EXPECT_THAT(ErrorOf(Mesh("  rows: {serve: [clicks.0of2]}\n  apps: {serve: [ranker]}\n")),
              HasSubstr("mesh.yaml:5: tables 'clicks': got shard 'clicks.1of2', which no node serves"));
  EXPECT_THAT(ErrorOf(Mesh("  rows: {serve: [clicks, clicks.0of2]}\n")), HasSubstr("got 'clicks.0of2' twice"));
  EXPECT_THAT(ErrorOf(Mesh("  rows: {serve: [views]}\n")), HasSubstr("want one of 'models', a group of 'tables'"));
  const std::string nodes = "  rows: {serve: [clicks, ranker]}\n";
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: nowhere}\n")), HasSubstr("mesh.yaml:5: tables 'clicks': path: got "
                                                                             "'nowhere', which is no folder"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {}\n")), HasSubstr("got no 'path'"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: clicks, shards: 2}\n")), HasSubstr("shards"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  ranker: {path: clicks}\n")), HasSubstr("got the name of a model"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  'a b': {path: clicks}\n")), HasSubstr("got a name that is no good"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: packages}\n")), HasSubstr("got no shard"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: clicks}\n", "policies:\n  views: {timeout: 1s}\n")),
              HasSubstr("of 'tables' or of 'external'"));
  EXPECT_THAT(ErrorOf(Mesh(nodes, "  clicks: {path: clicks, cache_mib: -1}\n")), HasSubstr("clicks': cache_mib: got"));
  EXPECT_THAT(
      ErrorOf(Mesh(nodes, "  clicks: {path: clicks}\n", "policies:\n  clicks: {on_error: last_known}\n")),
      AllOf(HasSubstr("mesh.yaml:9: policy 'clicks': on_error: got last_known"), HasSubstr("cache_mib in 'tables'")));
}

TEST_F(MeshTablesTest, ACacheOfRowsIsPartOfTheRevision) {
  const auto mesh =
      ReadMeshFile(Mesh("  rows: {serve: [clicks, ranker]}\n", "  clicks: {path: clicks, cache_mib: 3}\n",
                        "policies:\n  clicks: {on_error: {last_known: {max_age: 5m}, defaults: {users: 0.5}}}\n"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const auto again = ParseRevision(FormatRevision(mesh->revision), "r.yaml");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->SaysTheSameAs(mesh->revision));
  EXPECT_EQ(again->tables[0].cache_bytes, uint64_t{3} << 20);
  const OnErrorPolicy& on_error = again->PolicyFor("clicks").on_error;
  EXPECT_EQ(on_error.kind, OnErrorPolicy::Kind::kLastKnown);
  EXPECT_EQ(on_error.max_age, absl::Minutes(5));
  EXPECT_EQ(on_error.defaults.at("users"), "0.5");
}

TEST_F(MeshTablesTest, WhatStandsForRowsIsCheckedInTheMeshFile) {
  const auto error = [this](const std::string& target, const std::string& on_error) {
    return ErrorOf(Mesh("  rows: {serve: [clicks, ranker]}\n", "  clicks: {path: clicks, cache_mib: 3}\n",
                        absl::StrCat("policies:\n  ", target, ":\n    on_error:\n      ", on_error, "\n")));
  };
  EXPECT_THAT(error("clicks", "defaults: {users: 0.5, user: 1}"),
              AllOf(HasSubstr("mesh.yaml:11: policy 'clicks': on_error: defaults: got 'user', which is no table of "
                              "'clicks', want one of users")));
  for (const char* number : {".nan", "abc", "1e39", "'-inf'"}) {
    EXPECT_THAT(error("clicks", absl::StrCat("defaults: {users: ", number, "}")),
                AllOf(HasSubstr("mesh.yaml:11: policy 'clicks': on_error: defaults: users: got '"),
                      HasSubstr("want a finite number")));
  }
  EXPECT_THAT(error("clicks", "last_known: {max_mib: 4}"),
              AllOf(HasSubstr("mesh.yaml:11: policy 'clicks': on_error: last_known: got max_mib for tables"),
                    HasSubstr("cache_mib of 'clicks'")));
  // A shard's own policy, too.
  EXPECT_THAT(error("clicks.1of2", "defaults: {pages: 0}"), HasSubstr("got 'pages', which is no table of 'clicks'"));
}

TEST_F(MeshTablesTest, PortalsLookUpInWhatTheGroupHas) {
  WriteRanker("users", 3, "dense");
  EXPECT_THAT(ErrorOf(Mesh()), AllOf(HasSubstr("mesh.yaml:3: model 'ranker': portal 'y': got 3 numbers a row of table "
                                               "'users', want 2"),
                                     HasSubstr("split off this model")));
  WriteRanker("users", 2, "string");
  EXPECT_THAT(ErrorOf(Mesh()), HasSubstr("got string ids of table 'users', want dense"));
  WriteRanker("pages", 2, "dense");
  EXPECT_THAT(ErrorOf(Mesh()), HasSubstr("got table 'pages', want one of tables 'clicks' (users)"));
  WriteRanker("users", 2, "dense", "views");
  EXPECT_THAT(ErrorOf(Mesh()), HasSubstr("got tables 'views', want some of this mesh"));
  WriteRanker("users", 2, "dense", "ranker");
  EXPECT_THAT(ErrorOf(Mesh()), HasSubstr("got tables 'ranker', want some of this mesh"));
}

}  // namespace
}  // namespace portico
