#include "models/runtime/provider_check.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/runtime/ort_providers.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "tests/models/runtime/external_weight.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// y[N,256] = Relu(x[N,64] · w), w being external.
absl::StatusOr<std::unique_ptr<Session>> Product(const std::vector<ExecutionProvider>& providers) {
  std::vector<float> values(64 * 256);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 16 - 0.5f;
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 256});
  model.Node("MatMul", {"x", "w"}, {"xw"}).Node("Relu", {"xw"}, {"y"});
  AddExternal(model, "w", DType::kFloat, {64, 256});
  Session::Options options;
  options.name = "product";
  options.providers = providers;
  return Session::Create(model.Serialize(), {{"w", Tensor::Of<float>({64, 256}, absl::MakeConstSpan(values))}},
                         options);
}

TEST(ProviderCheckTest, CpuIsAlwaysThere) {
  EXPECT_THAT(ProvidersOfOnnxRuntime(), Contains("cpu"));
  EXPECT_THAT(OnnxRuntimeName(), AllOf(StartsWith("ONNX Runtime 1."), HasSubstr("libonnxruntime")));
  EXPECT_TRUE(CheckProvidersStart({}).ok());
  EXPECT_TRUE(CheckProvidersStart({{"cpu", {}}}).ok());
}

/// Each provider that there is a name for answers as the processor does, or says why it cannot: what is true of one
/// machine is not of another.
TEST(ProviderCheckTest, EachRunsOrSaysWhyNot) {
  const auto plain = Product({});
  ASSERT_TRUE(plain.ok()) << plain.status();
  std::vector<float> values(3 * 64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const Tensor x = Tensor::Of<float>({3, 64}, absl::MakeConstSpan(values));
  const auto want = (*plain)->Run({x});
  ASSERT_TRUE(want.ok());
  const std::vector<std::string> there = ProvidersOfOnnxRuntime();
  for (const absl::string_view name : KnownProviders()) {
    std::vector<ExecutionProvider> providers = {{std::string(name), {}}};
    const absl::Status starts = CheckProvidersStart(providers);
    const auto alone = Product(providers);
    if (name != "cpu") providers.push_back({"cpu", {}});
    const auto with_cpu = Product(providers);
    if (!starts.ok()) {
      EXPECT_EQ(starts.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(starts.message()),
                  AllOf(StartsWith("execution provider '" + std::string(name) + "': this ONNX Runtime 1."),
                        HasSubstr(absl::c_linear_search(there, name) ? "cannot start it: " : "cpu only; install"),
                        HasSubstr("or remove '" + std::string(name) + "'")));
      // No silent fallback to the processor.
      EXPECT_FALSE(alone.ok());
      EXPECT_FALSE(with_cpu.ok());
      continue;
    }
    std::printf("%s starts\n", std::string(name).c_str());
    for (const auto* session : {&alone, &with_cpu}) {
      ASSERT_TRUE(session->ok()) << session->status();
      for (int round = 0; round < 2; ++round) {
        const auto got = (**session)->Run({x});
        ASSERT_TRUE(got.ok()) << got.status();
        const absl::Status same = CompareTensors((*got)[0], (*want)[0]);
        EXPECT_TRUE(same.ok()) << same;
      }
    }
  }
}

}  // namespace
}  // namespace portico
