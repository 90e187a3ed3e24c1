// What `portico hub upgrade` compares with: products with tables, and what a killed one leaves.

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "onnx/onnx_pb.h"
#include "tests/integration/hub_upgrade_fixture.h"
#include "tests/models/package/group_builder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// How many entries of `folder` begin so.
int CountOf(const std::string& folder, const std::string& prefix) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    count += absl::StartsWith(entry.path().filename().string(), prefix) ? 1 : 0;
  }
  return count;
}

class HubUpgradeTablesTest : public HubUpgradeTest {
 protected:
  /// packages/ranker/1: the encoder's features, and sums of rows of 'clicks' by which pixels are large.
  void WriteRanker() {
    WeightStore weights;
    const auto encoder = LoadPackage("acme/encoder", packages() + "/acme/encoder/1", weights);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    ModelBuilder model;
    model.Input("image", DType::kFloat, {"N", 8}).Output("score", DType::kFloat, {"N", 4});
    model.Portal("Remote", "acme/encoder", {"image"}, {"features"}, {DType::kFloat}, {"N,4"},
                 {String("digest", encoder->digest.Hex()), Strings("input_names", {"image"}),
                  Strings("output_names", {"features"})});
    model.Initializer("one", Tensor::Of<float>({1}, {1.0f})).Node("Less", {"image", "one"}, {"large"});
    model.Node("Cast", {"large"}, {"ids"}, {Int("to", onnx::TensorProto::INT64)});
    model.Portal(
        "EmbeddingBag", "clicks", {"ids"}, {"rows"}, {DType::kFloat}, {"N,4"},
        {Strings("tables", {"items"}), Ints("dims", {4}), Strings("poolings", {"sum"}), Strings("forms", {"padded"}),
         Strings("id_kinds", {"dense"}), Strings("input_names", {}), Strings("output_names", {})});
    model.Node("Add", {"features", "rows"}, {"score"});
    model.WriteTo(folder_.File("packages/ranker/1/model.onnx"));
    TableSpec items;
    items.name = "items";
    items.dim = 4;
    const absl::Status built = BuildGroup(folder_.path() + "/clicks", 2, {{items, 100}});
    ASSERT_TRUE(built.ok()) << built;
  }
  std::string WriteRankerMesh() const {
    return folder_.Write("mesh.yaml",
                         "mesh: m\nhub: store\nmodels:\n  acme/encoder/1: {}\n  acme/encoder/2: {}\n"
                         "  digit: {path: packages/ranker}\n  parity: {path: packages/parity}\n"
                         "tables:\n  clicks: {path: clicks}\n"
                         "nodes:\n  hub: {serve: [acme/encoder/1, acme/encoder/2, clicks]}\n"
                         "  apps: {serve: [digit, parity], grpc: 0}\n");
  }
  /// Answers of a mesh of that file to some images.
  std::vector<std::string> AnswersOf(const std::string& mesh, const std::string& run) {
    PorticoCommand up(UpArguments(mesh, run));
    EXPECT_TRUE(up.WaitForOutput("mesh 'm' is ready")) << up.output();
    TfsClient client(address(run));
    std::vector<std::string> answers;
    for (int i = 0; i < 5; ++i) {
      const auto answer = client.Predict("digit", "", {{"image", Image(i)}}, {});
      EXPECT_TRUE(answer.ok()) << answer.status();
      if (answer.ok()) answers.emplace_back(answer->outputs.at(0).tensor.bytes());
    }
    return answers;
  }
};

TEST_F(HubUpgradeTablesTest, AProductWithTablesIsComparedOverThem) {
  WriteRanker();
  const std::string mesh = WriteRankerMesh();
  Record(20, mesh);
  const auto upgrade = [&](const std::string& with_mesh) {
    std::vector<std::string> arguments = {"hub",
                                          "upgrade",
                                          packages() + "/ranker/1",
                                          "--model",
                                          "digit",
                                          "--from",
                                          "acme/encoder/1",
                                          "--to",
                                          "acme/encoder/2",
                                          "--store",
                                          store(),
                                          "--requests",
                                          log(),
                                          "--out",
                                          packages() + "/ranker/2",
                                          "--atol",
                                          "0.1"};
    if (!with_mesh.empty()) arguments.insert(arguments.end(), {"--mesh", with_mesh});
    return arguments;
  };
  EXPECT_THAT(Fails(upgrade("")), AllOf(HasSubstr("tables 'clicks': got no mesh file"), HasSubstr("with --mesh")));
  const std::string other = folder_.Write(
      "other.yaml",
      "mesh: m\nhub: store\nmodels: {acme/encoder/2: {}}\nnodes: {hub: {serve: [acme/encoder/2], grpc: 0}}\n");
  EXPECT_THAT(Fails(upgrade(other)), AllOf(HasSubstr("tables 'clicks': got mesh '" + other + "' with no 'tables'"),
                                           HasSubstr("name the product's own mesh file")));
  EXPECT_FALSE(fs::exists(packages() + "/ranker/2"));
  // The old version answers here what it answered in the mesh: the tables are those of the mesh.
  EXPECT_THAT(Run(upgrade(mesh)), AllOf(HasSubstr("20 recorded requests answered by both versions"),
                                        HasSubstr("written "), Not(HasSubstr("are not what the old version answers"))));
  const std::vector<std::string> after = AnswersOf(mesh, "after");
  fs::remove_all(packages() + "/ranker/2");
  const std::vector<std::string> before = AnswersOf(mesh, "before");
  ASSERT_EQ(after.size(), 5u);
  EXPECT_NE(after, before);
}

/// A store that takes connections and never answers.
class SilentStore {
 public:
  SilentStore() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    PORTICO_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(fd_, 16) == 0);
    PORTICO_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    url_ = absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port));
  }
  ~SilentStore() { close(fd_); }
  const std::string& url() const { return url_; }

 private:
  const int fd_;
  std::string url_;
};

class HubUpgradeKilledTest : public HubUpgradeTest {
 protected:
  HubUpgradeKilledTest() { setenv("TMPDIR", folder_.Folder("tmp").c_str(), 1); }
  ~HubUpgradeKilledTest() override { unsetenv("TMPDIR"); }

  int Trials() const { return CountOf(folder_.path() + "/tmp", "portico-trial-"); }
  int Staged(int version) const { return CountOf(packages() + "/two", absl::StrCat(".", version, ".")); }
  /// Whether it comes to that within a minute.
  template <typename Condition>
  static bool ComesTo(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Minutes(1); absl::Now() < end;
         absl::SleepFor(absl::Milliseconds(2))) {
      if (condition()) return true;
    }
    return false;
  }
};

TEST_F(HubUpgradeKilledTest, TheNextOneRemovesWhatNobodyHas) {
  SplitTwo();
  Record(3);
  for (const char* module : {"acme/encoder/1", "acme/encoder/2"}) Run({"hub", "pull", module, "--store", store()});
  // The encoders are in the cache as if they were of a store that does not answer; who has the head is asked there,
  // too: both hang.
  const SilentStore silent;
  for (const char* version : {"1", "2"}) {
    folder_.Write(absl::StrCat("cache/portico/hub/modules/acme/encoder/", version, "/.origin"), silent.url());
  }
  PorticoCommand killed(UpgradeTwo(2, silent.url()));
  ASSERT_TRUE(ComesTo([&] { return Trials() == 1 && Staged(2) == 1; })) << killed.output();
  PorticoCommand living(UpgradeTwo(3, silent.url()));
  ASSERT_TRUE(ComesTo([&] { return Trials() == 2 && Staged(3) == 1; })) << living.output();
  EXPECT_EQ(Staged(2), 1);
  killed.process().Signal(SIGKILL);
  killed.WaitForEnd();
  EXPECT_EQ(Staged(2), 1);
  EXPECT_EQ(Trials(), 2);

  const std::vector<std::string> with_mesh = {"--mesh", WriteMeshOfTwo()};
  EXPECT_THAT(Run(UpgradeTwo(4, store(), with_mesh)), HasSubstr("written "));
  EXPECT_EQ(Staged(2), 0);
  EXPECT_EQ(Staged(3), 1);
  EXPECT_EQ(Staged(4), 0);
  EXPECT_EQ(Trials(), 1);
  living.process().Signal(SIGKILL);
  living.WaitForEnd();
  EXPECT_THAT(Run(UpgradeTwo(5, store(), with_mesh)), HasSubstr("written "));
  EXPECT_EQ(Staged(3), 0);
  EXPECT_EQ(Trials(), 0);
}

}  // namespace
}  // namespace portico
