#include "deploy/same_process.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(SameProcessTest, ProvidersOfAModelThatANodeGoesOnServingStartItAnew) {
  Revision from;
  for (const char* name : {"encoder", "head"}) from.models.emplace_back().name = name;
  for (const char* name : {"first", "second"}) {
    from.nodes.emplace_back().name = name;
    from.nodes.back().serve = {"head"};
  }
  from.nodes[0].serve.push_back("encoder");
  Revision to = from;
  const auto same = [&](size_t node) { return SameProcess(from, from.nodes[node], to, to.nodes[node]); };
  EXPECT_TRUE(same(0));
  to.models[0].providers = {{{"cuda", {}}, {"cpu", {}}}};
  EXPECT_FALSE(same(0));
  EXPECT_TRUE(same(1));
  // One that it does not have yet is loaded as it is to be.
  to.nodes[1].serve.push_back("encoder");
  EXPECT_TRUE(same(1));
  from.models[0].providers = to.models[0].providers;
  EXPECT_TRUE(same(0));
  to.models[0].providers->front().options["device_id"] = "1";
  EXPECT_FALSE(same(0));
  to.nodes[0].serve = {"head"};
  EXPECT_TRUE(same(0));
  to.nodes[0].workers = 3;
  EXPECT_FALSE(same(0));
}

}  // namespace
}  // namespace portico
