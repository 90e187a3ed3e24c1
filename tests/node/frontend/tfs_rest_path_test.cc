#include "node/frontend/tfs_rest_path.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

std::string ErrorOf(absl::string_view method, absl::string_view path) {
  const auto parsed = ParseTfsRestPath(method, path);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << method << " " << path;
  return std::string(parsed.status().message());
}

TEST(TfsRestPathTest, EveryFormIsRead) {
  EXPECT_EQ(ParseTfsRestPath("POST", "/v1/models/m:predict")->verb, "predict");
  EXPECT_EQ(ParseTfsRestPath("POST", "/v1/models/m:predict")->ref.ToString(), "m");
  EXPECT_EQ(ParseTfsRestPath("POST", "/v1/models/m/versions/007:regress")->ref.ToString(), "m:7");
  EXPECT_EQ(ParseTfsRestPath("POST", "/v1/models/m/labels/stable:classify")->ref.ToString(), "m@stable");
  EXPECT_EQ(ParseTfsRestPath("GET", "/v1/models/m/versions/5")->ref.ToString(), "m:5");
  EXPECT_FALSE(ParseTfsRestPath("GET", "/v1/models/m")->metadata);
  EXPECT_TRUE(ParseTfsRestPath("GET", "/v1/models/m/labels/l/metadata")->metadata);
}

TEST(TfsRestPathTest, AnythingElseIsMalformed) {
  EXPECT_EQ(ErrorOf("GET", "/v1/foo"), "Malformed request: GET /v1/foo");
  for (const char* path : {"/v1/models/m:predict", "/v1/modelsx", "/v1/models//metadata", "/v1/models/m/versions/x",
                           "/v1/models/m/versions/-1", "/v1/models/m/versions/", "/v1/models/m/metadata/x",
                           "/v1/models/m/labels/", "/v1"}) {
    EXPECT_EQ(ErrorOf("GET", path), std::string("Malformed request: GET ") + path);
  }
  for (const char* path : {"/v1/models/m", "/v1/models/m:foo", "/v1/models/m/metadata", "/v1/models/m:predict/x"}) {
    EXPECT_EQ(ErrorOf("POST", path), std::string("Malformed request: POST ") + path);
  }
}

TEST(TfsRestPathTest, MissingNameAndHugeVersionHaveTheirOwnMessages) {
  EXPECT_EQ(ErrorOf("GET", "/v1/models"), "Missing model name in request.");
  EXPECT_EQ(ErrorOf("GET", "/v1/models/m/versions/18446744073709551615")
                .find("Failed to convert version: 18446744073709551615"),
            0u);
}

}  // namespace
}  // namespace portico
