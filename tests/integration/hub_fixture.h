#pragma once

#include <stdlib.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/tfs_client.h"
#include "gtest/gtest.h"
#include "tests/integration/portico_command.h"
#include "tests/models/split/split_fixture.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// A store, packages that are split here, and a cache of the test's own.
class HubFixture : public ::testing::Test {
 protected:
  HubFixture() { setenv("XDG_CACHE_HOME", (folder_.path() + "/cache").c_str(), 1); }
  ~HubFixture() override { unsetenv("XDG_CACHE_HOME"); }

  std::string store() const { return folder_.path() + "/store"; }
  std::string packages() const { return folder_.path() + "/packages"; }

  /// The output of a command that ends well.
  static std::string Run(std::vector<std::string> arguments) {
    const CommandResult result = RunPortico(std::move(arguments));
    EXPECT_EQ(result.end, "exit status 0") << result.output;
    return result.output;
  }
  /// The message of a command that fails.
  static std::string Fails(std::vector<std::string> arguments) {
    const CommandResult result = RunPortico(std::move(arguments));
    EXPECT_EQ(result.end, "exit status 1") << result.output;
    return result.output;
  }

  /// Splits a product whose encoder depends on `weight`, into packages/acme/encoder/VERSION and packages/PRODUCT/1.
  void Split(const std::string& product, float weight, int version) {
    DigitsLike(weight).WriteTo(folder_.File(product + ".onnx"));
    folder_.Write("plan.yaml", "parts: [{name: acme/encoder, outputs: [features]}]\n");
    Run({"split", folder_.path() + "/" + product + ".onnx", "--plan", folder_.path() + "/plan.yaml", "--out",
         packages(), "--version", absl::StrCat(version)});
  }
  std::string Publish(int version) {
    return Run({"hub", "publish", absl::StrCat(packages(), "/acme/encoder/", version),
                absl::StrCat("acme/encoder/", version), "--store", store(), "--family", "encoder"});
  }

  /// The first probability that `product` answers.
  static absl::StatusOr<float> Ask(const std::string& address, const std::string& product) {
    TfsClient client(address);
    const std::vector<float> pixels(8, 1.0f);
    auto answer = client.Predict(product, "", {{"image", Tensor::Of<float>({1, 8}, absl::MakeConstSpan(pixels))}}, {});
    if (!answer.ok()) return answer.status();
    return answer->outputs.at(0).tensor.data<float>()[0];
  }

  const TempFolder folder_;
};

}  // namespace portico
