#include "node/observe/memory_account.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/servables/servables_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

using MemoryAccountTest = ServablesFixture;

TEST_F(MemoryAccountTest, TellsWhereMemoryIs) {
  Publish("m", 1, 4096);  // 1 MiB
  ASSERT_TRUE(Configure({Model("m")}).ok());
  Inference inference({}, *servables_, Clock::Real(), *metrics_);
  const MemoryAccount account(*servables_, inference, *metrics_);
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"weights\"} 1048576"));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"pinned\"} 0"));
  EXPECT_THAT(account.Json(), HasSubstr("{\"model\":\"m\",\"version\":1,\"state\":\"AVAILABLE\",\"bytes\":10"));
  // A request holds the version beyond its end.
  const Held held = *servables_->Resolve({.name = "m"});
  ASSERT_TRUE(servables_->Unload("m").ok());
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"pinned\"} 10"));
  EXPECT_THAT(account.Json(), HasSubstr("\"state\":\"UNLOADING\""));
}

}  // namespace
}  // namespace portico
