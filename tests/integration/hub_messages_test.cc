// What people are told who use `portico hub`, or handles in a mesh file, wrongly: what came, what was wanted, what to
// do.

#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/hub_fixture.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class HubMessagesTest : public HubFixture {
 protected:
  void SetUp() override {
    Split("digit", -0.5f, 1);
    Split("other", 0.25f, 2);
    Publish(1);
    Publish(2);
  }
  /// A copy of the store, to be damaged.
  std::string Copy(const std::string& name) const {
    const std::string copy = folder_.path() + "/" + name;
    fs::copy(store(), copy, fs::copy_options::recursive);
    return copy;
  }
  /// One in which a byte of acme/encoder/1 is another.
  std::string Damaged() const {
    const std::string copy = Copy("damaged");
    std::string model = folder_.Read("damaged/acme/encoder/1/model.onnx");
    model.back() = static_cast<char>(model.back() + 1);
    folder_.Write("damaged/acme/encoder/1/model.onnx", model);
    return copy;
  }
  std::string At(const std::string& name) const { return folder_.path() + "/" + name; }
};

struct Case {
  std::vector<std::string> arguments;
  /// Each is in the message.
  std::vector<std::string> parts;
};

TEST_F(HubMessagesTest, OfCommands) {
  folder_.Write("file", "no folder");
  const std::string damaged = Damaged(), cut = Copy("cut"), unreadable = Copy("unreadable");
  fs::remove(cut + "/acme/encoder/1/model.onnx");
  folder_.Write("unreadable/acme/encoder/1/manifest.json", "{");
  const std::string encoder = packages() + "/acme/encoder/1";
  const std::vector<Case> cases = {
      // Handles.
      {{"hub", "show", "acme/encoder", "--store", store()}, {"got no version", "'portico hub list acme/encoder'"}},
      {{"hub", "show", "acme/encoder:1", "--store", store()}, {"got ':' in it", "want 'acme/encoder/1'"}},
      {{"hub", "pull", "acme/encoder/latest", "--store", store()}, {"something else tomorrow", "want a number"}},
      {{"hub", "pull", "acme/encoder/9", "--store", store()}, {"not in '", "which has versions 1, 2 of it"}},
      {{"hub", "pull", "acme/encodr/1", "--store", store()}, {"if that was meant"}},
      {{"hub", "list", "nobody", "--store", store()}, {"got none of 2 modules", "leave it out to see all"}},
      // Stores.
      {{"hub", "pull", "acme/encoder/1"}, {"store: got none, want --store FOLDER", "PORTICO_HUB"}},
      {{"hub", "pull", "acme/encoder/1", "--store", At("nowhere")}, {"want the folder of a store", "hub publish"}},
      {{"hub", "pull", "acme/encoder/1", "--store", "ftp://x"}, {"got a scheme that is not known", "s3://"}},
      {{"hub", "show", "acme/encoder/1", "--store", "http://127.0.0.1:1"}, {"connect: ", "whether it serves"}},
      {{"hub", "pull", "acme/encoder/1", "--store", "s3://"}, {"want s3://BUCKET/PREFIX"}},
      {{"hub", "pull", "acme/encoder/1", "--store", damaged},
       {"file 'model.onnx': got ", "the store's copy is damaged", "under the next version"}},
      {{"hub", "pull", "acme/encoder/1", "--store", cut},
       {"file 'model.onnx': got none", "the store's copy is not whole", "have it copied there anew"}},
      {{"hub", "show", "acme/encoder/1", "--store", unreadable}, {"manifest: ", "the store's copy is damaged"}},
      {{"hub", "pull", "acme/encoder/1", "--store", store(), "--cache", At("file")},
       {"cache '" + At("file") + "'", "name a folder that you may write in (--cache"}},
      // Publishing.
      {{"hub", "publish", At("nowhere"), "acme/encoder/3", "--store", store()},
       {"got nothing there, want a model file"}},
      {{"hub", "publish", packages(), "acme/encoder/3", "--store", store()},
       {"got neither model.onnx nor version folders", "name PACKAGES/NAME"}},
      {{"hub", "publish", At("file"), "acme/encoder/3", "--store", store()},
       {"'" + At("file") + "': got 9 bytes that do not parse as an ONNX model"}},
      {{"hub", "publish", packages() + "/acme/encoder/2", "acme/encoder/1", "--store", store()},
       {"got digest ", "what a handle means never changes: publish this as 'acme/encoder/3'"}},
      {{"hub", "publish", packages() + "/digit/1", "acme/whole/1", "--store", store(), "--family", "encoder"},
       {"got signatures that are not those of family 'encoder'", "publish it under another --family"}},
      {{"hub", "publish", encoder, "acme/encoder/3", "--store", store(), "--asset", At("nowhere")},
       {"asset '", "got nothing there, want a file"}},
      {{"hub", "publish", encoder, "acme/encoder/3", "--store", At("file")},
       {"got no folder", "name another with --store"}},
      {{"hub", "publish", encoder, "acme/encoder/3", "--store", "https://x"}, {"got a server", "copy that there"}},
      // Removing.
      {{"hub", "gc"}, {"got no --mesh", "--all where there are none"}},
      {{"hub", "gc", "--mesh", At("nowhere.yaml")}, {"mesh file '", "got nothing there", "mend the path"}},
      {{"hub", "gc", "acme/encodr/1", "--all", "--store", store()}, {"to remove", "if that was meant"}},
      {{"hub", "gc", "--all", "--store", "http://127.0.0.1:1"}, {"got a server", "remove there"}},
      // Comparing.
      {{"hub", "diff", "acme/encoder/1", "./nowhere", "--store", store()}, {"got nothing there", "mend the path"}},
      {{"hub", "diff", "acme/encoder/1", "acme/encoder/9", "--store", store()}, {"which has versions 1, 2 of it"}},
  };
  for (const Case& one : cases) {
    const std::string message = Fails(one.arguments);
    for (const std::string& part : one.parts) {
      EXPECT_THAT(message, HasSubstr(part)) << ::testing::PrintToString(one.arguments);
    }
  }
}

TEST_F(HubMessagesTest, OfWordsThatAreNoCommands) {
  const auto fails = [](std::vector<std::string> arguments) {
    const CommandResult result = RunPortico(std::move(arguments));
    EXPECT_NE(result.end, "exit status 0");
    return result.output;
  };
  EXPECT_THAT(fails({"hub", "publsh"}), AllOf(HasSubstr("portico hub: got 'publsh', want one of publish, pull, list"),
                                              HasSubstr("'publish', if that was meant"), HasSubstr("--help")));
  EXPECT_THAT(fails({"hub"}), HasSubstr("portico hub: got no command, want one of publish"));
  EXPECT_THAT(fails({"serv"}), AllOf(HasSubstr("portico: got 'serv', want one of "), HasSubstr("'serve', if that")));
  EXPECT_THAT(fails({"hub", "publish"}), HasSubstr("source is required"));
}

TEST_F(HubMessagesTest, OfMeshFiles) {
  Damaged();
  const struct {
    /// Lines of the file behind "mesh: m\n".
    std::string models, serve;
    std::vector<std::string> parts;
  } kCases[] = {
      {"models: {acme/encoder/1: {}}", "acme/encoder/1", {"got no store", "'hub:' above 'models:'"}},
      {"hub: store\nmodels: {acme/encoder/7: {}}", "acme/encoder/7", {":3: ", "which has versions 1, 2 of it"}},
      {"hub: store\nmodels: {acme/encodr/1: {}}", "acme/encodr/1", {"if that was meant"}},
      {"hub: store\nmodels: {acme/encoder: {}}",
       "acme/encoder",
       {"got no 'path'", "name a hub module with its version, 'acme/encoder/1: {}' say"}},
      {"hub: store\nmodels: {acme/encoder/latest: {}}",
       "acme/encoder/latest",
       {"which would mean something else tomorrow"}},
      {"hub: store\nmodels: {acme/encoder/01: {}}", "acme/encoder/01", {"got zeros in front", "want 'acme/encoder/1'"}},
      {"hub: store\nmodels: {acme/encoder/1: {path: packages/digit}}",
       "acme/encoder/1",
       {"got 'path' beside a handle", "remove 'path', or call the folder's model 'acme/encoder'"}},
      {"hub: nowhere\nmodels: {acme/encoder/1: {}}", "acme/encoder/1", {"want the folder of a store"}},
      {"hub: damaged\nmodels: {acme/encoder/1: {}}", "acme/encoder/1", {"the store's copy is damaged"}},
      {"hub: store\nmodels: {acme/encoder/1: {}}",
       "acme/encoder/2",
       {"node 'all': serve: got 'acme/encoder/2'", "add 'acme/encoder/2: {}' there"}},
      {"hub: store\nmodels: {acme/encoder/1: {}}",
       "acme/encoder/1/",
       {"got a slash at its end, want 'acme/encoder/1'"}},
      // What the product calls is another version than the one that is served.
      {"hub: store\nmodels: {acme/encoder/2: {}, digit: {path: packages/digit}}",
       "acme/encoder/2, digit",
       {"portal 'acme/encoder'", "digest "}},
  };
  for (const auto& one : kCases) {
    const std::string mesh = folder_.Write(
        "mesh.yaml", absl::StrCat("mesh: m\n", one.models, "\nnodes: {all: {serve: [", one.serve, "], grpc: 0}}\n"));
    const std::string message = Fails({"up", mesh, "--run-folder", At("run")});
    EXPECT_THAT(message, HasSubstr(mesh + ":")) << one.models;
    for (const std::string& part : one.parts) EXPECT_THAT(message, HasSubstr(part)) << one.models;
    fs::remove_all(At("cache"));
  }
}

/// Where a file system ends is what one of a few KiB says. Needs the right to mount one.
TEST_F(HubMessagesTest, OfFullDisks) {
  const std::string small = folder_.Folder("small");
  // Full with the first few bytes of anything.
  if (mount("portico_test", small.c_str(), "tmpfs", 0, "size=8k,nr_inodes=64") != 0) GTEST_SKIP() << "may not mount";
  folder_.Write("packages/acme/encoder/1/assets/words.txt", std::string(100'000, 'x'));
  const std::string encoder = packages() + "/acme/encoder/1";
  EXPECT_THAT(Fails({"hub", "publish", encoder, "acme/big/1", "--store", small + "/store"}),
              AllOf(HasSubstr("No space left on device"), HasSubstr("nothing was published: the store '")));
  EXPECT_TRUE(fs::is_empty(small + "/store") || !fs::exists(small + "/store/acme"));
  Run({"hub", "publish", encoder, "acme/big/1", "--store", store()});
  EXPECT_THAT(Fails({"hub", "pull", "acme/big/1", "--store", store(), "--cache", small + "/cache"}),
              AllOf(HasSubstr("bytes free in '"), HasSubstr("make room ('portico hub gc') or name another folder")));
  EXPECT_EQ(umount(small.c_str()), 0);
}

}  // namespace
}  // namespace portico
