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

}  // namespace
}  // namespace portico
