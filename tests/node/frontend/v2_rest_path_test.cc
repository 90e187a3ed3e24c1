#include "node/frontend/v2_rest_path.h"

#include "gtest/gtest.h"

namespace portico {
namespace {

using Route = V2RestPath::Route;

TEST(V2RestPathTest, EveryRouteIsRead) {
  const auto expect = [](const char* method, const char* path, Route route, const char* ref = "") {
    const auto parsed = ParseV2RestPath(method, path);
    ASSERT_TRUE(parsed.ok()) << path << ": " << parsed.status();
    EXPECT_EQ(parsed->route, route) << path;
    EXPECT_EQ(parsed->ref.ToString(), ref) << path;
  };
  expect("GET", "/v2", Route::kServer);
  expect("GET", "/v2/", Route::kServer);
  expect("GET", "/v2/health/live", Route::kLive);
  expect("HEAD", "/v2/health/ready", Route::kReady);
  expect("GET", "/v2/models/m", Route::kModel, "m");
  expect("GET", "/v2/models/m/versions/3", Route::kModel, "m:3");
  expect("GET", "/v2/models/m/versions/3/ready", Route::kModelReady, "m:3");
  expect("GET", "/v2/models/m/config", Route::kModelConfig, "m");
  expect("GET", "/v2/models/m/stats", Route::kStats, "m");
  expect("GET", "/v2/models/stats", Route::kStats);
  expect("POST", "/v2/models/m/infer", Route::kInfer, "m");
  expect("POST", "/v2/models/m/versions/12/infer", Route::kInfer, "m:12");
  expect("POST", "/v2/models/pub/name/infer", Route::kInfer, "pub/name");
  expect("POST", "/v2/models/pub%2Fname/infer", Route::kInfer, "pub/name");
  expect("POST", "/v2/models/a%20b/infer", Route::kInfer, "a b");
  expect("POST", "/v2/repository/index", Route::kIndex);
  expect("POST", "/v2/repository/models/m/load", Route::kLoad, "m");
  expect("POST", "/v2/repository/models/pub/name/unload", Route::kUnload, "pub/name");
}

TEST(V2RestPathTest, OtherPathsAreRefused) {
  const auto code = [](const char* method, const char* path) { return ParseV2RestPath(method, path).status().code(); };
  EXPECT_EQ(code("GET", "/v2/foo"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("GET", "/v2/health"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("POST", "/v2/repository/models/m"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("GET", "/v2/models/m/infer"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("POST", "/v2/models/m"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("GET", "/v2/repository/index"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("GET", "/v2/models/m/versions/x"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("GET", "/v2/models/m/versions/"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("GET", "/v2/models/m/versions/99999999999999999999"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("POST", "/v2/models//infer"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("POST", "/v2/models/a%2/infer"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("POST", "/v2/models/a%zz/infer"), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace portico
