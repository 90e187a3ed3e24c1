#include "node/servables/settled_waiters.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(SettledWaitersTest, EachIsTakenOutOnceWithItsStatus) {
  SettledWaiters waiters;
  const auto nothing = [](absl::Status) {};
  const uint64_t a = waiters.Add("a", nothing);
  const uint64_t all = waiters.Add(std::nullopt, nothing);
  auto finished = waiters.Take([](const SettledWaiters::Model& model) -> std::optional<absl::Status> {
    if (model.has_value()) return absl::UnavailableError(*model);
    return std::nullopt;
  });
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0].status, absl::UnavailableError("a"));
  EXPECT_FALSE(waiters.Has(a));
  EXPECT_TRUE(waiters.Has(all));
  const auto late = [](const SettledWaiters::Model&) { return absl::DeadlineExceededError("late"); };
  EXPECT_FALSE(waiters.TakeOne(a, late).has_value());
  EXPECT_TRUE(waiters.TakeOne(all, late).has_value());
  EXPECT_TRUE(waiters.empty());
}

}  // namespace
}  // namespace portico
