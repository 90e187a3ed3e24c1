#include "transport/call_window.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class CallWindowTest : public ::testing::Test {
 protected:
  static ChannelOptions Limits() {
    ChannelOptions options;
    options.max_calls = 2;
    options.max_bytes = 100;
    return options;
  }
  void ExpectFull(uint64_t bytes, const std::string& message) {
    const absl::Status status = window_.Enter(bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  CallWindow window_{"grpc://h:1", Limits()};
};

TEST_F(CallWindowTest, CallsAreCounted) {
  EXPECT_TRUE(window_.Enter(0).ok());
  EXPECT_TRUE(window_.Enter(0).ok());
  ExpectFull(0, "endpoint 'grpc://h:1': got 2 calls in flight, want at most 2");
  window_.Leave(0);
  EXPECT_TRUE(window_.Enter(0).ok());
}

TEST_F(CallWindowTest, BytesAreCountedAndARefusedCallHoldsNone) {
  EXPECT_TRUE(window_.Enter(60).ok());
  ExpectFull(41, "got 41 bytes on top of 60 in flight, want at most 100");
  EXPECT_TRUE(window_.Enter(40).ok());
  window_.Leave(60);
  window_.Leave(40);
  EXPECT_TRUE(window_.Enter(100).ok());
}

TEST_F(CallWindowTest, SumsDoNotWrapAround) {
  EXPECT_TRUE(window_.Enter(1).ok());
  ExpectFull(~uint64_t{0}, "bytes on top of 1 in flight");
  EXPECT_TRUE(window_.Enter(99).ok());
}

}  // namespace
}  // namespace portico
