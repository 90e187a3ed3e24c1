#include "result_cache/row_flights.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

using Role = RowFlights::Role;

class Call final : public ParkedCall {
 public:
  void OnLanded(size_t, Outcome, const Ref<const RowAnswer>&) override {}
  void OnDeadline() override {}
  void OnCancel() override {}
};

Digest Row(uint64_t number) { return Hasher().Add(number).Finish(); }

TEST(RowFlightsTest, NobodyWaitsForFarMoreRowsThanHeAsksFor) {
  RowFlights flights(8);
  const auto call = MakeRef<Call>();
  EXPECT_EQ(flights.Join(Row(1), {.rows = 8}, call, 0), Role::kLead);
  EXPECT_EQ(flights.Join(Row(1), {.rows = 1}, call, 0), Role::kWait);
  EXPECT_EQ(flights.Join(Row(2), {.rows = 12}, call, 0), Role::kLead);
  EXPECT_EQ(flights.Join(Row(2), {.rows = 1}, call, 0), Role::kAlone);
  EXPECT_EQ(flights.Join(Row(2), {.rows = 2}, call, 0), Role::kAlone);
  EXPECT_EQ(flights.Join(Row(2), {.rows = 3}, call, 0), Role::kWait);
}

TEST(RowFlightsTest, NobodyWaitsForAnotherProductOrALowerPriority) {
  RowFlights flights(8);
  const auto call = MakeRef<Call>();
  EXPECT_EQ(flights.Join(Row(1), {.priority = 1, .product = 5}, call, 0), Role::kLead);
  EXPECT_EQ(flights.Join(Row(1), {.priority = 1, .product = 6}, call, 0), Role::kAlone);
  EXPECT_EQ(flights.Join(Row(1), {.priority = 2, .product = 5}, call, 0), Role::kAlone);
  EXPECT_EQ(flights.Join(Row(1), {.priority = 0, .product = 5}, call, 0), Role::kWait);
}

TEST(RowFlightsTest, WhoLeavesMakesRoom) {
  RowFlights flights(8);
  const auto leader = MakeRef<Call>();
  ASSERT_EQ(flights.Join(Row(1), {}, leader, 0), Role::kLead);
  std::vector<Ref<Call>> calls;
  for (size_t i = 0; i < RowFlights::kMaxWaiting; ++i) {
    calls.push_back(MakeRef<Call>());
    ASSERT_EQ(flights.Join(Row(1), {}, calls.back(), i), Role::kWait);
  }
  const auto last = MakeRef<Call>();
  EXPECT_EQ(flights.Join(Row(1), {}, last, 0), Role::kAlone);
  flights.Leave(Row(1), *calls[3]);
  flights.Leave(Row(1), *calls[3]);
  flights.Leave(Row(2), *calls[4]);
  EXPECT_EQ(flights.Join(Row(1), {}, last, 7), Role::kWait);
  EXPECT_EQ(flights.Join(Row(1), {}, last, 0), Role::kAlone);
  const std::vector<RowFlights::Waiting> waiting = flights.Land(Row(1));
  ASSERT_EQ(waiting.size(), RowFlights::kMaxWaiting);
  EXPECT_EQ(waiting[2].index, 2);
  EXPECT_EQ(waiting[3].index, 4);
  EXPECT_EQ(waiting.back().call.get(), last.get());
  EXPECT_EQ(waiting.back().index, 7);
}

}  // namespace
}  // namespace portico
