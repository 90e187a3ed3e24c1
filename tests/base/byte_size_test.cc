#include "base/byte_size.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ByteSizeTest, UnitsArePowersOf1000Or1024) {
  const struct {
    const char* text;
    uint64_t bytes;
  } cases[] = {{"0", 0},
               {"4096", 4096},
               {"7B", 7},
               {"16KB", 16'000},
               {"16KiB", 16'384},
               {"256MB", 256'000'000},
               {"256MiB", uint64_t{256} << 20},
               {"3GB", 3'000'000'000},
               {"3GiB", uint64_t{3} << 30},
               {"1TB", 1'000'000'000'000},
               {"1TiB", uint64_t{1} << 40},
               {"16kb", 16'000},
               {"16kib", 16'384},
               {" 2 MiB ", uint64_t{2} << 20},
               {"5K", 5'000},
               {"5Ki", 5'120},
               {"16777215TiB", uint64_t{16777215} << 40},
               {"18446744073709551615", std::numeric_limits<uint64_t>::max()}};
  for (const auto& [text, bytes] : cases) {
    const auto parsed = ParseByteSize(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(ByteSizeTest, AnythingElseIsRefused) {
  for (const char* text : {"", " ", "MB", "-1", "+1", "1.5GB", "1 2", "1XB", "1PB", "1iB", "1i", "1KKB", "1Kibi",
                           "0x10", "1MBs", "16777216TiB", "18446744073709551616", "18446744073709552KB"}) {
    const auto parsed = ParseByteSize(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(parsed.status().message()),
                AllOf(HasSubstr(absl::StrCat("got '", text, "', want")), HasSubstr(kByteUnits)));
  }
}

}  // namespace
}  // namespace portico
