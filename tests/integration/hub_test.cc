// `portico hub` as a person uses it, a store behind python3's own web server, and a mesh that names a module by its
// handle.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "deploy/node_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/hub_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/free_port.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using HubTest = HubFixture;

TEST_F(HubTest, PublishListShowDiff) {
  Split("digit", -0.5f, 1);
  Split("digit", 0.25f, 2);
  EXPECT_THAT(Publish(1), HasSubstr("acme/encoder/1 published, digest "));
  EXPECT_THAT(Publish(1), HasSubstr("is there already with the same content"));
  Publish(2);
  EXPECT_THAT(Fails({"hub", "publish", packages() + "/acme/encoder/2", "acme/encoder/1", "--store", store()}),
              AllOf(HasSubstr("what a handle means never changes"), HasSubstr("publish this as 'acme/encoder/3'")));
  EXPECT_THAT(Run({"hub", "list", "--store", store()}), AllOf(HasSubstr("acme/encoder/1"), HasSubstr("encoder")));
  EXPECT_THAT(Run({"hub", "list", "acme/encoder/2", "--store", store()}), Not(HasSubstr("acme/encoder/1")));
  EXPECT_THAT(Run({"hub", "list", "--json", "--store", store()}), HasSubstr("\"handle\":\"acme/encoder/2\""));
  EXPECT_THAT(Fails({"hub", "list", "nobody", "--store", store()}), HasSubstr("got none of 2 modules"));
  const std::string shown = Run({"hub", "show", "acme/encoder/1", "--store", store()});
  EXPECT_THAT(shown, AllOf(HasSubstr("family encoder"), HasSubstr("in   image float32[N,8]"), HasSubstr("model.onnx"),
                           HasSubstr("made of digest "), HasSubstr("made by portico "),
                           HasSubstr("parts: [{name: acme/encoder, outputs: [features]}]")));
  EXPECT_THAT(Run({"inspect", packages() + "/acme/encoder/1"}),
              AllOf(HasSubstr("made of digest "), HasSubstr("by the plan")));
  EXPECT_THAT(Run({"inspect", packages() + "/acme/encoder/1", "--json"}), HasSubstr("\"source_digest\":\""));
  EXPECT_THAT(Fails({"hub", "show", "acme/encodr/1", "--store", store()}), HasSubstr("if that was meant"));
  EXPECT_THAT(Fails({"hub", "show", "acme/encoder", "--store", store()}), HasSubstr("got no version"));
  EXPECT_THAT(Fails({"hub", "show", "acme/encoder/1"}), HasSubstr("want --store"));
  EXPECT_THAT(Fails({"hub", "publish", packages() + "/acme/encoder/2", "acme/encoder/4", "--store", "s3://bucket/x"}),
              HasSubstr("aws s3 sync FOLDER s3://bucket/x"));
  EXPECT_THAT(Fails({"hub", "publish", packages() + "/acme/encoder/2", "acme/encoder/4", "--store", "http://h/x"}),
              AllOf(HasSubstr("got a server"), HasSubstr("rsync"), Not(HasSubstr("aws"))));
  const std::string diff = Run({"hub", "diff", "acme/encoder/1", "acme/encoder/2", "--store", store()});
  EXPECT_THAT(diff, AllOf(HasSubstr("signatures: the same"), HasSubstr("~ w1 float32[8,4]"), HasSubstr("~ model.onnx"),
                          HasSubstr("1 the same, 1 not")));
  EXPECT_THAT(Run({"hub", "diff", packages() + "/acme/encoder/1", "acme/encoder/1", "--store", store()}),
              AllOf(HasSubstr("the same structure and weights"), HasSubstr("files: the same")));
}

TEST_F(HubTest, AListSaysWhatItLacks) {
  Split("digit", -0.5f, 1);
  Publish(1);
  folder_.Write("store/acme/broken/1/manifest.json", "{]");
  folder_.Write("store/zeta/broken/1/manifest.json", "{}");
  const std::string listed = Fails({"hub", "list", "--store", store()});
  EXPECT_THAT(listed, AllOf(HasSubstr("acme/encoder/1"), HasSubstr("not listed: handle 'acme/broken/1'"),
                            HasSubstr("not listed: handle 'zeta/broken/1'"), HasSubstr("got 2 of 3 modules")));
  EXPECT_THAT(Fails({"hub", "list", "zeta", "--store", store()}),
              AllOf(Not(HasSubstr("acme")), HasSubstr("got 1 of 1 modules")));
  EXPECT_THAT(Run({"hub", "list", "acme/encoder", "--store", store()}), HasSubstr("acme/encoder/1"));
}

TEST_F(HubTest, PullsFromAPlainWebServer) {
  Split("digit", -0.5f, 1);
  Publish(1);
  const HeldPort held;
  const std::string port = absl::StrCat(held.number());
  auto server = Process::Start(
      {"/usr/bin/env", "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder_.path(), port});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string url = absl::StrCat("http://127.0.0.1:", port, "/store");
  CommandResult listed;
  for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;) {
    listed = RunPortico({"hub", "list", "--store", url});
    if (listed.end == "exit status 0") break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  EXPECT_THAT(listed.output, HasSubstr("acme/encoder/1"));
  const std::string pulled = Run({"hub", "pull", "acme/encoder/1", "--store", url});
  const std::string place = folder_.path() + "/cache/portico/hub/modules/acme/encoder/1";
  EXPECT_THAT(pulled, AllOf(HasSubstr("acme/encoder/1 pulled and checked"), HasSubstr(place)));
  EXPECT_EQ(*ReadFile(place + "/model.onnx", 1 << 20), *ReadFile(store() + "/acme/encoder/1/model.onnx", 1 << 20));
  // What a server says of a file that is not there is a page for browsers.
  EXPECT_THAT(Fails({"hub", "show", "acme/encoder/1", "--store", absl::StrCat(url, "/nowhere")}),
              AllOf(HasSubstr("404"), Not(HasSubstr("<")), Not(HasSubstr("DOCTYPE"))));
  (*server)->Signal(SIGKILL);
  (*server)->Wait();
  // Nobody needs the server any more, at whichever of its addresses.
  EXPECT_THAT(Run({"hub", "pull", "acme/encoder/1", "--store", absl::StrCat("http://localhost:", port, "/store")}),
              AllOf(HasSubstr("taken from the cache as it came from '" + url), HasSubstr("is in the cache")));
  EXPECT_THAT(Run({"hub", "pull", "acme/encoder/1", "--store", url}), HasSubstr("is in the cache"));
  EXPECT_THAT(Fails({"hub", "pull", "acme/encoder/2", "--store", url}), HasSubstr("connect"));
}

TEST_F(HubTest, AMeshThatWaitsForAServerIsStoppedAtOnce) {
  // It takes connections and says nothing.
  const HeldPort held;
  const std::string port = absl::StrCat(held.number());
  auto server =
      Process::Start({"/usr/bin/env", "python3", "-c",
                      absl::StrCat("import socket,time\nl=socket.create_server(('127.0.0.1',", port,
                                   "))\nkept=[]\nwhile True: kept.append(l.accept()); print('taken', flush=True)")});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string mesh = folder_.Write(
      "mesh.yaml", absl::StrCat("mesh: m\nhub: http://127.0.0.1:", port,
                                "/store\nmodels: {acme/encoder/1: {}}\nnodes: {hub: {serve: [acme/encoder/1]}}\n"));
  PorticoCommand up({"up", mesh});
  // Until it has asked the server.
  std::string taken;
  for (const absl::Time end = absl::Now() + absl::Minutes(1); absl::Now() < end && taken.find("taken") == taken.npos;) {
    if (!(*server)->ReadOutput(&taken)) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  ASSERT_THAT(taken, HasSubstr("taken"));
  const absl::Time begin = absl::Now();
  up.process().Signal(SIGTERM);
  EXPECT_EQ(up.WaitForEnd(), "exit status 0") << up.output();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  EXPECT_THAT(up.output(), HasSubstr("interrupted; what has been pulled stays"));
  (*server)->Signal(SIGKILL);
  (*server)->Wait();
}

TEST_F(HubTest, AMeshPinsAModuleAndNewVersionsMoveNobody) {
  Split("digit", -0.5f, 1);
  Publish(1);
  const std::string mesh = folder_.Write(
      "mesh.yaml", absl::StrCat("mesh: m\nhub: store\nmodels:\n  acme/encoder/1: {}\n  digit: {path: packages/digit}\n"
                                "nodes:\n  hub: {serve: [acme/encoder/1]}\n  apps: {serve: [digit], grpc: 0}\n"));
  PorticoCommand up({"up", mesh, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("pulled acme/encoder/1 from ")) << up.output();
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  const std::string address = ReadNodeStatus(folder_.path() + "/run/status/apps-0.json")->grpc;
  const auto before = Ask(address, "digit");
  ASSERT_TRUE(before.ok()) << before.status();

  // Version 2 has other weights, is published and even pulled into the same cache; the product stays with version 1.
  Split("other", 0.25f, 2);
  Publish(2);
  Run({"hub", "pull", "acme/encoder/2", "--store", store()});
  absl::SleepFor(absl::Seconds(3));  // As long as it takes `up` to look at folders twice.
  const auto after = Ask(address, "digit");
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(*after, *before);
  EXPECT_THAT(Run({"revision", "--run-folder", folder_.path() + "/run"}), Not(HasSubstr("acme/encoder 2")));

  // What the product uses can't be removed, from the store or from the cache; what nobody uses can.
  EXPECT_THAT(Fails({"hub", "gc", "acme/encoder/1", "--store", store(), "--mesh", mesh}),
              AllOf(HasSubstr("'acme/encoder/1': got a module that"), HasSubstr("model 'digit' of mesh"),
                    HasSubstr("model 'acme/encoder/1' of mesh")));
  EXPECT_THAT(Fails({"hub", "gc", "--store", store()}), HasSubstr("got no --mesh"));
  EXPECT_THAT(Run({"hub", "gc", "--store", store(), "--mesh", mesh, "--dry-run"}),
              AllOf(HasSubstr("keeps acme/encoder/1"), HasSubstr("would remove acme/encoder/2")));
  EXPECT_TRUE(fs::exists(store() + "/acme/encoder/2"));
  EXPECT_THAT(Run({"hub", "gc", "--mesh", mesh}), HasSubstr("removed acme/encoder/2"));
  EXPECT_FALSE(fs::exists(folder_.path() + "/cache/portico/hub/modules/acme/encoder/2"));
  EXPECT_TRUE(fs::exists(store() + "/acme/encoder/2"));
  EXPECT_THAT(Run({"hub", "gc", "--store", store(), "--mesh", mesh}), HasSubstr("1 of 2 modules have gone"));
  EXPECT_FALSE(fs::exists(store() + "/acme/encoder/2"));
  EXPECT_EQ(*Ask(address, "digit"), *before);
}

TEST_F(HubTest, BothVersionsOfAModuleServeTheProductsThatWereCutFromThem) {
  Split("digit", -0.5f, 1);
  Split("other", 0.25f, 2);
  Publish(1);
  Publish(2);
  const std::string mesh =
      folder_.Write("mesh.yaml", absl::StrCat("mesh: m\nmodels:\n  acme/encoder/1: {hub: ", store(),
                                              "}\n  acme/encoder/2: {hub: 'file://", store(),
                                              "'}\n  digit: {path: packages/digit}\n  other: {path: packages/other}\n"
                                              "nodes:\n  hub: {serve: [acme/encoder/1, acme/encoder/2]}\n"
                                              "  apps: {serve: [digit, other], grpc: 0}\n"));
  PorticoCommand up({"up", mesh, "--run-folder", folder_.path() + "/run"});
  ASSERT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
  const std::string address = ReadNodeStatus(folder_.path() + "/run/status/apps-0.json")->grpc;
  const auto digit = Ask(address, "digit");
  const auto other = Ask(address, "other");
  ASSERT_TRUE(digit.ok()) << digit.status();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_NE(*digit, *other);
}

}  // namespace
}  // namespace portico
