// What endpoints every transport takes and refuses, and what it leaves behind at them.

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/transport/transport_fixture.h"

namespace portico {
namespace {

class TransportEndpointTest : public TransportFixture {};

TEST_P(TransportEndpointTest, AddressOffLoopbackWithoutKeysIsRefused) {
  if (GetParam().remote_endpoint.empty()) GTEST_SKIP() << "this scheme reaches no other machine";
  RecordingHandler handler(Echo);
  const auto listener = transport_->Listen(GetParam().remote_endpoint, handler, {});
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition) << listener.status();
}

TEST_P(TransportEndpointTest, ASocketsFileIsPrivateAndGoesWithItsListener) {
  const std::string endpoint = GetParam().endpoint();
  const std::string path = endpoint.substr(endpoint.find("://") + 3);
  if (path[0] != '/') GTEST_SKIP() << "this scheme has no file";
  RecordingHandler handler(Echo);
  {
    const auto listener = *transport_->Listen(endpoint, handler, {});
    EXPECT_EQ(listener->endpoint(), endpoint);
    struct stat found {};
    ASSERT_EQ(stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600u);
    const auto second = transport_->Listen(endpoint, handler, {});
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists) << second.status();
    const auto channel = Connect(endpoint);
    EXPECT_TRUE(CallAndWait(*channel, PeerHeader(), {}).ok()) << "the second one did no harm";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(TransportEndpointTest, EndpointThatCannotBeReadIsRefused) {
  RecordingHandler handler(Echo);
  const std::string scheme = GetParam().endpoint().substr(0, GetParam().endpoint().find("://"));
  EXPECT_EQ(transport_->Connect(scheme + "://", {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(transport_->Connect("nonsense", {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(transport_->Listen("nonsense", handler, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(All, TransportEndpointTest, ::testing::ValuesIn(TransportsUnderTest()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace portico
