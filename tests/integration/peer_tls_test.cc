// Two processes of `portico serve` whose portals go over TLS.

#include <sys/stat.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"
#include "tests/transport/identity.h"

namespace portico {
namespace {

class PeerTlsTest : public ::testing::TestWithParam<std::string> {
 protected:
  PeerTlsTest() {
    PublishVersion(VersionModel(1), folder_.Folder("m"), 1);
    ModelBuilder through;
    through.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
    through.Portal("Remote", "m", {"x"}, {"y"}, {DType::kFloat}, {"N,2"});
    through.WriteTo(folder_.File("through/1/model.onnx"));
  }

  /// Writes one side's keys; the flags that name them.
  std::vector<std::string> Keys(const std::string& name, const Identity& own, const std::string& allowed) {
    const std::string key = folder_.Write(name + ".key", own.key);
    chmod(key.c_str(), 0600);
    return {"--peer-tls-key=" + key, "--peer-tls-cert=" + folder_.Write(name + ".pem", own.certificate),
            "--peer-tls-allow=" + folder_.Write(name + ".allow", allowed)};
  }
  std::vector<std::string> Hub() const { return {"--model=m=" + folder_.path() + "/m", "--peer=" + GetParam()}; }

  /// What a client of a node gets whose portal calls `hub`.
  absl::StatusOr<Outputs> CallThrough(const ServingProcess& hub, std::vector<std::string> keys) {
    keys.insert(keys.end(), {"--model=through=" + folder_.path() + "/through", "--grpc=127.0.0.1:0",
                             "--remote=m=" + hub.Address("peer")});
    ServingProcess front(std::move(keys));
    PredictClient client(front.Address("grpc"));
    const std::vector<NamedTensor> inputs = {{"x", Tensor::Of<float>({1, 64}, std::vector<float>(64, 1))}};
    return client.Predict("through", inputs, absl::Seconds(20));
  }

  const TempFolder folder_;
  const Identity hub_ = Identity::Make(), front_ = Identity::Make(), stranger_ = Identity::Make();
};

TEST_P(PeerTlsTest, PortalAnswersThoseWhoAreAllowed) {
  std::vector<std::string> arguments = Hub();
  for (std::string& flag : Keys("hub", hub_, stranger_.certificate + front_.certificate)) {
    arguments.push_back(std::move(flag));
  }
  const ServingProcess hub(arguments);
  const absl::StatusOr<Outputs> outputs = CallThrough(hub, Keys("front", front_, hub_.certificate));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->at("y").Aligned().data<float>()[0], 64);
}

TEST_P(PeerTlsTest, StrangersAndPlainNodesGetNothing) {
  std::vector<std::string> arguments = Hub();
  for (std::string& flag : Keys("hub", hub_, front_.certificate)) arguments.push_back(std::move(flag));
  const ServingProcess hub(arguments);
  const auto code = [&](std::vector<std::string> keys) { return CallThrough(hub, std::move(keys)).status().code(); };
  EXPECT_EQ(code(Keys("stranger", stranger_, hub_.certificate)), absl::StatusCode::kUnavailable) << "not on the list";
  EXPECT_EQ(code(Keys("front", front_, stranger_.certificate)), absl::StatusCode::kUnavailable) << "another server";
  EXPECT_EQ(code({}), absl::StatusCode::kUnavailable) << "no TLS";
  EXPECT_TRUE(CallThrough(hub, Keys("front", front_, hub_.certificate)).ok()) << "and it goes on";
}

INSTANTIATE_TEST_SUITE_P(Endpoints, PeerTlsTest, ::testing::Values("tcp://127.0.0.1:0", "grpc://127.0.0.1:0"),
                         [](const auto& info) { return info.param.substr(0, info.param.find(':')); });

}  // namespace
}  // namespace portico
