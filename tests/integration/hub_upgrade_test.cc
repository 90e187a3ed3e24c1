// `portico hub upgrade`: one product moves to another version of a module, compared on requests that a mesh recorded,
// and nobody else moves.

#include <stdlib.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/graph/portal_spec.h"
#include "models/package/package.h"
#include "onnx/onnx_pb.h"
#include "tests/integration/hub_upgrade_fixture.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(HubUpgradeTest, MovesOneProductUnderLoadAndNobodyElse) {
  Record(40);
  folder_.Write("packages/digit/1/assets/words.txt", "one\n");
  const std::string mesh = mesh_of_one();
  PorticoCommand up(UpArguments(mesh));
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  const std::string grpc = address();
  const auto digit_before = Ask(grpc, "digit"), parity_before = Ask(grpc, "parity");
  ASSERT_TRUE(digit_before.ok() && parity_before.ok()) << digit_before.status() << parity_before.status();
  EXPECT_EQ(*digit_before, *parity_before);

  std::atomic<bool> stop = false;
  std::atomic<int> answers = 0, failures = 0, others = 0;
  std::vector<std::thread> clients;
  for (const char* product : {"digit", "parity"}) {
    clients.emplace_back([&, product] {
      while (!stop) {
        const auto answer = Ask(grpc, product);
        failures += answer.ok() ? 0 : 1;
        others += answer.ok() && product == std::string("parity") && *answer != *parity_before ? 1 : 0;
        ++answers;
      }
    });
  }
  const auto stop_clients = [&] {
    stop = true;
    for (std::thread& client : clients) client.join();
    clients.clear();
  };
  const absl::Cleanup cleanup = stop_clients;
  const std::string upgraded = Run(Upgrade({"--requests", log(), "--out", out()}));
  EXPECT_THAT(upgraded, AllOf(HasSubstr("digit: acme/encoder/1 → acme/encoder/2 at portal acme/encoder"),
                              HasSubstr("40 recorded requests answered by both versions"), HasSubstr("probabilities"),
                              HasSubstr("requests are of other models"), HasSubstr("written " + out()),
                              HasSubstr("does not start again: name acme/encoder/2 now"),
                              Not(HasSubstr("are not what the old version answers"))));
  EXPECT_TRUE(fs::exists(out() + "/assets/words.txt"));
  EXPECT_THAT(Run({"inspect", out()}), HasSubstr("hub upgrade: {from: acme/encoder/1, to: acme/encoder/2}"));
  // The mesh file does not have the new version of the module: nothing moves.
  ASSERT_TRUE(up.WaitForOutput("revision 1 goes on, since ")) << up.output();
  EXPECT_EQ(*Ask(grpc, "digit"), *digit_before);

  WriteMesh("  acme/encoder/1: {}\n  acme/encoder/2: {}\n", "acme/encoder/1, acme/encoder/2");
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  // A node hears of it a little later.
  auto digit_after = Ask(grpc, "digit");
  for (const absl::Time end = absl::Now() + absl::Seconds(30);
       digit_after.ok() && *digit_after == *digit_before && absl::Now() < end;) {
    digit_after = Ask(grpc, "digit");
  }
  const auto parity_after = Ask(grpc, "parity");
  const int at_flip = answers;
  for (const absl::Time end = absl::Now() + absl::Seconds(30); answers < at_flip + 100 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  stop_clients();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(others, 0);
  EXPECT_GE(answers, at_flip + 100);
  ASSERT_TRUE(digit_after.ok() && parity_after.ok()) << digit_after.status() << parity_after.status();
  EXPECT_NE(*digit_after, *digit_before);
  EXPECT_EQ(*parity_after, *parity_before);
  // The mesh answers as the model that encoder 2 was cut from: the comparison was of what now serves.
  EXPECT_THAT(Fails({"hub", "gc", "acme/encoder/2", "--store", store(), "--mesh", mesh}), HasSubstr("model 'digit'"));
}

TEST_F(HubUpgradeTest, TheModuleFirstAndThenTheProduct) {
  Record(40);
  const std::string mesh = mesh_of_one();
  const std::vector<std::string> upgrade = {"--requests", log(), "--out", out(), "--mesh", mesh};
  EXPECT_THAT(Fails(Upgrade(upgrade)),
              AllOf(HasSubstr("got no model 'acme/encoder/2' of digest "), HasSubstr("add 'acme/encoder/2: {}' to")));
  EXPECT_FALSE(fs::exists(out()));
  std::vector<std::string> dry = upgrade;
  dry.push_back("--dry-run");
  EXPECT_THAT(Run(Upgrade(dry)), AllOf(HasSubstr("would write"), HasSubstr("not yet: mesh '")));
  WriteMesh("  acme/encoder/1: {}\n  acme/encoder/2: {}\n", "acme/encoder/1, acme/encoder/2");
  {
    PorticoCommand up(UpArguments(mesh));
    ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
    EXPECT_THAT(Run(Upgrade(upgrade)), AllOf(HasSubstr("written " + out()), Not(HasSubstr("does not start again"))));
    ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
    up.process().Signal(SIGTERM);
    EXPECT_EQ(up.WaitForEnd(), "exit status 0") << up.output();
  }
  PorticoCommand again(UpArguments(mesh, "again"));
  EXPECT_TRUE(again.WaitForOutput("mesh 'm' is ready")) << again.output();
}

TEST_F(HubUpgradeTest, PortalsByNameAreComparedByTheVersionsThatAreNamed) {
  Record(40);
  // digit/3 calls what digit/1 calls, by its name alone; the store's highest version is 3.
  WeightStore weights;
  const auto package = LoadPackage("digit", packages() + "/digit/1", weights);
  ASSERT_TRUE(package.ok()) << package.status();
  auto proto = std::make_unique<onnx::ModelProto>(package->model.proto());
  int portals = 0;
  for (onnx::NodeProto& node : *proto->mutable_graph()->mutable_node()) {
    for (int i = node.attribute_size() - 1; i >= 0; --i) {
      if (node.domain() != kPorticoDomain || node.attribute(i).name() != "digest") continue;
      node.mutable_attribute()->DeleteSubrange(i, 1);
      ++portals;
    }
  }
  ASSERT_EQ(portals, 1);
  const auto by_name = Model::WithWeightsOf(package->model, std::move(proto));
  ASSERT_TRUE(by_name.ok()) << by_name.status();
  const std::string product = packages() + "/digit/3";
  fs::create_directories(product);
  ASSERT_TRUE(by_name->Save(product).ok());
  const auto upgrade = [&](const std::string& from, const std::string& to) {
    return std::vector<std::string>{"hub",
                                    "upgrade",
                                    product,
                                    "--from",
                                    from,
                                    "--to",
                                    to,
                                    "--store",
                                    store(),
                                    "--requests",
                                    log(),
                                    "--out",
                                    packages() + "/digit/4",
                                    "--atol",
                                    "1e-9"};
  };
  // 3 answers otherwise than 1, and so does 1 than 3, whichever of them is the highest in the store.
  EXPECT_THAT(Fails(upgrade("acme/encoder/1", "acme/encoder/3")), HasSubstr("output 'probabilities': got other"));
  EXPECT_THAT(Fails(upgrade("acme/encoder/1", "acme/encoder/2")), HasSubstr("output 'probabilities': got other"));
  EXPECT_THAT(Fails(upgrade("acme/encoder/3", "acme/encoder/1")), HasSubstr("output 'probabilities': got other"));
  // Nothing is left of the version that was compared with.
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(packages() + "/digit")) entries += entry.exists() ? 1 : 0;
  EXPECT_EQ(entries, 2u);
}

TEST_F(HubUpgradeTest, WhatNodesStillServeIsNotRemoved) {
  PorticoCommand up(UpArguments(mesh_of_one()));
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  const std::string run = folder_.path() + "/run";
  // The file is of another mesh by now, which nobody has rolled out.
  const std::string other = folder_.Write("other.yaml", "mesh: m\nmodels: {}\nnodes: {}\n");
  EXPECT_THAT(Run({"hub", "gc", "--mesh", other, "--dry-run"}), HasSubstr("would remove acme/encoder/1"));
  EXPECT_THAT(Run({"hub", "gc", "--mesh", other, "--run-folder", run}),
              HasSubstr("keeps acme/encoder/1, which revision 1 of the mesh in '" + run + "' uses"));
  EXPECT_THAT(Fails({"hub", "gc", "acme/encoder/1", "--mesh", other, "--run-folder", run}),
              AllOf(HasSubstr("'acme/encoder/1': got a module that"), HasSubstr("revision 1 of the mesh in")));
  // From the store, too: by what digit's portal calls.
  EXPECT_THAT(Run({"hub", "gc", "--store", store(), "--run-folder", run}),
              AllOf(HasSubstr("keeps acme/encoder/1"), HasSubstr("removed acme/encoder/2")));
  EXPECT_THAT(Fails({"hub", "gc", "--run-folder", folder_.path() + "/nowhere"}),
              HasSubstr("want the --run-folder of a mesh that 'portico up' runs"));
  EXPECT_THAT(Fails({"hub", "gc", "--run-folder", run, "--all"}), HasSubstr("want one of them"));
  up.process().Signal(SIGTERM);
  EXPECT_EQ(up.WaitForEnd(), "exit status 0") << up.output();
}

TEST_F(HubUpgradeTest, RefusesOtherAnswersUntilTheyAreAccepted) {
  Record(40);
  EXPECT_THAT(Fails(Upgrade({"--requests", log(), "--out", out()}, "acme/encoder/3")),
              AllOf(HasSubstr("output 'probabilities': got other answers for "), HasSubstr("want at most 1 %"),
                    HasSubstr("nothing was written. --accept")));
  EXPECT_FALSE(fs::exists(out()));
  EXPECT_THAT(Run(Upgrade({"--requests", log(), "--out", out(), "--dry-run", "--accept"}, "acme/encoder/3")),
              HasSubstr("would write"));
  EXPECT_FALSE(fs::exists(out()));
  // Numbers count where a tolerance is given: encoder 2 gives the same classes.
  EXPECT_THAT(Fails(Upgrade({"--requests", log(), "--out", out(), "--atol", "1e-9"})),
              HasSubstr("output 'probabilities'"));
  EXPECT_THAT(Run(Upgrade({"--requests", log(), "--out", out(), "--accept"}, "acme/encoder/3")),
              AllOf(HasSubstr("accepted: output 'probabilities'"), HasSubstr("written " + out())));
  EXPECT_TRUE(fs::exists(out() + "/model.onnx"));
  // No folders are left of what was refused.
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(packages() + "/digit")) entries += entry.exists() ? 1 : 0;
  EXPECT_EQ(entries, 2u);
}

TEST_F(HubUpgradeTest, MessagesSayWhatToDo) {
  Record(2);
  // Another family, and other signatures.
  Run({"hub", "publish", packages() + "/acme/encoder/2", "acme/other/1", "--store", store(), "--family", "audio"});
  Run({"hub", "publish", folder_.path() + "/digit.onnx", "acme/whole/1", "--store", store()});
  folder_.Write("empty/readme", "");
  fs::create_directories(folder_.path() + "/no_requests");
  struct Case {
    std::vector<std::string> arguments;
    std::string message;
  };
  const auto of = [&](const std::string& product, const std::string& from, const std::string& to) {
    return std::vector<std::string>{"hub",     "upgrade", product,      "--from", from,    "--to", to,
                                    "--store", store(),   "--requests", log(),    "--out", out()};
  };
  const std::string digit = packages() + "/digit/1";
  const std::vector<Case> cases = {
      {of(digit, "acme/encoder", "acme/encoder/2"), "got no version"},
      {of(digit, "acme/encoder/1", "acme/encoder/1"), "want another version"},
      {of(digit, "acme/encoder/1", "acme/encoder/9"), "has versions 1, 2, 3 of it"},
      {of(digit, "acme/encodr/1", "acme/encoder/2"), "if that was meant"},
      {of(digit, "acme/encoder/2", "acme/encoder/3"), "got no portal that calls 'acme/encoder' digest "},
      {of(digit, "acme/encoder/2", "acme/encoder/3"), "of this store it calls 'acme/encoder/1'"},
      {of(digit, "acme/encoder/1", "acme/other/1"), "got family 'audio', want 'encoder'"},
      {of(digit, "acme/encoder/1", "acme/whole/1"), "output 'features' float32[N,4] is gone"},
      {of(packages() + "/nobody/1", "acme/encoder/1", "acme/encoder/2"), "got nothing there, want the folder of one"},
      {of(folder_.path() + "/digit.onnx", "acme/encoder/1", "acme/encoder/2"), "got a file"},
      {of(folder_.path() + "/empty", "acme/encoder/1", "acme/encoder/2"), "without version folders"},
      {of(packages() + "/acme/encoder/1", "acme/encoder/1", "acme/encoder/2"), "it has no portals"},
      {Upgrade({"--requests", log()}), "--out: got none"},
      {Upgrade({"--requests", log(), "--out", packages() + "/digit/new"}), "whose name is the new version, such as"},
      {Upgrade({"--requests", log(), "--out", digit}), "which is there already, want a new folder"},
      {Upgrade({"--out", out()}), "--request-log=requests --request-log-sample=0.05"},
      {Upgrade({"--requests", folder_.path() + "/nothing", "--out", out()}), "nothing"},
      {Upgrade({"--requests", folder_.path() + "/no_requests", "--out", out()}), "got no *.tfrecord file"},
      {Upgrade({"--requests", log(), "--out", out(), "--model", "mail"}),
       "got those of 'acme/encoder' (3), 'digit' (2), 'parity' (1)"},
  };
  for (const Case& one : cases) {
    EXPECT_THAT(Fails(one.arguments), HasSubstr(one.message)) << ::testing::PrintToString(one.arguments);
    EXPECT_FALSE(fs::exists(out()));
  }
}

TEST_F(HubUpgradeTest, FindsWhatElseTheProductCallsInTheMesh) {
  SplitTwo();
  Record(3);
  EXPECT_THAT(Fails(UpgradeTwo(2, store())), AllOf(HasSubstr("portal to 'head' digest "), HasSubstr("with --mesh")));
  EXPECT_THAT(Run(UpgradeTwo(2, store(), {"--mesh", WriteMeshOfTwo()})), HasSubstr("written "));
}

}  // namespace
}  // namespace portico
