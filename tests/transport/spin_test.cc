#include "transport/spin.h"

#include <list>
#include <thread>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(SpinTest, OffIsNotALook) {
  const Spin off(absl::ZeroDuration());
  Spin::Turn turn(off);
  EXPECT_FALSE(turn.Goes());
}

TEST(SpinTest, EndsByItself) {
  const Spin spin(absl::Milliseconds(5));
  int looks = 0;
  for (Spin::Turn turn(spin); turn.Goes();) ++looks;
  EXPECT_GT(looks, 0);
}

TEST(SpinTest, NoMoreThreadsThanCoresDoItAtOnce) {
  const Spin spin(absl::Hours(1));
  std::list<Spin::Turn> turns;
  for (unsigned i = 0; i < std::max(std::thread::hardware_concurrency(), 1u); ++i) {
    EXPECT_TRUE(turns.emplace_back(spin).Goes()) << i;
  }
  EXPECT_FALSE(Spin::Turn(spin).Goes());
  turns.pop_back();
  EXPECT_TRUE(Spin::Turn(spin).Goes()) << "a place is free again";
}

}  // namespace
}  // namespace portico
