#include "router/live_tables.h"

#include "base/digest.h"
#include "embedding/shard_map.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Revision RevisionWith(uint64_t number, std::vector<std::pair<std::string, uint32_t>> tables) {
  Revision revision;
  revision.number = number;
  for (auto& [name, shards] : tables) revision.tables.push_back({name, "/tables/" + name, shards});
  return revision;
}

TEST(LiveTablesTest, EachRequestGoesByItsOwnRevision) {
  LiveTables tables(3);
  EXPECT_EQ(tables.ShardsOf("clicks", 7), 0u);
  EXPECT_THAT(tables.CountsOf("clicks"), IsEmpty());
  const Revision before = RevisionWith(7, {{"clicks", 2}, {"old", 1}});
  const Revision after = RevisionWith(9, {{"clicks", 4}, {"new", 3}});
  tables.Set({&before, &after}, 7);
  EXPECT_EQ(tables.ShardsOf("clicks", 7), 2u);
  EXPECT_EQ(tables.ShardsOf("clicks", 9), 4u);
  EXPECT_EQ(tables.ShardsOf("old", 9), 0u);
  EXPECT_EQ(tables.ShardsOf("new", 7), 0u);
  // One without a revision has the current one, which moves.
  EXPECT_EQ(tables.ShardsOf("clicks", 0), 2u);
  EXPECT_THAT(tables.Names(), ElementsAre("clicks", "old"));
  tables.Set({&before, &after}, 9);
  EXPECT_EQ(tables.ShardsOf("clicks", 0), 4u);
  EXPECT_EQ(tables.ShardsOf("clicks", 7), 2u);
  EXPECT_THAT(tables.CountsOf("clicks"), ElementsAre(2, 4));
  EXPECT_THAT(tables.Names(), ElementsAre("clicks", "new"));
  // Those that are not here go where the nearest older one goes, or else the oldest.
  EXPECT_EQ(tables.ShardsOf("clicks", 8), 2u);
  EXPECT_EQ(tables.ShardsOf("clicks", 5), 2u);
  EXPECT_EQ(tables.ShardsOf("clicks", 12), 4u);
  tables.Set({&after}, 9);
  EXPECT_THAT(tables.CountsOf("clicks"), ElementsAre(4));
}

/// Each shard pinned to a digest of `seeds`; 0: not pinned.
Revision PinnedRevision(uint64_t number, std::vector<uint64_t> seeds, uint64_t cache_bytes = 0) {
  Revision revision = RevisionWith(number, {{"clicks", static_cast<uint32_t>(seeds.size())}});
  revision.tables[0].cache_bytes = cache_bytes;
  for (size_t shard = 0; shard < seeds.size(); ++shard) {
    Revision::Model& model = revision.models.emplace_back();
    model.name = ShardName("clicks", static_cast<uint32_t>(shard), static_cast<uint32_t>(seeds.size()));
    Hasher hasher;
    if (seeds[shard] != 0) model.pins = {{1, Digest()}, {2, hasher.Add(seeds[shard]).Finish()}};
  }
  return revision;
}

TEST(LiveTablesTest, OriginsAreEqualWhereVersionsAre) {
  LiveTables tables(2);
  const Revision one = PinnedRevision(1, {5, 6}), two = PinnedRevision(2, {5, 7}), three = PinnedRevision(3, {5, 6}),
                 four = PinnedRevision(4, {0, 6});
  tables.Set({&one, &two}, 1);
  const auto origins = [&](uint64_t revision) { return tables.Find("clicks", revision).group->origins; };
  const std::vector<uint64_t> first = origins(1), second = origins(2);
  EXPECT_EQ(first[0], second[0]);
  EXPECT_NE(first[1], second[1]);
  EXPECT_NE(first[0], first[1]);
  EXPECT_TRUE(tables.Find("clicks", 2).exact);
  EXPECT_FALSE(tables.Find("clicks", 0).exact);
  EXPECT_FALSE(tables.Find("clicks", 3).exact);
  EXPECT_EQ(tables.Find("views", 1).group, nullptr);
  // While a version is live it keeps its number; one that comes back later has another.
  tables.Set({&two, &four}, 2);
  EXPECT_EQ(origins(2), second);
  EXPECT_EQ(origins(4)[0], 0u);
  EXPECT_EQ(origins(4)[1], first[1]);
  tables.Set({&two}, 2);
  tables.Set({&two, &three}, 3);
  EXPECT_EQ(origins(3)[0], first[0]);
  EXPECT_NE(origins(3)[1], first[1]);
  EXPECT_NE(origins(3)[1], second[1]);
  Revision spread = PinnedRevision(5, {5, 6});
  spread.traffic["clicks.0of2"];
  tables.Set({&spread}, 5);
  EXPECT_EQ(origins(5)[0], 0u);
  EXPECT_NE(origins(5)[1], 0u);
}

TEST(LiveTablesTest, ACacheStaysWhileItsSizeDoes) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  LiveTables tables(2);
  const Revision one = PinnedRevision(1, {5}, 2 * kMiB), two = PinnedRevision(2, {6}, 2 * kMiB),
                 three = PinnedRevision(3, {6}, 3 * kMiB), four = PinnedRevision(4, {6});
  tables.Set({&one}, 1);
  const std::shared_ptr<RowCache> cache = tables.CacheOf("clicks");
  ASSERT_NE(cache, nullptr);
  EXPECT_EQ(cache->max_bytes(), 2 * kMiB);
  EXPECT_EQ(tables.Find("clicks", 1).group->cache, cache);
  tables.Set({&one, &two}, 2);
  EXPECT_EQ(tables.CacheOf("clicks"), cache);
  // The next revision's size counts once it is current.
  tables.Set({&two, &three}, 2);
  EXPECT_EQ(tables.CacheOf("clicks"), cache);
  tables.Set({&two, &three}, 3);
  EXPECT_EQ(tables.CacheOf("clicks")->max_bytes(), 3 * kMiB);
  tables.Set({&four}, 4);
  EXPECT_EQ(tables.CacheOf("clicks"), nullptr);
  EXPECT_EQ(tables.Find("clicks", 4).group->cache, nullptr);
  EXPECT_EQ(cache.use_count(), 1);
}

TEST(LiveTablesTest, ACacheThatCouldNotBeMadeIsTriedAgain) {
  // More than there are addresses.
  LiveTables tables(1);
  const Revision one = PinnedRevision(1, {5}, uint64_t{1} << 60), two = PinnedRevision(2, {5}, uint64_t{2} << 20);
  EXPECT_EQ(tables.CacheFaultOf("clicks"), absl::OkStatus());
  for (int i = 0; i < 2; ++i) {
    tables.Set({&one}, 1);
    EXPECT_EQ(tables.CacheOf("clicks"), nullptr);
    // Also the second time: that no cache was there is no reason to keep none.
    EXPECT_EQ(tables.CacheFaultOf("clicks").code(), absl::StatusCode::kResourceExhausted);
  }
  tables.Set({&two}, 2);
  EXPECT_NE(tables.CacheOf("clicks"), nullptr);
  EXPECT_EQ(tables.CacheFaultOf("clicks"), absl::OkStatus());
}

TEST(LiveTablesTest, TablesHaveOneNumberAndTheRowTypeThatCameLast) {
  LiveTables tables(1);
  const uint32_t users = tables.NumberOf("clicks", "users"), pages = tables.NumberOf("clicks", "pages");
  EXPECT_NE(users, 0u);
  EXPECT_NE(users, pages);
  tables.RowTypeOf("clicks", "users") = RowType::kInt8;
  EXPECT_EQ(tables.NumberOf("clicks", "users"), users);
  EXPECT_EQ(tables.RowTypeOf("clicks", "users"), RowType::kInt8);
  EXPECT_EQ(tables.RowTypeOf("clicks", "pages"), RowType::kFloat32);
}

TEST(RevisionTablesTest, TablesAreReadBack) {
  Revision written = RevisionWith(3, {{"clicks", 2}});
  for (const char* name : {"clicks.0of2", "clicks.1of2"}) {
    Revision::Model model;
    model.name = name;
    model.path = "/tables/clicks/" + std::string(name).substr(7);
    written.models.push_back(model);
  }
  const auto read = ParseRevision(FormatRevision(written), "r.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(FormatRevision(*read), FormatRevision(written));
  ASSERT_NE(read->FindTable("clicks"), nullptr);
  EXPECT_EQ(read->FindTable("clicks")->shards, 2u);
  EXPECT_EQ(read->FindTable("clicks")->path, "/tables/clicks");
  EXPECT_EQ(read->FindTable("clicks")->cache_bytes, 0u);
  written.tables[0].cache_bytes = uint64_t{256} << 20;
  EXPECT_EQ(ParseRevision(FormatRevision(written), "r.yaml")->tables[0].cache_bytes, uint64_t{256} << 20);
  Revision other = written;
  other.tables[0].shards = 1;
  EXPECT_FALSE(other.SaysTheSameAs(written));
  EXPECT_THAT(ParseRevision(FormatRevision(other), "r.yaml").status().message(),
              HasSubstr("got no model 'clicks.0of1', want one for each shard"));
  written.tables.push_back(written.tables[0]);
  EXPECT_THAT(ParseRevision(FormatRevision(written), "r.yaml").status().message(),
              HasSubstr("table 'clicks': is there twice"));
}

}  // namespace
}  // namespace portico
