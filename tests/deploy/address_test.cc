#include "deploy/address.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(AddressTest, ReadsPortsHostsAndIpv6) {
  EXPECT_EQ(ParseAddress("8500")->ToString(), "127.0.0.1:8500");
  EXPECT_EQ(ParseAddress("0")->ToString(), "127.0.0.1:0");
  EXPECT_EQ(ParseAddress("node-1.example:80")->ToString(), "node-1.example:80");
  EXPECT_EQ(ParseAddress("[::1]:65535")->ToString(), "[::1]:65535");
  EXPECT_EQ(ParseAddress("[::1]:65535")->host, "::1");
}

TEST(AddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"", ":", ":80", "h:", "h:x", "h:-1", "h:65536", "65536", "-1", "a b:80", "::1:80", "[::1]",
                           "[h]:80", "h:8 0", "h:+80", "http://h:80", "99999999999999999999"}) {
    EXPECT_FALSE(ParseAddress(text).ok()) << text;
  }
  EXPECT_EQ(ParseAddress("h:x").status().message(),
            "got 'h:x', want a port from 0 to 65535, or HOST:PORT such as 127.0.0.1:8500");
}

TEST(AddressTest, ClashesWithTheSamePortOfTheSameOrEveryHost) {
  const Address local = *ParseAddress("8500");
  EXPECT_TRUE(local.ClashesWith(*ParseAddress("localhost:8500")));
  EXPECT_TRUE(local.ClashesWith(*ParseAddress("0.0.0.0:8500")));
  EXPECT_TRUE(ParseAddress("[::]:8500")->ClashesWith(local));
  EXPECT_FALSE(local.ClashesWith(*ParseAddress("8501")));
  EXPECT_FALSE(local.ClashesWith(*ParseAddress("10.0.0.1:8500")));
  EXPECT_FALSE(ParseAddress("0")->ClashesWith(*ParseAddress("0")));
}

}  // namespace
}  // namespace portico
