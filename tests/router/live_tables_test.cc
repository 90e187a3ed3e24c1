#include "router/live_tables.h"

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
