#include "cli/share_report.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/model.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

TEST(ShareReportTest, APathIsQuotedWhateverIsInIt) {
  WeightStore store;
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"y"});
  auto model = Model::FromProto(builder.Build(), "", store);
  ASSERT_TRUE(model.ok()) << model.status();
  SharedModels shared;
  const CalledModels nothing({});
  shared.modules.push_back({"hub/enc", *std::move(model), Digest()});
  EXPECT_THAT(SharedMeshText(shared, nothing, "/a, {b}: it's", 1),
              HasSubstr("  hub/enc: {path: \"/a, {b}: it's/hub/enc\"}\n"));
  EXPECT_THAT(SharedMeshText(shared, nothing, "a\\'\"\n\x01ü", 1), HasSubstr(R"({path: "a\\'\"\n\x01ü/hub/enc"})"));
}

}  // namespace
}  // namespace portico
