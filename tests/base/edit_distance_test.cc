#include "base/edit_distance.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(EditDistanceTest, CountsSteps) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("", "ab"), 2);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("cuda", "cdua"), 2);
}

}  // namespace
}  // namespace portico
