#include "base/byte_text.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(ByteTextTest, CountsBy1024) {
  EXPECT_EQ(ByteText(0), "0 B");
  EXPECT_EQ(ByteText(1023), "1023 B");
  EXPECT_EQ(ByteText(1024), "1.0 KiB");
  EXPECT_EQ(ByteText(uint64_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(ByteText(uint64_t{5000} << 40), "5000.0 TiB");
}

}  // namespace
}  // namespace portico
