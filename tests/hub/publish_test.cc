#include "hub/publish.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hub/local_store.h"
#include "hub/store_index.h"
#include "hub/sweep.h"
#include "models/package/package.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PublishTest : public ::testing::Test {
 protected:
  static std::string MessageOf(const absl::StatusOr<PublishResult>& result) {
    return std::string(result.status().message());
  }
  std::vector<std::string> Listed() {
    std::vector<std::string> handles;
    const auto entries = ParseIndex(*ReadFile(hub_.root() + "/index.json", kMaxIndexBytes));
    for (const ModuleEntry& entry : entries.value()) handles.push_back(entry.handle.ToString());
    return handles;
  }

  HubFolder hub_;
};

TEST_F(PublishTest, WritesModelAssetsManifestAndIndex) {
  const auto result = hub_.Publish("acme/encoder/3", hub_.Package(1));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->was_there);
  EXPECT_EQ(result->folder, hub_.root() + "/acme/encoder/3");
  WeightStore weights;
  const auto package = LoadPackage("acme/encoder", result->folder, weights);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_EQ(package->digest, result->manifest.digest);
  ASSERT_EQ(result->manifest.files.size(), 2u);
  EXPECT_EQ(result->manifest.files[0].path, "assets/words.txt");
  EXPECT_EQ(result->manifest.files[0].sha256, Sha256("one\ntwo\n"));

  const auto store = NewLocalStore(hub_.root());
  ASSERT_TRUE(store.ok());
  const auto manifest = ReadManifest(**store, *ParseHandle("acme/encoder/3"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->digest, package->digest);
  EXPECT_EQ(manifest->signatures[0].inputs[0].ToString(), "float32[N,64]");
  const auto entries = (*store)->List();
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ((*entries)[0].digest, package->digest);
  EXPECT_THAT(Listed(), ElementsAre("acme/encoder/3"));
  EXPECT_EQ(hub_.Staging(), 0u);
}

TEST_F(PublishTest, TheSameContentAgainIsFineAndOtherContentIsRefusedWithBothDigests) {
  const PublishResult first = hub_.Put("acme/encoder/1", 1);
  const auto again = hub_.Publish("acme/encoder/1", hub_.Package(1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->was_there);
  EXPECT_EQ(again->manifest.published, first.manifest.published);

  const Digest other = hub_.Put("acme/other/1", 2).manifest.digest;
  const auto refused = hub_.Publish("acme/encoder/1", hub_.Package(2));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr(first.manifest.digest.Hex()), HasSubstr(other.Hex()),
                                        HasSubstr("publish this as 'acme/encoder/2'")));

  hub_.folder().Write("packages/1/1/assets/words.txt", "three\n");
  EXPECT_THAT(MessageOf(hub_.Publish("acme/encoder/1", hub_.folder().path() + "/packages/1/1")),
              HasSubstr("another file 'assets/words.txt'"));
  EXPECT_EQ(hub_.Staging(), 0u);
}

TEST_F(PublishTest, NamesInsideTheGraphAreNotContent) {
  hub_.Put("acme/encoder/1", 1);
  ModelBuilder renamed;
  renamed.Input("x", DType::kFloat, {"M", 64}).Output("y", DType::kFloat, {"M", 2});
  renamed.Initializer("weights", Tensor::Of<float>({64, 16}, std::vector<float>(64 * 16, 1.0f)));
  renamed.Initializer("b", Tensor::Of<int64_t>({1}, {0})).Initializer("e", Tensor::Of<int64_t>({1}, {2}));
  renamed.Initializer("a", Tensor::Of<int64_t>({1}, {1}));
  renamed.Node("MatMul", {"x", "weights"}, {"t"}).Node("Slice", {"t", "b", "e", "a"}, {"y"});
  renamed.WriteTo(hub_.folder().path() + "/packages/1/1/model.onnx");
  const auto again = hub_.Publish("acme/encoder/1", hub_.folder().path() + "/packages/1/1");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->was_there);
}

TEST_F(PublishTest, SourcesAreFoundOrSaidToBeMissing) {
  const std::string version = hub_.Package(1);
  const std::string base = fs::path(version).parent_path().string();
  EXPECT_TRUE(hub_.Publish("a/base/7", base).ok());
  EXPECT_TRUE(hub_.Publish("a/file/1", version + "/model.onnx").ok());
  EXPECT_EQ(hub_.Publish("a/none/1", base + "/nothing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(hub_.Publish("a/empty/1", hub_.folder().Folder("empty"))), HasSubstr("neither model.onnx"));
  fs::copy(version, base + "/2", fs::copy_options::recursive);
  EXPECT_TRUE(hub_.Publish("a/two/2", base).ok());
  EXPECT_THAT(MessageOf(hub_.Publish("a/two/5", base)),
              AllOf(HasSubstr("version folders 1, 2"), HasSubstr("none is the handle's 5")));
  const std::string text = hub_.folder().Write("text/1/model.onnx", "no model");
  const std::string message = MessageOf(hub_.Publish("a/text/1", hub_.folder().path() + "/text"));
  EXPECT_THAT(message, AllOf(HasSubstr(text), ::testing::Not(HasSubstr(".staging"))));
}

TEST_F(PublishTest, LinksAreRefusedAndHiddenFilesStayBehind) {
  const std::string version = hub_.Package(1);
  hub_.folder().Write("packages/1/1/.secret", "x");
  const auto result = hub_.Publish("acme/encoder/1", version);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(fs::exists(result->folder + "/.secret"));
  fs::create_symlink("/etc/passwd", version + "/assets/passwd");
  EXPECT_THAT(MessageOf(hub_.Publish("acme/encoder/2", version)), HasSubstr("symbolic link"));
  EXPECT_FALSE(fs::exists(hub_.root() + "/acme/encoder/2"));
}

TEST_F(PublishTest, AssetsTravelAlong) {
  Publication publication;
  publication.handle = *ParseHandle("acme/encoder/1");
  publication.source = hub_.Package(1) + "/model.onnx";
  publication.assets = {hub_.folder().Write("labels.txt", "cat\n")};
  const auto result = Publish(hub_.root(), publication, Clock::Real());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*ReadFile(result->folder + "/assets/labels.txt", 100), "cat\n");
  publication.handle.version = 2;
  publication.assets.push_back(hub_.folder().Write("other/labels.txt", "dog\n"));
  EXPECT_THAT(MessageOf(Publish(hub_.root(), publication, Clock::Real())), HasSubstr("a second 'assets/labels.txt'"));
}

TEST_F(PublishTest, ModulesOfAFamilyHaveTheSameSignatures) {
  ASSERT_TRUE(hub_.Publish("acme/encoder/1", hub_.Package(1), "image").ok());
  ASSERT_TRUE(hub_.Publish("other/encoder/1", hub_.Package(2, 32), "image").ok());
  ModelBuilder narrow;
  narrow.Input("x", DType::kFloat, {"N", 32}).Output("z", DType::kFloat, {"N", 32}).Node("Relu", {"x"}, {"z"});
  narrow.WriteTo(hub_.folder().File("narrow/1/model.onnx"));
  const auto refused = hub_.Publish("acme/narrow/1", hub_.folder().path() + "/narrow", "image");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("family 'image'"), HasSubstr("as 'acme/encoder/1' has them"),
                                        HasSubstr("input 'x' was float32[N,64] and is float32[N,32]"),
                                        HasSubstr("output 'y'"), HasSubstr("output 'z' float32[N,32] is new")));
  EXPECT_FALSE(fs::exists(hub_.root() + "/acme/narrow/1"));
  EXPECT_TRUE(hub_.Publish("acme/narrow/1", hub_.folder().path() + "/narrow").ok());
  EXPECT_THAT(MessageOf(hub_.Publish("acme/narrow/1", hub_.folder().path() + "/narrow", "image")),
              HasSubstr("got family 'image', want none"));
}

TEST_F(PublishTest, AKilledPublicationLeavesNothingHalfPublished) {
  hub_.Put("acme/encoder/1", 1);
  const std::string source = hub_.Package(2, 4096);
  // At every place where bytes pass a publication is killed.
  for (int kill_after = 1; kill_after < 8; ++kill_after) {
    const pid_t child = fork();
    if (child == 0) {
      Publication publication;
      publication.handle = *ParseHandle("acme/encoder/2");
      publication.source = source;
      int left = kill_after;
      (void)Publish(hub_.root(), publication, Clock::Real(), [&](uint64_t done, uint64_t all) {
        EXPECT_LE(done, all);
        if (--left == 0) _exit(9);
      });
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const bool killed = WEXITSTATUS(status) == 9;
    EXPECT_EQ(fs::exists(hub_.root() + "/acme/encoder/2"), !killed);
    if (!killed) break;
    const auto entries = (*NewLocalStore(hub_.root()))->List();
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ(entries->size(), 1u);
  }
  EXPECT_GT(hub_.Staging(), 0u);
  const auto result = hub_.Publish("acme/encoder/2", source);
  ASSERT_TRUE(result.ok()) << result.status();
  // What was left goes with the next removal.
  SweepOptions options;
  options.asked = {*ParseHandle("acme/encoder/1")};
  ASSERT_TRUE(SweepStore(hub_.root(), options).ok());
  EXPECT_EQ(hub_.Staging(), 0u);
  EXPECT_THAT(Listed(), ElementsAre("acme/encoder/2"));
}

TEST_F(PublishTest, WhatWasPlacedButNotListedIsListedByTheNextPublication) {
  hub_.Put("acme/encoder/1", 1);
  fs::remove(hub_.root() + "/index.json");
  const auto again = hub_.Publish("acme/encoder/1", hub_.Package(1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(Listed(), ElementsAre("acme/encoder/1"));
}

TEST_F(PublishTest, OfManyAtOnceOneContentWins) {
  std::vector<std::thread> threads;
  std::vector<absl::StatusCode> codes(6);
  std::vector<std::string> sources;
  for (int i = 0; i < 6; ++i) sources.push_back(hub_.Package(i));
  for (size_t i = 0; i < codes.size(); ++i) {
    threads.emplace_back([&, i] { codes[i] = hub_.Publish("acme/encoder/1", sources[i]).status().code(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count(codes.begin(), codes.end(), absl::StatusCode::kOk), 1);
  EXPECT_EQ(std::count(codes.begin(), codes.end(), absl::StatusCode::kAlreadyExists), 5);
}

TEST_F(PublishTest, HandlesThatAreNotThereAreAnsweredWithTheNearest) {
  hub_.Put("acme/encoder/1", 1);
  hub_.Put("acme/encoder/3", 2);
  const auto store = NewLocalStore(hub_.root());
  const auto message = [&](const char* handle) {
    const auto manifest = ReadManifest(**store, *ParseHandle(handle));
    EXPECT_EQ(manifest.status().code(), absl::StatusCode::kNotFound);
    return std::string(manifest.status().message());
  };
  EXPECT_THAT(message("acme/encoder/2"), HasSubstr("has versions 1, 3 of it; name one of them"));
  EXPECT_THAT(message("acme/encodr/3"), HasSubstr("'acme/encoder/3' is, if that was meant"));
  EXPECT_THAT(message("nobody/something/1"), HasSubstr("'portico hub list' shows the 2 that are"));
  EXPECT_EQ(NewLocalStore(hub_.root() + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PublishTest, AModuleWhoseManifestIsBrokenStopsNobodyAndIsNamed) {
  hub_.Put("acme/encoder/1", 1);
  hub_.Put("acme/other/1", 2);
  hub_.folder().Write("store/acme/encoder/1/manifest.json", "{}");
  const auto result = hub_.Publish("acme/encoder/2", hub_.Package(3), "image");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Listed(), ElementsAre("acme/encoder/2", "acme/other/1"));
  EXPECT_THAT(result->unlisted, ElementsAre(HasSubstr("'acme/encoder/1'")));
}

TEST_F(PublishTest, AStoreOfAnotherSchemeIsRefusedAndNoFolderIsMade) {
  Publication publication;
  publication.handle = *ParseHandle("acme/encoder/1");
  publication.source = hub_.Package(1);
  for (const char* root : {"gs://portico-test/x", "HTTPS://h/x", "file://portico-test"}) {
    EXPECT_EQ(Publish(root, publication, Clock::Real()).status().code(), absl::StatusCode::kInvalidArgument) << root;
    EXPECT_FALSE(fs::exists(std::string(root).substr(0, std::string(root).find('/')))) << root;
  }
  EXPECT_TRUE(Publish("file://" + hub_.root(), publication, Clock::Real()).ok());
}

TEST_F(PublishTest, WhatNobodyPublishedIsLeftAlone) {
  hub_.folder().Write("store/acme/encoder/1/model.onnx", "by hand");
  EXPECT_THAT(MessageOf(hub_.Publish("acme/encoder/1", hub_.Package(1))), HasSubstr("which nobody published"));
  EXPECT_EQ(hub_.folder().Read("store/acme/encoder/1/model.onnx"), "by hand");
}

}  // namespace
}  // namespace portico
