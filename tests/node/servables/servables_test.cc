#include "node/servables/servables.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/allocator.h"
#include "gmock/gmock.h"
#include "tests/node/servables/servables_fixture.h"
#include "tests/testing/memory.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using Kind = VersionPolicy::Kind;
using State = Servables::State;
using ServablesTest = ServablesFixture;

TEST_F(ServablesTest, ServesTheHighestVersionAndFollowsTheFolder) {
  Publish("m", 1);
  Publish("m", 2);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 2);
  EXPECT_EQ(VersionOf({.name = "m", .version = 1}), -1);
  EXPECT_EQ(error_, "Servable not found for request: Specific(m, 1)");
  Publish("m", 10);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 10; }));
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 2) == State::kEnd; }));
  EXPECT_EQ(StateOf("m", 10), State::kAvailable);
}

TEST_F(ServablesTest, ARequestWithoutAProductIsOfTheModelItAsksFor) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  const auto own = MakeRef<RequestContext>(), brought = MakeRef<RequestContext>(), made_up = MakeRef<RequestContext>();
  EXPECT_TRUE(Acquire({.name = "m"}, own).ok());
  EXPECT_EQ(own->product, "m");
  brought->product = "digit";
  EXPECT_TRUE(Acquire({.name = "m"}, brought).ok());
  EXPECT_EQ(brought->product, "digit");
  EXPECT_FALSE(Acquire({.name = std::string(100000, 'x')}, made_up).ok());
  EXPECT_EQ(made_up->product.size(), RequestContext::kMaxProduct);
}

TEST_F(ServablesTest, SharesReachWhatIsLoadedAndWhatWillBe) {
  const auto counts = [&](int version) {
    const std::string metrics = metrics_->Expose();
    return absl::StrContains(metrics, absl::StrCat("product=\"digit\",segment=\"segment_0\",signature="
                                                   "\"serving_default\",version=\"",
                                                   version, "\"}"));
  };
  Publish("m", 1);
  ModelConfig model = Model("m");
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_FALSE(counts(1));
  model.shares = {{"digit", 2}};
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_TRUE(counts(1));
  Publish("m", 2);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }));
  EXPECT_TRUE(counts(2));
}

TEST_F(ServablesTest, WhoWaitsForModelsIsToldThatTheNodeStops) {
  Start();
  servables_->Stop();
  Publish("m", 1);
  // Nothing lists folders any more, so this can never settle.
  if (!servables_->Configure({Model("m")}).ok()) return;
  std::promise<absl::Status> done;
  servables_->WhenSettled(Deadline(), [&](absl::Status status) { done.set_value(std::move(status)); });
  EXPECT_EQ(done.get_future().get().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServablesTest, ChangesAreNoticedBeforeTheNextPoll) {
  options_.poll_period = absl::Hours(1);
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  Publish("m", 2);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }));
}

TEST_F(ServablesTest, WithoutAPollPeriodFoldersAreListedOnce) {
  options_.poll_period = absl::ZeroDuration();
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  Publish("m", 2);
  EXPECT_FALSE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }, absl::Milliseconds(50)));
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 2);
}

TEST_F(ServablesTest, OneMissingFolderStopsNoOtherModel) {
  Publish("good", 1);
  ModelConfig missing = Model("missing");
  missing.base_path += "/not/there";
  const absl::Status status = Configure({Model("good"), missing});
  EXPECT_THAT(std::string(status.message()), HasSubstr("model 'missing': folder"));
  EXPECT_EQ(VersionOf({.name = "good"}), 1);
  EXPECT_EQ(servables_->Ready().code(), absl::StatusCode::kUnavailable);
  Publish("good", 2);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "good"}) == 2; }));
  // It comes later.
  std::filesystem::create_directories(missing.base_path);
  PublishVersion(VersionModel(5), missing.base_path, 5);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "missing"}) == 5; }));
  EXPECT_TRUE(servables_->Ready().ok());
}

TEST_F(ServablesTest, AVersionThatIsStillBeingWrittenIsTriedAgain) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  const std::string whole = VersionModel(2).Serialize();
  folder_.Folder("m/2");
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 2) == State::kEnd; }));
  folder_.Write("m/2/model.onnx", absl::string_view(whole).substr(0, whole.size() / 2));
  absl::SleepFor(absl::Milliseconds(60));
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  folder_.Write("m/2/model.onnx", whole);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }));
}

TEST_F(ServablesTest, ABadVersionIsToldAndDisturbsNoGoodOne) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  folder_.Write("m/2/model.onnx", "nonsense");
  ASSERT_TRUE(Eventually([&] { return StateOf("m", 2) == State::kEnd; }));
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  const auto status = servables_->Status({.name = "m", .version = 2});
  EXPECT_THAT(std::string((*status)[0].status.message()), HasSubstr("model 'm' version 2: "));
  EXPECT_THAT(std::string((*status)[0].status.message()), HasSubstr("do not parse"));
  EXPECT_TRUE(servables_->Ready().ok());
}

TEST_F(ServablesTest, APackageMayNotAskForMoreMemoryThanThereIs) {
  Publish("m", 1);
  folder_.Write("m/1/servable.yaml", "result_cache_mib: 16777216\n");
  options_.load_retries = 0;
  const absl::Status refused = Configure({Model("m")});
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("result_cache_mib: got 16777216, want at most "));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("(the memory that this process may take)"));
  // The node's word stands in for the package's.
  ModelConfig less = Model("m");
  less.name = "less";
  less.result_cache_mib = 1;
  EXPECT_TRUE(Configure({less}).ok());
  EXPECT_EQ(VersionOf({.name = "less"}), 1);
}

TEST_F(ServablesTest, FailedLoadsAreRetriedWithoutAChange) {
  options_.load_retries = 1000;
  options_.load_retry_delay = absl::Milliseconds(10);
  options_.poll_period = absl::ZeroDuration();
  folder_.Write("m/1/model.onnx", "nonsense");
  EXPECT_EQ(Configure({Model("m")}).code(), absl::StatusCode::kInvalidArgument);
  VersionModel(1).WriteTo(folder_.File("m/1/model.onnx"));
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 1; }));
}

TEST_F(ServablesTest, AnEmptyFolderUnloadsNothing) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  std::filesystem::rename(folder_.path() + "/m/1", folder_.path() + "/away");
  ASSERT_TRUE(Eventually([&] { return !servables_->Index()[0].listing.ok(); }));
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  std::filesystem::remove_all(folder_.path() + "/m");
  ASSERT_TRUE(Eventually([&] { return absl::StrContains(servables_->Index()[0].listing.message(), "No such file"); }));
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  EXPECT_TRUE(servables_->Ready().ok());
}

TEST_F(ServablesTest, AnEmptyFolderUnloadsWhereAskedTo) {
  options_.unload_on_empty = true;
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  std::filesystem::rename(folder_.path() + "/m/1", folder_.path() + "/away");
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 1) == State::kEnd; }));
}

TEST_F(ServablesTest, PinningRollbackAndLabels) {
  for (const int64_t version : {1, 2, 3}) Publish("m", version);
  ModelConfig model = Model("m");
  model.versions = {.kind = Kind::kAll};
  model.labels = {{"stable", 2}, {"canary", 3}};
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 3);
  EXPECT_EQ(VersionOf({.name = "m", .version = 1}), 1);
  EXPECT_EQ(VersionOf({.name = "m", .label = "stable"}), 2);
  EXPECT_EQ(VersionOf({.name = "m", .label = "canary"}), 3);
  EXPECT_EQ(VersionOf({.name = "m", .label = "x"}), -1);
  EXPECT_EQ(error_, "Unrecognized servable version label: x");
  // Back to version 2, for everybody.
  model.versions = {.kind = Kind::kSpecific, .versions = {2}};
  model.labels = {{"stable", 2}};
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 2);
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 3) == State::kEnd && StateOf("m", 1) == State::kEnd; }));
  Publish("m", 4);
  EXPECT_FALSE(Eventually([&] { return VersionOf({.name = "m"}) != 2; }, absl::Milliseconds(60)));
  // A label may name what is not there yet.
  model.labels["next"] = 9;
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_EQ(VersionOf({.name = "m", .label = "next"}), -1);
  EXPECT_EQ(error_, "Servable not found for request: Specific(m, 9)");
  Publish("m", 9);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m", .label = "next"}) == 9; }));
}

TEST_F(ServablesTest, LabelsThatMayNotWaitAreRefused) {
  options_.labels_may_wait = false;
  Publish("m", 1);
  ModelConfig model = Model("m");
  model.labels = {{"stable", 1}};
  ASSERT_TRUE(Configure({model}).ok());
  model.labels = {{"stable", 2}};
  const absl::Status status = Configure({model});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "Request to assign label to version 2 of model m, which is not currently available for inference");
  EXPECT_EQ(VersionOf({.name = "m", .label = "stable"}), 1);
}

TEST_F(ServablesTest, ARejectedConfigurationChangesNothing) {
  Publish("a", 1);
  ASSERT_TRUE(Configure({Model("a")}).ok());
  ModelConfig bad = Model("b");
  bad.versions.num_versions = 0;
  EXPECT_EQ(Configure({bad}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Configure({Model("b"), Model("b")}).message()),
              HasSubstr("model 'b': got a second base folder"));
  EXPECT_EQ(Configure({ModelConfig{.name = "c"}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(servables_->Names(), std::vector<std::string>{"a"});
  EXPECT_EQ(VersionOf({.name = "a"}), 1);
}

TEST_F(ServablesTest, AModelThatIsConfiguredNoMoreGoes) {
  Publish("a", 1);
  Publish("b", 1);
  ASSERT_TRUE(Configure({Model("a"), Model("b")}).ok());
  ASSERT_TRUE(Configure({Model("b")}).ok());
  EXPECT_EQ(VersionOf({.name = "a"}), -1);
  EXPECT_EQ(error_, "Servable not found for request: Latest(a)");
  EXPECT_FALSE(servables_->Has("a"));
  EXPECT_TRUE(Eventually([&] { return StateOf("a", 1) == State::kEnd; }));
}

TEST_F(ServablesTest, UnloadKeepsTheModelConfigured) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  ASSERT_TRUE(servables_->Unload("m").ok());
  EXPECT_EQ(VersionOf({.name = "m"}), -1);
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 1) == State::kEnd; }));
  EXPECT_TRUE(servables_->Index()[0].unloaded);
  EXPECT_TRUE(servables_->Ready().ok());
  ASSERT_TRUE(servables_->Load("m").ok());
  ASSERT_TRUE(Settled().ok());
  EXPECT_EQ(VersionOf({.name = "m"}), 1);
  EXPECT_EQ(servables_->Load("x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(servables_->Unload("x").code(), absl::StatusCode::kNotFound);
}

TEST_F(ServablesTest, AnUnloadedVersionStaysWithTheRequestsThatHoldIt) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  Held held = *servables_->Resolve({.name = "m"});
  Publish("m", 2);
  ASSERT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2 && StateOf("m", 1) == State::kUnloading; }));
  EXPECT_GT(servables_->Memory().pinned_bytes, 0u);
  // Peers that know its digest only still get it.
  EXPECT_EQ(VersionOf({.name = "m", .digest = held->digest()}), 1);
  const Digest digest = held->digest();
  held.reset();
  EXPECT_TRUE(Eventually([&] { return StateOf("m", 1) == State::kEnd; }));
  EXPECT_EQ(servables_->Memory().pinned_bytes, 0u);
  EXPECT_EQ(servables_->Resolve({.name = "m", .digest = digest}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServablesTest, ADigestChoosesTheVersionThatHasIt) {
  Publish("m", 1);
  Publish("m", 2);
  ModelConfig model = Model("m");
  model.versions = {.kind = Kind::kAll};
  ASSERT_TRUE(Configure({model}).ok());
  const Digest first = (*servables_->Resolve({.name = "m", .version = 1}))->digest();
  EXPECT_EQ(VersionOf({.name = "m", .digest = first}), 1);
}

TEST_F(ServablesTest, AVersionThatServesIsNotReadAgainUnderAnotherBasePath) {
  Publish("old", 1);
  Publish("new", 1, 32);
  ModelConfig model = Model("m");
  model.base_path = folder_.Folder("old");
  ASSERT_TRUE(Configure({model}).ok());
  const Digest served = (*servables_->Resolve({.name = "m"}))->digest();
  model.base_path = folder_.Folder("new");
  ASSERT_TRUE(Configure({model}).ok());
  EXPECT_EQ((*servables_->Resolve({.name = "m", .version = 1}))->digest(), served);
  // Others come from there, and only from there.
  Publish("old", 3);
  Publish("new", 2);
  ASSERT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2 && StateOf("m", 1) == State::kEnd; }));
  // Read again only once it was gone: it is the other one now.
  std::filesystem::remove_all(folder_.Folder("new") + "/2");
  ASSERT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 1; }));
  EXPECT_NE((*servables_->Resolve({.name = "m"}))->digest(), served);
}

TEST_F(ServablesTest, ResourcePreservingUnloadsBeforeItLoads) {
  Publish("m", 1);
  ModelConfig model = Model("m");
  model.resource_preserving = true;
  ASSERT_TRUE(Configure({model}).ok());
  Held held = *servables_->Resolve({.name = "m"});
  Publish("m", 2);
  ASSERT_TRUE(Eventually([&] { return StateOf("m", 1) == State::kUnloading; }));
  EXPECT_EQ(VersionOf({.name = "m"}), -1);
  // Not before the memory is there.
  EXPECT_FALSE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }, absl::Milliseconds(50)));
  held.reset();
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 2; }));
}

TEST_F(ServablesTest, ALoadThatHangsHoldsItsThreadAlone) {
  options_.load_threads = 2;
  Publish("good", 1);
  // Opening a pipe waits for somebody to write to it.
  const std::string pipe = folder_.File("hung/1/model.onnx");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Start();
  ASSERT_TRUE(servables_->Configure({Model("good"), Model("hung")}).ok());
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "good"}) == 1; }));
  Publish("good", 2);
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "good"}) == 2; }));
  const absl::Status status = Settled(absl::Milliseconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.message(), "models still loading: hung");
  const int writer = open(pipe.c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_THAT(std::string(Settled().message()), HasSubstr("got no plain file"));
  close(writer);
}

TEST_F(ServablesTest, MemoryOfAnUnloadedModelGoesBackToTheSystem) {
  TuneAllocator();
  constexpr int64_t kModelBytes = int64_t{100} << 20;
  Publish("small", 1);
  Publish("big", 1, kModelBytes / 256);
  ASSERT_TRUE(Configure({Model("small")}).ok());
  const int64_t before = ResidentBytes();
  ASSERT_TRUE(Configure({Model("small"), Model("big")}).ok());
  const int64_t loaded = ResidentBytes();
  EXPECT_GT(loaded - before, kModelBytes * 9 / 10);
  EXPECT_GE(servables_->Memory().weight_bytes, static_cast<uint64_t>(kModelBytes));
  ASSERT_TRUE(Configure({Model("small")}).ok());
  ASSERT_TRUE(Eventually([&] { return StateOf("big", 1) == State::kEnd; }));
  if (!kSanitized) {
    EXPECT_LT(ResidentBytes() - before, kModelBytes / 10) << before << ", loaded " << loaded;
  }
  EXPECT_LT(servables_->Memory().weight_bytes, uint64_t{1} << 20);
}

}  // namespace
}  // namespace portico
