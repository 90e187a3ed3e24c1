#include "node/shadows.h"

#include <optional>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "router/static_resolver.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// A node that serves the shadow: answers with what it is told, or keeps the calls.
class ShadowPeer final : public CallHandler {
 public:
  explicit ShadowPeer(Transport& transport) {
    ListenOptions options;
    options.self.node = "shadow";
    listener_ = *transport.Listen("inproc://shadow", *this, options);
  }
  void OnCall(PeerMessage call, PeerReply reply) override {
    MutexLock lock(&mutex_);
    ++calls_;
    seen_shadow_ = call.header.shadow;
    seen_priority_ = call.header.priority;
    seen_timeout_us_ = call.header.timeout_us;
    if (!answer_.valid()) {
      kept_.push_back(std::move(reply));
      return;
    }
    PeerHeader header;
    header.tensors.resize(1);
    header.tensors[0].name = "y";
    reply(header, {&answer_, 1});
  }
  void AnswerWith(Tensor answer) {
    MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  int calls() const {
    MutexLock lock(&mutex_);
    return calls_;
  }

  mutable Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool seen_shadow_ ABSL_GUARDED_BY(mutex_) = false;
  int32_t seen_priority_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t seen_timeout_us_ ABSL_GUARDED_BY(mutex_) = 0;
  Tensor answer_ ABSL_GUARDED_BY(mutex_);
  std::vector<PeerReply> kept_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Listener> listener_;
};

/// Model `m` at this node, copied to `s`, which another one serves.
class ShadowsTest : public ::testing::Test {
 protected:
  ShadowsTest()
      : transport_(NewInprocTransport(Clock::Real())),
        resolver_(std::map<std::string, std::vector<std::string>>{{"s", {"inproc://shadow"}}}),
        peer_(std::in_place, *transport_),
        router_(*Router::Create({}, *transport_, resolver_, Clock::Real(), MetricRegistry::Null())),
        shadows_(*router_, Clock::Real()) {
    signature_.name = "serving_default";
    signature_.inputs.resize(1);
    signature_.inputs[0].name = "x";
    signature_.outputs.resize(1);
    signature_.outputs[0].name = "y";
    TrafficSplit& split = revision_.traffic["m"];
    split.arms = {{{"1", "m", 1}, 100, 100}};
    split.shadow.emplace().to = {"s", "s", 1};
    split.shadow->max_in_flight = 3;
    split.shadow->timeout = absl::Seconds(2);
  }
  ~ShadowsTest() override {
    shadows_.Stop();
    router_.reset();
  }

  /// One answered request.
  Shadows::Answered Answered(std::initializer_list<float> output = {2, 1}) {
    const auto view = arms_.ViewOf(revision_, {"m"}).at("m");
    auto context = MakeRef<RequestContext>();
    context->priority = 3;
    context->arm = view->arms[0];
    return {nullptr,
            &signature_,
            context,
            {Tensor::Of<float>({1}, {7})},
            {Tensor::Of<float>({1, 2}, output)},
            absl::Milliseconds(1)};
  }
  ArmCounts Counts() const {
    for (const ArmCounts& counts : arms_.Read()) {
      if (counts.arm == "s") return counts;
    }
    return {};
  }
  void WaitForCompared(uint64_t count) const {
    for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end && Counts().compared < count;) {
      std::this_thread::yield();
    }
    EXPECT_EQ(Counts().compared, count);
  }

  const std::unique_ptr<Transport> transport_;
  const StaticResolver resolver_;
  std::optional<ShadowPeer> peer_;
  std::unique_ptr<Router> router_;
  Signature signature_;
  Revision revision_;
  TrafficArms arms_{MetricRegistry::Null()};
  /// Keeps the counts.
  std::shared_ptr<const TrafficView> view_;
  Shadows shadows_;
};

TEST_F(ShadowsTest, CopiesAreComparedAtALowerPriorityWithATimeOfTheirOwn) {
  peer_->AnswerWith(Tensor::Of<float>({1, 2}, {3, 1}));
  Shadows::Answered answered = Answered();
  view_ = arms_.ViewOf(revision_, {"m"}).at("m");
  EXPECT_TRUE(shadows_.Wants(*answered.context));
  shadows_.Send(std::move(answered));
  WaitForCompared(1);
  EXPECT_EQ(Counts().disagreed, 0u);
  {
    MutexLock lock(&peer_->mutex_);
    EXPECT_TRUE(peer_->seen_shadow_);
    EXPECT_LT(peer_->seen_priority_, -1000);
    EXPECT_LE(peer_->seen_timeout_us_, 2'000'000u);
    EXPECT_GT(peer_->seen_timeout_us_, 0u);
  }
  peer_->AnswerWith(Tensor::Of<float>({1, 2}, {1, 3}));
  shadows_.Send(Answered());
  WaitForCompared(2);
  EXPECT_EQ(Counts().disagreed, 1u);
  const auto examples = shadows_.Examples();
  ASSERT_EQ(examples.size(), 1u);
  EXPECT_THAT(examples.begin()->second.front().where, HasSubstr("row 0: got class 1, want 0"));
}

TEST_F(ShadowsTest, ShadowThatNeverAnswersHoldsNoMoreThanItsBoundAndThenGivesRoom) {
  revision_.traffic["m"].shadow->timeout = absl::Seconds(1);
  view_ = arms_.ViewOf(revision_, {"m"}).at("m");
  for (int i = 0; i < 50; ++i) shadows_.Send(Answered());
  WaitForCompared(3);
  EXPECT_EQ(peer_->calls(), 3) << "the others were dropped";
  EXPECT_EQ(Counts().disagreed, 3u);
  for (int i = 0; i < 50; ++i) shadows_.Send(Answered());
  WaitForCompared(6);
  const auto examples = shadows_.Examples();
  EXPECT_LE(examples.begin()->second.size(), Shadows::kMaxExamples);
}

TEST_F(ShadowsTest, ShadowThatIsNotThereFailsItsCopiesOnly) {
  peer_.reset();
  view_ = arms_.ViewOf(revision_, {"m"}).at("m");
  shadows_.Send(Answered());
  WaitForCompared(1);
  EXPECT_EQ(Counts().disagreed, 1u);
}

TEST_F(ShadowsTest, ManyThreadsMaySendWhileItStops) {
  peer_->AnswerWith(Tensor::Of<float>({1, 2}, {3, 1}));
  view_ = arms_.ViewOf(revision_, {"m"}).at("m");
  std::vector<std::thread> senders;
  for (int t = 0; t < 4; ++t) {
    senders.emplace_back([this] {
      for (int i = 0; i < 200; ++i) shadows_.Send(Answered());
    });
  }
  while (Counts().compared == 0) std::this_thread::yield();
  shadows_.Stop();
  router_.reset();
  for (std::thread& sender : senders) sender.join();
}

TEST_F(ShadowsTest, ArmThatIsTheShadowItselfIsNotCopied) {
  revision_.traffic["m"].arms = {{{"s", "s", 1}, 100, 100}};
  EXPECT_FALSE(shadows_.Wants(*Answered().context));
}

}  // namespace
}  // namespace portico
