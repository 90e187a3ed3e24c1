#include <optional>

#include "cli/serve_request_log_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class RequestLogFlagsTest : public ::testing::Test {
 protected:
  absl::Status Parse(std::vector<std::string> arguments) {
    options_.emplace();
    return ParseServeFlags({NewRequestLogFlags().get()}, std::move(arguments), &*options_);
  }

  std::optional<Node::Options> options_;
};

TEST_F(RequestLogFlagsTest, WithoutThemThereIsNoLog) {
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_TRUE(options_->request_log.files.folder.empty());
}

TEST_F(RequestLogFlagsTest, TheyReachTheNode) {
  ASSERT_TRUE(Parse({"--request-log=/logs", "--request-log-sample=0.5", "--request-log-failures",
                     "--request-log-file-bytes=2MiB", "--request-log-file-age=10m", "--request-log-total-bytes=8MB"})
                  .ok());
  const RequestLog::Options& log = options_->request_log;
  EXPECT_EQ(log.files.folder, "/logs");
  EXPECT_EQ(log.sample, 0.5);
  EXPECT_TRUE(log.failures);
  EXPECT_EQ(log.files.file_bytes, uint64_t{2} << 20);
  EXPECT_EQ(log.files.file_age, absl::Minutes(10));
  EXPECT_EQ(log.files.total_bytes, 8'000'000u);
}

TEST_F(RequestLogFlagsTest, WhatMakesNoSenseIsRefused) {
  const auto message = [this](const char* flag) { return std::string(Parse({flag}).message()); };
  EXPECT_THAT(message("--request-log-sample=2"), HasSubstr("--request-log-sample: got 2, want 0 to 1"));
  EXPECT_THAT(message("--request-log-file-age=soon"), HasSubstr("--request-log-file-age: got 'soon'"));
  EXPECT_THAT(message("--request-log-file-bytes=10"), HasSubstr("--request-log-file-bytes: got 10"));
  EXPECT_THAT(message("--request-log-total-bytes=1MB"), HasSubstr("--request-log-total-bytes: got 1000000"));
}

}  // namespace
}  // namespace portico
