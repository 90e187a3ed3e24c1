#include "base/wire.h"

#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(WireTest, WrittenFieldsAreReadBack) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Varint(1, 300);
  out.Int(2, -5);
  out.Fixed64(3, 0x0102030405060708);
  out.Fixed32(4, 7);
  out.Bytes(5, "text");
  out.Varint(536870911, std::numeric_limits<uint64_t>::max());

  WireReader in(bytes);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.field(), 1u);
  EXPECT_EQ(in.Varint(), 300u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.Int(), -5);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.Fixed64(), 0x0102030405060708u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.Fixed32(), 7u);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.Bytes(), "text");
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.field(), 536870911u);
  EXPECT_EQ(in.Varint(), std::numeric_limits<uint64_t>::max());
  EXPECT_FALSE(in.Next());
  EXPECT_FALSE(in.failed());
}

TEST(WireTest, FieldsThatAreNotReadAreSkipped) {
  std::string bytes;
  WireWriter out(&bytes);
  out.Bytes(1, std::string(1000, 'x'));
  out.Fixed64(2, 1);
  out.Fixed32(3, 1);
  out.Varint(4, 1);
  out.Varint(5, 42);
  WireReader in(bytes);
  uint64_t found = 0;
  while (in.Next()) {
    if (in.field() == 5) found = in.Varint();
  }
  EXPECT_EQ(found, 42u);
  EXPECT_FALSE(in.failed());
}

TEST(WireTest, ValueOfAnotherTypeFails) {
  std::string bytes;
  WireWriter(&bytes).Varint(1, 5);
  WireReader in(bytes);
  ASSERT_TRUE(in.Next());
  EXPECT_EQ(in.Bytes(), "");
  EXPECT_TRUE(in.failed());
  EXPECT_FALSE(in.Next());
}

TEST(WireTest, LengthPastTheEndFails) {
  WireReader in(
      absl::string_view("\x0a\x05"
                        "abcd",
                        6));
  ASSERT_TRUE(in.Next());
  in.Bytes();
  EXPECT_TRUE(in.failed());
}

TEST(WireTest, GroupsAndFieldZeroAreRefused) {
  for (const absl::string_view bytes : {absl::string_view("\x0b", 1), absl::string_view("\x0c", 1),
                                        absl::string_view("\x00", 1), absl::string_view("\x0e\x00", 2)}) {
    WireReader in(bytes);
    EXPECT_FALSE(in.Next());
    EXPECT_TRUE(in.failed());
  }
}

TEST(WireTest, OverlongVarintFails) {
  const std::string bytes = "\x08" + std::string(10, '\xff') + "\x01";
  WireReader in(bytes);
  ASSERT_TRUE(in.Next());
  in.Varint();
  EXPECT_TRUE(in.failed());
}

TEST(WireTest, RandomBytesNeverReadPastTheEnd) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    // On the heap and of exact size, so that AddressSanitizer sees a read past it.
    std::vector<char> bytes(random() % 40);
    for (char& byte : bytes) byte = static_cast<char>(random());
    WireReader in(absl::string_view(bytes.data(), bytes.size()));
    size_t total = 0;
    while (in.Next()) {
      if (in.is(WireReader::Type::kBytes)) total += in.Bytes().size();
    }
    EXPECT_LE(total, bytes.size());
  }
}

}  // namespace
}  // namespace portico
