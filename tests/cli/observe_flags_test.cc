#include <optional>

#include "base/log.h"
#include "cli/serve_observe_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class ObserveFlagsTest : public ::testing::Test {
 protected:
  ~ObserveFlagsTest() override { SetLogFormat("text", ""); }

  absl::Status Parse(std::vector<std::string> arguments) {
    options_.emplace();
    return ParseServeFlags({NewObserveFlags().get()}, std::move(arguments), &*options_);
  }

  std::optional<Node::Options> options_;
};

TEST_F(ObserveFlagsTest, TracesAreAsTheFlagsSay) {
  ASSERT_TRUE(Parse({}).ok());
  EXPECT_EQ(options_->traces.slow, absl::Milliseconds(50));
  EXPECT_EQ(options_->traces.sample, 0.01);
  ASSERT_TRUE(Parse({"--trace-slow=1.5s", "--trace-sample=1"}).ok());
  EXPECT_EQ(options_->traces.slow, absl::Milliseconds(1500));
  EXPECT_EQ(options_->traces.sample, 1);
  EXPECT_EQ(options_->otlp.endpoint, "");
  ASSERT_TRUE(Parse({"--otlp-endpoint=http://127.0.0.1:4318"}).ok());
  EXPECT_EQ(options_->otlp.endpoint, "http://127.0.0.1:4318");
  ASSERT_TRUE(Parse({"--trace-slow=0"}).ok());
  EXPECT_EQ(options_->traces.slow, absl::ZeroDuration());
}

TEST_F(ObserveFlagsTest, NonsenseIsRefusedByName) {
  EXPECT_THAT(std::string(Parse({"--trace-slow=fast"}).message()), HasSubstr("--trace-slow: got 'fast'"));
  EXPECT_THAT(std::string(Parse({"--trace-slow=-1s"}).message()), HasSubstr("--trace-slow"));
  EXPECT_THAT(std::string(Parse({"--trace-sample=1.5"}).message()), HasSubstr("--trace-sample: got 1.5"));
  EXPECT_THAT(std::string(Parse({"--trace-sample=nan"}).message()), HasSubstr("--trace-sample"));
  EXPECT_THAT(std::string(Parse({"--otlp-endpoint=https://h:1"}).message()), HasSubstr("--otlp-endpoint: got 'https"));
  EXPECT_THAT(std::string(Parse({"--log-format=xml"}).message()), HasSubstr("--log-format: got 'xml'"));
}

}  // namespace
}  // namespace portico
