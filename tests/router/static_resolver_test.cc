#include "router/static_resolver.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(StaticResolver, AnswersFromItsTableInOrder) {
  const StaticResolver resolver(
      std::map<std::string, std::vector<std::string>>{{"hub/enc", {"grpc://b:1", "grpc://a:1"}}});
  EXPECT_THAT(resolver.Resolve("hub/enc"), testing::ElementsAre("grpc://b:1", "grpc://a:1"));
  EXPECT_THAT(resolver.Resolve("hub"), testing::IsEmpty());
}

TEST(StaticResolver, TellsWhoWatchesOfAnotherTableAndOfNoOther) {
  StaticResolver resolver(StaticResolver::Table{{"m", {"x://a"}}});
  int told = 0, told_too = 0;
  const auto watch = resolver.WatchChanges([&] {
    ++told;
    EXPECT_EQ(resolver.Resolve("m").at(0).url, "x://b") << "who is told sees the new table";
  });
  auto other = resolver.WatchChanges([&] { ++told_too; });
  resolver.Update({{"m", {"x://a"}}});
  EXPECT_EQ(told, 0) << "it says the same";
  resolver.Update({{"m", {"x://b"}}});
  EXPECT_EQ(told, 1);
  EXPECT_EQ(told_too, 1);
  other = nullptr;
  resolver.Update({{"m", {PeerAddress("x://b", "zone-1")}}, {"n", {"x://c"}}, {"o", {}}});
  EXPECT_EQ(told_too, 1);
}

}  // namespace
}  // namespace portico
