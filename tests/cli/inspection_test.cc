#include "cli/inspection.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "models/package/shard_package.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(InspectionTest, OfAShardSaysWhichFileIsLookedUpIn) {
  const TempFolder folder;
  const std::string version = folder.Folder("clicks.0of1/1");
  ASSERT_TRUE(BuildShard(version + "/table.shard", {{{.name = "users", .dim = 4}, 10}}).ok());
  ASSERT_TRUE(WriteShardPackage(version).ok());
  WeightStore store;
  const auto package = LoadPackage("clicks.0of1", version, store);
  ASSERT_TRUE(package.ok()) << package.status();
  Inspection inspection;
  const absl::Status added = AddModel(package->model, package->signatures, package->axes_declared, inspection);
  ASSERT_TRUE(added.ok()) << added;
  const std::string content = OpenShard(version + "/table.shard")->layout().content.Hex();
  EXPECT_THAT(ToText(inspection), AllOf(HasSubstr("signature lookup\n"), HasSubstr("entries int32[K,4]  shared"),
                                        HasSubstr("lookup lookup in table.shard"), HasSubstr("content " + content)));
  EXPECT_THAT(
      ToJson(inspection),
      HasSubstr("\"lookups\":[{\"node\":\"lookup\",\"file\":\"table.shard\",\"content\":\"" + content + "\"}]"));
}

/// A node takes declared axes at their word, and so does what is said of it.
TEST(InspectionTest, DeclaredAxesAreTakenAsANodeTakesThem) {
  const TempFolder folder;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"?", 4}).Output("y", DType::kFloat, {"?", 4});
  model.Initializer("axis", Tensor::Of<int64_t>({}, {0})).Node("CumSum", {"x", "axis"}, {"y"});
  model.WriteTo(folder.File("m/1/model.onnx"));
  const auto inspect = [&] {
    WeightStore store;
    const auto package = LoadPackage("m", folder.File("m/1"), store);
    EXPECT_TRUE(package.ok()) << package.status();
    Inspection inspection;
    const absl::Status added = AddModel(package->model, package->signatures, package->axes_declared, inspection);
    EXPECT_TRUE(added.ok()) << added;
    return ToText(inspection);
  };
  EXPECT_THAT(inspect(), HasSubstr("not joined: input 'x' has no symbol for its first extent; give it one, or declare "
                                   "axis: rows in servable.yaml"));
  folder.Write("m/1/servable.yaml",
               "signatures:\n  serving_default:\n    inputs: {x: {axis: rows}}\n    outputs: {y: {axis: rows}}\n");
  EXPECT_THAT(inspect(), HasSubstr("; rows of requests are joined\n"));
}

}  // namespace
}  // namespace portico
