#include "hub/module_fit.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

Manifest Encoder(int64_t version) {
  Manifest manifest;
  manifest.handle = {"acme", "encoder", version};
  manifest.family = "encoder";
  Signature& signature = manifest.signatures.emplace_back();
  signature.name = "serving_default";
  signature.inputs.push_back({"image", "a", DType::kFloat, true, {{-1, "N"}, {8, ""}}});
  signature.inputs.push_back({"mask", "b", DType::kFloat, true, {{-1, "N"}, {8, ""}}});
  signature.outputs.push_back({"features", "c", DType::kFloat, true, {{-1, "N"}, {4, ""}}});
  return manifest;
}

struct Case {
  std::string name;
  std::function<void(Manifest&)> change;
  /// Empty: it fits.
  std::string message;
};

class ModuleFitTest : public ::testing::TestWithParam<Case> {};

TEST_P(ModuleFitTest, SaysWhatIsInTheWay) {
  Manifest to = Encoder(2);
  GetParam().change(to);
  const absl::Status status = CheckStandsIn(Encoder(1), to);
  if (GetParam().message.empty()) {
    EXPECT_TRUE(status.ok()) << status;
    return;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ModuleFitTest,
    ::testing::Values(
        Case{"Same", [](Manifest&) {}, ""}, Case{"NoFamily", [](Manifest& to) { to.family.clear(); }, ""},
        Case{"OtherSymbol", [](Manifest& to) { to.signatures[0].inputs[0].dims[0].symbol = "rows"; }, ""},
        Case{"OtherFamily", [](Manifest& to) { to.family = "audio"; }, "got family 'audio', want 'encoder'"},
        Case{"OtherShape", [](Manifest& to) { to.signatures[0].outputs[0].dims[1].extent = 5; },
             "output 'features' was float32[N,4] and is float32[N,5]"},
        Case{"InputGone", [](Manifest& to) { to.signatures[0].inputs.pop_back(); },
             "input 'mask' float32[N,8] is gone"},
        Case{"OtherOrder", [](Manifest& to) { std::swap(to.signatures[0].inputs[0], to.signatures[0].inputs[1]); },
             "in the order mask, image, want image, mask"}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace portico
