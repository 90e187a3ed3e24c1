#include "cli/capacity.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

CapacityQuestion Some() {
  CapacityQuestion question;
  question.bytes = 1e12;
  question.dim = 128;
  question.memory_bytes = 500e9;
  question.rows_per_core_s = 10e6;
  question.call_cpu_s = 30e-6;
  return question;
}

TEST(Capacity, MemoryDecidesHowManyShards) {
  const auto plan = PlanCapacity(Some());
  ASSERT_TRUE(plan.ok()) << plan.status();
  // int8 of 128: 136 bytes encoded, 144 in the file (8 of the id), 9.6 of the index.
  EXPECT_NEAR(plan->rows, 1e12 / 136, 1);
  EXPECT_NEAR(plan->bytes_per_row, 144 + 9.6, 0.01);
  EXPECT_NEAR(plan->table_bytes, 1e12 / 136 * 153.6, 1e12 * 1e-5);
  EXPECT_EQ(plan->shards, static_cast<int>(std::ceil(1e12 / 136 * 153.6 / (0.85 * 500e9))));
  EXPECT_EQ(plan->shards, 3);
  EXPECT_EQ(plan->replicas, 2);
  EXPECT_EQ(plan->nodes(), 6);
  EXPECT_LT(plan->memory_per_node, 0.85 * 500e9);
}

TEST(Capacity, DenseIdsHaveNoIndexAndNoHead) {
  CapacityQuestion question = Some();
  question.id_kind = IdKind::kDense;
  const auto plan = PlanCapacity(question);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->bytes_per_row, 136);
}

TEST(Capacity, CoresDecideHowManyReplicasWhereMemoryDoesNot) {
  CapacityQuestion question = Some();
  const auto few = PlanCapacity(question);
  question.requests_per_s = 2e6;
  const auto many = PlanCapacity(question);
  ASSERT_TRUE(few.ok() && many.ok());
  EXPECT_GT(many->replicas, few->replicas);
  EXPECT_LE(many->busy, question.busy_share);
  // One replica less, and it would not do.
  const double cores = question.cores * many->shards * (many->replicas - 1);
  EXPECT_GT(question.requests_per_s * many->cpu_s_per_request, question.busy_share * cores);
}

TEST(Capacity, ARequestCostsItsRowsAndItsCalls) {
  CapacityQuestion question = Some();
  question.ids = 1000;
  question.bags = 10;
  question.unique_share = 0.5;
  const auto plan = PlanCapacity(question);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NEAR(plan->calls_per_request, 3, 1e-6) << "500 ids meet all of three shards";
  EXPECT_NEAR(plan->cpu_s_per_request, 500 / 10e6 + 3 * 30e-6, 1e-9);
  EXPECT_NEAR(plan->row_bytes, 500 * 136, 1e-6);
  EXPECT_NEAR(plan->sum_bytes, 10 * 3 * 4 * 128, 1e-3) << "a hundred ids of a bag are on all three shards";
}

TEST(Capacity, FewIdsDoNotAskEveryShard) {
  CapacityQuestion question = Some();
  question.memory_bytes = 2e9;
  question.ids = 10;
  question.bags = 10;
  const auto plan = PlanCapacity(question);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_GT(plan->shards, 500);
  EXPECT_LT(plan->calls_per_request, 10);
  EXPECT_GT(plan->calls_per_request, 9.8);
}

TEST(Capacity, MoneyFollowsNodes) {
  CapacityQuestion question = Some();
  question.price_per_hour = 3.6;
  const auto plan = PlanCapacity(question);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_NEAR(plan->node_seconds_per_1000, 6, 1e-9) << "six nodes, a thousand requests a second";
  EXPECT_NEAR(plan->cost_per_1000, 0.006, 1e-9);
}

TEST(Capacity, RefusesWhatMakesNoSense) {
  const auto refused = [](auto change) {
    CapacityQuestion question = Some();
    change(question);
    return std::string(PlanCapacity(question).status().message());
  };
  EXPECT_THAT(refused([](auto& q) { q.rows = 5; }), HasSubstr("want one of both"));
  EXPECT_THAT(refused([](auto& q) { q.dim = 0; }), HasSubstr("dim: got 0"));
  EXPECT_THAT(refused([](auto& q) { q.busy_share = 1.5; }), HasSubstr("share of the cores: got 1.5"));
  EXPECT_THAT(refused([](auto& q) { q.rows_per_core_s = 0; }), HasSubstr("rows per core and second: got 0"));
  EXPECT_THAT(refused([](auto& q) { q.unique_share = std::nan(""); }), HasSubstr("unique share"));
  EXPECT_THAT(refused([](auto& q) { q.memory_bytes = 1e6; }), HasSubstr("want at most 1024"));
}

}  // namespace
}  // namespace portico
