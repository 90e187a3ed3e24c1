#include "hub/cache.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/package.h"
#include "tests/hub/file_server.h"
#include "tests/hub/hub_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CacheTest : public ::testing::Test {
 protected:
  CacheTest() : server_(hub_.root()) {}

  HubCache NewCache() {
    HubCache::Options options;
    options.folder = hub_.cache();
    options.pause = absl::Milliseconds(1);
    options.say = [this](absl::string_view line) { absl::StrAppend(&said_, line, "\n"); };
    options.progress = [this](absl::string_view, uint64_t done, uint64_t all) {
      EXPECT_LE(done, all);
      if (on_progress_) on_progress_(done);
    };
    return *HubCache::Open(std::move(options));
  }
  absl::StatusOr<HubCache::Pulled> PullFrom(const std::string& url, const std::string& handle) {
    const auto store = OpenStore(url);
    EXPECT_TRUE(store.ok()) << store.status();
    HubCache cache = NewCache();
    return cache.Pull(**store, *ParseHandle(handle));
  }
  absl::StatusOr<HubCache::Pulled> Pull(const std::string& handle) { return PullFrom(server_.url(), handle); }
  /// The digest of what is in the cache.
  Digest Loaded(const std::string& folder) {
    WeightStore weights;
    return LoadPackage("m", folder, weights)->digest;
  }

  HubFolder hub_;
  FileServer server_;
  std::string said_;
  std::function<void(uint64_t)> on_progress_;
};

TEST_F(CacheTest, PullsOnceAndThenAsksNobody) {
  const PublishResult module = hub_.Put("acme/encoder/3", 1);
  const auto pulled = Pull("acme/encoder/3");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_FALSE(pulled->was_there);
  EXPECT_EQ(pulled->folder, hub_.cache() + "/modules/acme/encoder/3");
  EXPECT_EQ(Loaded(pulled->folder), module.manifest.digest);
  EXPECT_EQ(*ReadFile(pulled->folder + "/assets/words.txt", 100), "one\ntwo\n");
  EXPECT_FALSE(fs::exists(hub_.cache() + "/partial/acme/encoder/3"));
  const size_t asked = server_.requests().size();
  const auto again = Pull("acme/encoder/3");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->was_there);
  EXPECT_EQ(server_.requests().size(), asked);
}

TEST_F(CacheTest, FoldersArePulledTheSameWay) {
  hub_.Put("acme/encoder/3", 1);
  const auto pulled = PullFrom(hub_.root(), "acme/encoder/3");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(PullFrom("file://" + hub_.root(), "acme/encoder/3")->was_there, true);
}

TEST_F(CacheTest, ADownloadThatBreaksGoesOnWhereItEnded) {
  hub_.Put("acme/encoder/1", 1, 8192);
  server_.breaks = 3;
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  const uint64_t bytes = pulled->manifest.bytes();
  EXPECT_EQ(Loaded(pulled->folder), pulled->manifest.digest);
  // No byte twice, but for the manifest, which is no file of the module.
  EXPECT_LT(server_.sent.load(), bytes + 8192);
  size_t ranges = 0;
  for (const auto& request : server_.requests()) ranges += request.headers.contains("range");
  EXPECT_GE(ranges, 2u);
}

TEST_F(CacheTest, AServerWithoutRangesIsAskedFromTheBeginning) {
  hub_.Put("acme/encoder/1", 1, 8192);
  server_.ranges = false;
  server_.breaks = 2;
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(Loaded(pulled->folder), pulled->manifest.digest);
}

TEST_F(CacheTest, AServerThatIsBusyIsAskedAgainAndGivenUpInTheEnd) {
  hub_.Put("acme/encoder/1", 1);
  server_.failures = 100;
  const auto refused = Pull("acme/encoder/1");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("503"));
  EXPECT_EQ(server_.requests().size(), 5u);
  server_.failures = 3;
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
}

TEST_F(CacheTest, AKilledPullIsGoneOnWithByTheNext) {
  hub_.Put("acme/encoder/1", 1, 16384);
  for (int round = 0; round < 2; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      // Of a folder, so that no thread of the parent's server is needed in the child.
      int pieces = 0;
      on_progress_ = [&](uint64_t) {
        if (++pieces == 3) _exit(9);
      };
      (void)PullFrom(hub_.root(), "acme/encoder/1");
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_EQ(WEXITSTATUS(status), 9);
    EXPECT_FALSE(fs::exists(hub_.cache() + "/modules/acme/encoder/1"));
  }
  EXPECT_TRUE(fs::exists(hub_.cache() + "/partial/acme/encoder/1"));
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(Loaded(pulled->folder), pulled->manifest.digest);
  EXPECT_LT(server_.sent.load(), pulled->manifest.bytes());  // The beginning was there.
}

TEST_F(CacheTest, ACancelledPullKeepsWhatHasComeAndEndsAtOnce) {
  const PublishResult module = hub_.Put("acme/encoder/1", 1, 16384);
  HubCache::Options options;
  options.folder = hub_.cache();
  uint64_t done = 0;
  options.progress = [&](absl::string_view, uint64_t now, uint64_t) { done = now; };
  options.cancelled = [&] { return done > 100'000; };
  auto cache = HubCache::Open(options);
  ASSERT_TRUE(cache.ok()) << cache.status();
  auto store = OpenStore(server_.url());
  ASSERT_TRUE(store.ok()) << store.status();
  const auto cancelled = cache->Pull(**store, module.manifest.handle);
  EXPECT_EQ(cancelled.status().code(), absl::StatusCode::kCancelled) << cancelled.status();
  EXPECT_THAT(std::string(cancelled.status().message()), HasSubstr("the next pull goes on from there"));
  const uint64_t before = server_.sent;
  ASSERT_TRUE(Pull("acme/encoder/1").ok());
  EXPECT_LT(server_.sent - before, module.manifest.bytes());

  // Waiting for another process, and for a server that is busy.
  done = 0;
  server_.failures = 100;
  hub_.Put("acme/encoder/2", 2);
  options.pause = absl::Seconds(100);
  options.cancelled = [asked = 0]() mutable { return ++asked > 2; };
  auto waiting = HubCache::Open(options);
  ASSERT_TRUE(waiting.ok()) << waiting.status();
  const absl::Time begin = absl::Now();
  EXPECT_EQ(waiting->Pull(**store, *ParseHandle("acme/encoder/2")).status().code(), absl::StatusCode::kCancelled);
  const auto lock = FileLock::Take(cache->LockPath(*ParseHandle("acme/encoder/3")));
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(waiting->Pull(**store, *ParseHandle("acme/encoder/3")).status().code(), absl::StatusCode::kCancelled);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30));
}

TEST_F(CacheTest, AWrongBeginningIsThrownAwayAndDownloadedAnew) {
  const PublishResult module = hub_.Put("acme/encoder/1", 1, 8192);
  const std::string partial = hub_.cache() + "/partial/acme/encoder/1";
  fs::create_directories(partial);
  fs::copy(module.folder + "/manifest.json", partial);
  ASSERT_TRUE(WriteFileAtomically(partial + "/model.onnx.part", std::string(100'000, 'x')).ok());
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(Loaded(pulled->folder), module.manifest.digest);
}

TEST_F(CacheTest, ADamagedFileIsFoundAndPulledAnew) {
  hub_.Put("acme/encoder/1", 1);
  const auto first = Pull("acme/encoder/1");
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string model = first->folder + "/model.onnx";
  std::string bytes = *ReadFile(model, 1 << 20);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(model, bytes).ok());
  const auto again = Pull("acme/encoder/1");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->was_there);
  EXPECT_THAT(said_, AllOf(HasSubstr("is damaged and is pulled anew"), HasSubstr("model.onnx")));
  EXPECT_EQ(Loaded(again->folder), again->manifest.digest);
  fs::remove(first->folder + "/assets/words.txt");
  EXPECT_FALSE(Pull("acme/encoder/1")->was_there);
  ASSERT_TRUE(WriteFileAtomically(first->folder + "/manifest.json", "{}").ok());
  EXPECT_FALSE(Pull("acme/encoder/1")->was_there);
  EXPECT_TRUE(Pull("acme/encoder/1")->was_there);
}

TEST_F(CacheTest, AStoreWhoseFileIsNotWhatItsManifestSaysIsRefused) {
  const PublishResult module = hub_.Put("acme/encoder/1", 1);
  const std::string model = module.folder + "/model.onnx";
  std::string bytes = *ReadFile(model, 1 << 20);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(model, bytes).ok());
  auto pulled = Pull("acme/encoder/1");
  EXPECT_EQ(pulled.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(pulled.status().message()), AllOf(HasSubstr("'model.onnx'"), HasSubstr("SHA-256")));
  ASSERT_TRUE(WriteFileAtomically(model, bytes + "more").ok());
  EXPECT_EQ(Pull("acme/encoder/1").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(fs::exists(hub_.cache() + "/modules/acme/encoder/1"));
}

TEST_F(CacheTest, AManifestWhoseDigestIsNotTheModelsIsRefused) {
  const PublishResult module = hub_.Put("acme/encoder/1", 1);
  Manifest manifest = module.manifest;
  manifest.digest = Sha256("another model");
  ASSERT_TRUE(WriteFileAtomically(module.folder + "/manifest.json", FormatManifest(manifest)).ok());
  const auto pulled = Pull("acme/encoder/1");
  EXPECT_EQ(pulled.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(pulled.status().message()),
              AllOf(HasSubstr(module.manifest.digest.Hex()), HasSubstr(manifest.digest.Hex())));
}

TEST_F(CacheTest, OneHandleFromTwoStoresIsOneContentOrRefused) {
  hub_.Put("acme/encoder/1", 1);
  ASSERT_TRUE(Pull("acme/encoder/1").ok());
  HubFolder same;
  same.Put("acme/encoder/1", 1);
  const auto from_same = PullFrom(same.root(), "acme/encoder/1");
  ASSERT_TRUE(from_same.ok()) << from_same.status();
  EXPECT_TRUE(from_same->was_there);
  HubFolder other;
  const Digest digest = other.Put("acme/encoder/1", 2).manifest.digest;
  const auto refused = PullFrom(other.root(), "acme/encoder/1");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr(digest.Hex()), HasSubstr(from_same->manifest.digest.Hex()), HasSubstr(server_.url())));
}

TEST_F(CacheTest, AStoreThatHasTheSameIsAskedOnce) {
  hub_.Put("acme/encoder/1", 1);
  ASSERT_TRUE(PullFrom(hub_.root(), "acme/encoder/1").ok());
  ASSERT_TRUE(Pull("acme/encoder/1").ok());
  const size_t asked = server_.requests().size();
  EXPECT_GT(asked, 0u);
  server_.failures = 1000;
  for (const std::string& store : {server_.url(), hub_.root()}) {
    const auto pulled = PullFrom(store, "acme/encoder/1");
    ASSERT_TRUE(pulled.ok()) << pulled.status();
    EXPECT_TRUE(pulled->was_there);
  }
  EXPECT_EQ(server_.requests().size(), asked);
  EXPECT_EQ(said_, "");
  // As many as there may be: the first stays, of the others the last ones.
  HubFolder same;
  same.Put("acme/encoder/1", 1);
  for (int i = 0; i < 20; ++i) {
    const fs::path link = hub_.folder().path() + "/link" + std::to_string(i);
    fs::create_directory_symlink(same.root(), link);
    ASSERT_TRUE(PullFrom(link.string(), "acme/encoder/1").ok());
  }
  const std::string origins = *ReadFile(hub_.cache() + "/modules/acme/encoder/1/.origin", 1 << 16);
  EXPECT_EQ(std::count(origins.begin(), origins.end(), '\n'), 15);
  EXPECT_THAT(origins, AllOf(StartsWith(hub_.root() + "\n"), EndsWith("/link19")));
}

TEST_F(CacheTest, WhatIsWholeIsTakenWhereAStoreThatWasNotAskedIsDown) {
  hub_.Put("acme/encoder/1", 1);
  const auto first = PullFrom(hub_.root(), "acme/encoder/1");
  ASSERT_TRUE(first.ok()) << first.status();
  server_.failures = 1;
  const auto pulled = Pull("acme/encoder/1");
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_TRUE(pulled->was_there);
  EXPECT_EQ(pulled->manifest.digest, first->manifest.digest);
  EXPECT_THAT(said_, AllOf(HasSubstr("taken from the cache as it came from '" + hub_.root()), HasSubstr(server_.url()),
                           HasSubstr("503")));
  // It was not compared: it is asked again, and other content of it refused.
  hub_.folder().Write("store/acme/encoder/1/manifest.json", "{}");
  EXPECT_EQ(Pull("acme/encoder/1").status().code(), absl::StatusCode::kInvalidArgument);
  // What is damaged is not taken.
  fs::remove(first->folder + "/assets/words.txt");
  server_.failures = 1000;
  EXPECT_EQ(Pull("acme/encoder/1").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(CacheTest, ADamagedFileDoesNotOpenTheDoorToOtherContent) {
  hub_.Put("acme/encoder/1", 1);
  const auto first = Pull("acme/encoder/1");
  ASSERT_TRUE(first.ok()) << first.status();
  fs::remove(first->folder + "/assets/words.txt");
  HubFolder other;
  other.Put("acme/encoder/1", 2);
  EXPECT_EQ(PullFrom(other.root(), "acme/encoder/1").status().code(), absl::StatusCode::kFailedPrecondition);
  const auto again = Pull("acme/encoder/1");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->manifest.digest, first->manifest.digest);
}

TEST_F(CacheTest, TwoPullsAtOnceDoNotHarmEachOther) {
  hub_.Put("acme/encoder/1", 1, 8192);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const auto pulled = PullFrom(hub_.root(), "acme/encoder/1");
      _exit(!pulled.ok() ? 1 : pulled->was_there ? 2 : 3);
    }
    children.push_back(child);
  }
  int downloads = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_NE(WEXITSTATUS(status), 1);
    downloads += WEXITSTATUS(status) == 3 ? 1 : 0;
  }
  EXPECT_EQ(downloads, 1);
}

TEST_F(CacheTest, UnknownHandlesAndBrokenManifestsLeaveNothing) {
  hub_.Put("acme/encoder/1", 1);
  hub_.Put("acme/other/1", 2);
  const auto none = Pull("acme/encoder/2");
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("has version 1 of it"));
  hub_.folder().Write("store/acme/encoder/1/manifest.json", "{\"portico_manifest\": 1}");
  EXPECT_EQ(Pull("acme/encoder/1").status().code(), absl::StatusCode::kInvalidArgument);
  // Another module's manifest in its place.
  fs::copy_file(hub_.root() + "/acme/other/1/manifest.json", hub_.root() + "/acme/encoder/1/manifest.json",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(std::string(Pull("acme/encoder/1").status().message()), HasSubstr("the manifest of 'acme/other/1'"));
  EXPECT_TRUE(fs::is_empty(hub_.cache() + "/modules"));
}

}  // namespace
}  // namespace portico
