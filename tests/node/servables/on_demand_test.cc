#include <filesystem>

#include "gmock/gmock.h"
#include "node/servables/memory_budget.h"
#include "tests/node/servables/servables_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using State = Servables::State;

TEST(DecideLoadTest, WhatFitsIsLoaded) {
  EXPECT_TRUE(DecideLoad(0, "m", 1000, {}).fits);
  EXPECT_TRUE(DecideLoad(100, "m", 60, {{.name = "a", .bytes = 40}}).fits);
  EXPECT_FALSE(DecideLoad(100, "m", 61, {{.name = "a", .bytes = 40}}).fits);
}

TEST(DecideLoadTest, TheLeastRecentlyUsedIdleModelsMakeRoom) {
  const auto decision = DecideLoad(100, "m", 50,
                                   {{.name = "busy", .bytes = 30, .last_used = 1},
                                    {.name = "old", .bytes = 30, .idle = true, .last_used = 2},
                                    {.name = "new", .bytes = 30, .idle = true, .last_used = 3}});
  EXPECT_TRUE(decision.possible.ok());
  EXPECT_FALSE(decision.fits);
  EXPECT_THAT(decision.unload, ElementsAre("old", "new"));
}

TEST(DecideLoadTest, WhatIsLeavingIsWaitedFor) {
  const auto decision = DecideLoad(100, "m", 50,
                                   {{.name = "left", .leaving_bytes = 60, .last_used = 1},
                                    {.name = "idle", .bytes = 30, .idle = true, .last_used = 2}});
  EXPECT_FALSE(decision.fits);
  EXPECT_THAT(decision.unload, IsEmpty());
}

TEST(DecideLoadTest, WhatWillNeverFitIsRefusedWithTheFigures) {
  const auto decision = DecideLoad(100, "m", 50, {{.name = "fixed", .bytes = 60, .fixed = true}});
  EXPECT_EQ(decision.possible.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(decision.possible.message()), HasSubstr("got 50 bytes"));
  EXPECT_THAT(std::string(decision.possible.message()), HasSubstr("60 bytes of models that stay, want at most 100"));
}

class OnDemandTest : public ServablesFixture {
 protected:
  OnDemandTest() { options_.on_demand = true; }
};

TEST_F(OnDemandTest, AModelIsLoadedWhenItIsFirstAskedFor) {
  Publish("m", 3);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_TRUE(servables_->Ready().ok());
  EXPECT_THAT(servables_->Available(), IsEmpty());
  EXPECT_EQ(StateOf("m", 3), State::kStart);
  const auto servable = Acquire({.name = "m"});
  ASSERT_TRUE(servable.ok()) << servable.status();
  EXPECT_EQ((*servable)->version(), 3);
  EXPECT_EQ(StateOf("m", 3), State::kAvailable);
  EXPECT_EQ(VersionOf({.name = "m"}), 3);
}

TEST_F(OnDemandTest, ErrorsAreThoseOfOtherModels) {
  Publish("m", 3);
  folder_.Write("broken/1/model.onnx", "nonsense");
  ASSERT_TRUE(Configure({Model("m"), Model("broken")}).ok());
  EXPECT_EQ(Acquire({.name = "x"}).status().message(), "Servable not found for request: Latest(x)");
  EXPECT_EQ(Acquire({.name = "m", .version = 9}).status().message(), "Servable not found for request: Specific(m, 9)");
  EXPECT_EQ(Acquire({.name = "m", .label = "l"}).status().message(), "Unrecognized servable version label: l");
  EXPECT_THAT(servables_->Available(), IsEmpty());
  const absl::Status broken = Acquire({.name = "broken"}).status();
  EXPECT_EQ(broken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(broken.message()), HasSubstr("could not be loaded on demand: model 'broken' version 1"));
}

TEST_F(OnDemandTest, AnotherDigestThanTheOneThatIsLoadedIsToldApart) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  const auto other = Acquire({.name = "m", .digest = Sha256("another")});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition) << other.status();
  const Digest own = (*Acquire({.name = "m"}))->digest();
  EXPECT_EQ((*Acquire({.name = "m", .digest = own}))->version(), 1);
}

TEST_F(OnDemandTest, LeastRecentlyUsedIdleModelsMakeRoom) {
  for (const char* name : {"a", "b", "c"}) Publish(name, 1, 16384);  // 4 MiB each
  options_.memory_budget_bytes = uint64_t{10} << 20;
  ASSERT_TRUE(Configure({Model("a"), Model("b"), Model("c")}).ok());
  ASSERT_TRUE(Acquire({.name = "a"}).ok());
  absl::SleepFor(absl::Milliseconds(3));
  ASSERT_TRUE(Acquire({.name = "b"}).ok());
  absl::SleepFor(absl::Milliseconds(3));
  ASSERT_TRUE(Acquire({.name = "a"}).ok());
  ASSERT_TRUE(Acquire({.name = "c"}).ok());
  EXPECT_EQ(VersionOf({.name = "a"}), 1);
  EXPECT_EQ(VersionOf({.name = "b"}), -1);
  EXPECT_LE(servables_->Memory().weight_bytes, options_.memory_budget_bytes);
  EXPECT_EQ(StateOf("b", 1), State::kEnd);
  // And back again.
  EXPECT_TRUE(Acquire({.name = "b"}).ok());
}

TEST_F(OnDemandTest, AModelThatARequestHoldsIsNotUnloaded) {
  for (const char* name : {"a", "b"}) Publish(name, 1, 16384);
  options_.memory_budget_bytes = uint64_t{6} << 20;
  ASSERT_TRUE(Configure({Model("a"), Model("b")}).ok());
  Held a = *Acquire({.name = "a"});
  // There is no room, and there will be none: the request waits as long as it may, and holds no thread.
  auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(absl::Milliseconds(100), Clock::Real());
  EXPECT_EQ(Acquire({.name = "b"}, context).status().code(), absl::StatusCode::kDeadlineExceeded);
  auto gone = MakeRef<RequestContext>();
  gone->cancelled = true;
  EXPECT_EQ(Acquire({.name = "b"}, gone).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(servables_->Memory().waiting_requests, 0u);
  EXPECT_EQ(VersionOf({.name = "a"}), 1);
  a.reset();
  EXPECT_TRUE(Acquire({.name = "b"}).ok());
}

TEST_F(OnDemandTest, AModelBeyondTheBudgetIsRefused) {
  Publish("big", 1, 16384);
  options_.memory_budget_bytes = uint64_t{1} << 20;
  ASSERT_TRUE(Configure({Model("big")}).ok());
  const absl::Status status = Acquire({.name = "big"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("want at most 1048576 in all"));
}

TEST_F(OnDemandTest, KeptAnswersCountAgainstTheBudget) {
  for (const char* name : {"told", "packaged"}) Publish(name, 1);
  folder_.Write("packaged/1/servable.yaml", "result_cache_mib: 8\n");
  options_.memory_budget_bytes = uint64_t{12} << 20;
  ModelConfig told = Model("told");
  told.result_cache_mib = 8;
  ASSERT_TRUE(Configure({told, Model("packaged")}).ok());
  ASSERT_TRUE(Acquire({.name = "packaged"}).ok());
  EXPECT_GE(servables_->Memory().versions[0].bytes, uint64_t{8} << 20);
  absl::SleepFor(absl::Milliseconds(3));
  // What was loaded makes room for what is known to take more than is left.
  ASSERT_TRUE(Acquire({.name = "told"}).ok());
  EXPECT_EQ(VersionOf({.name = "told"}), 1);
  EXPECT_EQ(VersionOf({.name = "packaged"}), -1);
}

TEST_F(OnDemandTest, KeptAnswersBeyondTheBudgetAreRefused) {
  Publish("m", 1);
  folder_.Write("m/1/servable.yaml", "result_cache_mib: 13\n");
  options_.memory_budget_bytes = uint64_t{12} << 20;
  ASSERT_TRUE(Configure({Model("m")}).ok());
  EXPECT_THAT(std::string(Acquire({.name = "m"}).status().message()),
              HasSubstr("result_cache_mib: got 13, want at most 12 (the memory budget)"));
}

TEST_F(OnDemandTest, WaitingRequestsAreBounded) {
  for (const char* name : {"a", "b"}) Publish(name, 1, 16384);
  options_.memory_budget_bytes = uint64_t{6} << 20;
  options_.max_waiting_requests = 2;
  ASSERT_TRUE(Configure({Model("a"), Model("b")}).ok());
  Held a = *Acquire({.name = "a"});
  std::vector<std::promise<absl::StatusOr<Held>>> answers(2);
  for (auto& answer : answers) {
    servables_->Acquire({.name = "b"}, MakeRef<RequestContext>(),
                        [&](absl::StatusOr<Held> held) { answer.set_value(std::move(held)); });
  }
  const absl::Status full = Acquire({.name = "b"}).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("got 2 requests waiting"));
  a.reset();
  for (auto& answer : answers) EXPECT_TRUE(answer.get_future().get().ok());
}

TEST_F(OnDemandTest, RequestsThatWaitAreToldWhenTheNodeStops) {
  for (const char* name : {"a", "b"}) Publish(name, 1, 16384);
  options_.memory_budget_bytes = uint64_t{6} << 20;
  ASSERT_TRUE(Configure({Model("a"), Model("b")}).ok());
  const Held a = *Acquire({.name = "a"});
  std::promise<absl::StatusOr<Held>> answer;
  servables_->Acquire({.name = "b"}, MakeRef<RequestContext>(),
                      [&](absl::StatusOr<Held> held) { answer.set_value(std::move(held)); });
  servables_->Stop();
  EXPECT_EQ(answer.get_future().get().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(OnDemandTest, AnOperatorLoadsAndUnloads) {
  Publish("m", 1);
  ASSERT_TRUE(Configure({Model("m")}).ok());
  ASSERT_TRUE(servables_->Load("m").ok());
  EXPECT_TRUE(Eventually([&] { return VersionOf({.name = "m"}) == 1; }));
  ASSERT_TRUE(servables_->Unload("m").ok());
  EXPECT_EQ(Acquire({.name = "m"}).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(servables_->Load("m").ok());
  EXPECT_TRUE(Acquire({.name = "m"}).ok());
}

TEST_F(OnDemandTest, ThousandsOfModelsStartFast) {
  const std::string tiny = VersionModel(1).Serialize();
  std::vector<ModelConfig> models;
  for (int i = 0; i < 2000; ++i) {
    const std::string name = absl::StrCat("m", i);
    folder_.Write(absl::StrCat(name, "/1/model.onnx"), tiny);
    models.push_back(Model(name));
  }
  options_.poll_period = absl::Seconds(1);
  const absl::Time start = absl::Now();
  ASSERT_TRUE(Configure(std::move(models)).ok());
  const absl::Duration took = absl::Now() - start;
  // Seldom above 0.2 s; loading them would take minutes.
  EXPECT_LT(took, absl::Seconds(5)) << took;
  std::printf("2000 models configured in %.3f s\n", absl::ToDoubleSeconds(took));
  EXPECT_TRUE(servables_->Ready().ok());
  EXPECT_TRUE(Acquire({.name = "m1234"}).ok());
  EXPECT_EQ(servables_->Available().size(), 1u);
}

}  // namespace
}  // namespace portico
