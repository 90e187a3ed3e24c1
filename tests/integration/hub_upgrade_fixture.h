#pragma once

#include <stdlib.h>

#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "deploy/node_status.h"
#include "tests/integration/hub_fixture.h"

namespace portico {

class HubUpgradeTest : public HubFixture {
 protected:
  /// Two products, cut from version 1 of the encoder; 2 is nearly the same, 3 another one.
  void SetUp() override {
    Split("digit", -0.5f, 1);
    Split("parity", -0.5f, 1);
    Split("near", -0.499f, 2);
    Split("far", 0.25f, 3);
    for (int version : {1, 2, 3}) Publish(version);
  }

  std::string WriteMesh(const std::string& encoders, const std::string& serve) const {
    return folder_.Write("mesh.yaml",
                         absl::StrCat("mesh: m\nhub: store\nmodels:\n", encoders,
                                      "  digit: {path: packages/digit}\n  parity: {path: packages/parity}\n"
                                      "nodes:\n  hub: {serve: [",
                                      serve, "]}\n  apps: {serve: [digit, parity], grpc: 0}\n"));
  }
  std::string mesh_of_one() const { return WriteMesh("  acme/encoder/1: {}\n", "acme/encoder/1"); }
  std::vector<std::string> UpArguments(const std::string& mesh, const std::string& run = "run") const {
    return {"up", mesh, "--run-folder", folder_.path() + "/" + run};
  }
  std::string address(const std::string& run = "run") const {
    return ReadNodeStatus(absl::StrCat(folder_.path(), "/", run, "/status/apps-0.json"))->grpc;
  }

  static Tensor Image(int seed) {
    std::vector<float> pixels;
    for (int i = 0; i < 8; ++i) pixels.push_back(static_cast<float>((seed * 7 + i * 3) % 11) / 4.0f);
    return Tensor::Of<float>({1, 8}, pixels);
  }

  /// Serves a mesh that records what it is asked: `count` requests for digit, and one for parity.
  void Record(int count) { Record(count, mesh_of_one()); }
  void Record(int count, const std::string& mesh) {
    setenv("PORTICO_REQUEST_LOG", log().c_str(), 1);
    setenv("PORTICO_REQUEST_LOG_SAMPLE", "1", 1);
    PorticoCommand up(UpArguments(mesh, "recording"));
    unsetenv("PORTICO_REQUEST_LOG");
    unsetenv("PORTICO_REQUEST_LOG_SAMPLE");
    ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
    TfsClient client(address("recording"));
    for (int i = 0; i < count; ++i) ASSERT_TRUE(client.Predict("digit", "", {{"image", Image(i)}}, {}).ok());
    ASSERT_TRUE(client.Predict("parity", "", {{"image", Image(0)}}, {}).ok());
    up.process().Signal(SIGTERM);
    EXPECT_EQ(up.WaitForEnd(), "exit status 0") << up.output();
  }
  std::string log() const { return folder_.path() + "/log"; }

  std::vector<std::string> Upgrade(std::vector<std::string> more, const std::string& to = "acme/encoder/2") const {
    std::vector<std::string> arguments = {
        "hub", "upgrade", packages() + "/digit/1", "--from", "acme/encoder/1", "--to", to, "--store", store()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::string out() const { return packages() + "/digit/2"; }

  /// packages/two/1, of two parts: the encoder is a module, the head a model of the mesh alone.
  void SplitTwo() {
    DigitsLike(-0.5f).WriteTo(folder_.File("two.onnx"));
    folder_.Write("two.yaml", "parts: [{name: acme/encoder, outputs: [features]}, {name: head, outputs: [logits]}]\n");
    Run({"split", folder_.path() + "/two.onnx", "--plan", folder_.path() + "/two.yaml", "--out", packages()});
  }
  std::string WriteMeshOfTwo() const {
    return folder_.Write(
        "two_mesh.yaml",
        "mesh: m\nhub: store\nmodels: {acme/encoder/1: {}, acme/encoder/2: {}, head: {path: packages/head}, "
        "two: {path: packages/two}}\nnodes: {all: {serve: [acme/encoder/1, acme/encoder/2, head, two]}}\n");
  }
  /// To packages/two/VERSION.
  std::vector<std::string> UpgradeTwo(int version, const std::string& from_store,
                                      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"hub",
                                          "upgrade",
                                          packages() + "/two/1",
                                          "--from",
                                          "acme/encoder/1",
                                          "--to",
                                          "acme/encoder/2",
                                          "--store",
                                          from_store,
                                          "--requests",
                                          log(),
                                          "--out",
                                          absl::StrCat(packages(), "/two/", version),
                                          "--model",
                                          "digit"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

}  // namespace portico
