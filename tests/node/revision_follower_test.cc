#include "node/revision_follower.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

/// Says of each revision what the test wants.
class FakeUser final : public RevisionUser {
 public:
  absl::Status Hold(const std::vector<const Revision*>& live, const Revision& current) override {
    MutexLock lock(&mutex_);
    held_.clear();
    for (const Revision* revision : live) held_.push_back(revision->number);
    current_ = current.number;
    return absl::OkStatus();
  }
  std::optional<absl::Status> Prepared(const Revision& revision) override {
    MutexLock lock(&mutex_);
    const auto found = says_.find(revision.number);
    if (found == says_.end()) return std::nullopt;
    return found->second;
  }

  void Say(uint64_t number, absl::Status status) {
    MutexLock lock(&mutex_);
    says_[number] = std::move(status);
  }
  std::vector<uint64_t> held() const {
    MutexLock lock(&mutex_);
    return held_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<uint64_t> held_ ABSL_GUARDED_BY(mutex_);
  uint64_t current_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, absl::Status> says_ ABSL_GUARDED_BY(mutex_);
};

class RevisionFollowerTest : public ::testing::Test {
 protected:
  RevisionFollowerTest() {
    for (uint64_t number = 1; number <= 4; ++number) WriteDocument(number, "n");
    Point("current", 1);
    Point("oldest", 1);
  }

  void WriteDocument(uint64_t number, const std::string& node) {
    Revision revision;
    revision.number = number;
    revision.models = {{"m", "/m"}};
    revision.nodes = {{.name = node, .serve = {"m"}}};
    folder_.Write(absl::StrCat("revisions/", number, ".yaml"), FormatRevision(revision));
  }
  void Point(const std::string& pointer, uint64_t number) {
    const std::string path = folder_.path() + "/" + pointer;
    std::filesystem::remove(path + ".new");
    std::filesystem::create_symlink(absl::StrCat("revisions/", number, ".yaml"), path + ".new");
    std::filesystem::rename(path + ".new", path);
  }
  void Start() {
    RevisionFollower::Options options;
    options.pointer = folder_.path() + "/current";
    options.node = "n";
    options.period = absl::Milliseconds(20);
    options.on_change = [this](const RevisionState& state) {
      MutexLock lock(&mutex_);
      state_ = state;
    };
    follower_.emplace(options, live_, user_, Clock::Real());
    ASSERT_TRUE(follower_->Begin().ok());
    follower_->Start();
  }
  RevisionState state() {
    MutexLock lock(&mutex_);
    return state_;
  }
  template <typename Condition>
  bool Eventually(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(20); absl::Now() < end;) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }

  const TempFolder folder_;
  LiveRevisions live_{2};
  FakeUser user_;
  Mutex mutex_;
  RevisionState state_ ABSL_GUARDED_BY(mutex_);
  std::optional<RevisionFollower> follower_;
};

TEST_F(RevisionFollowerTest, PreparesFlipsAndLetsGoAsThePointersSay) {
  Start();
  EXPECT_EQ(state(), (RevisionState{1, 1, 1, 0, ""}));
  EXPECT_THAT(user_.held(), ElementsAre(1));
  Point("next", 2);
  ASSERT_TRUE(Eventually([&] { return user_.held().size() == 2; }));
  EXPECT_TRUE(absl::IsNotFound(live_.Narrow({.name = "m"}, 2).status()));
  user_.Say(2, absl::OkStatus());
  ASSERT_TRUE(Eventually([&] { return state().prepared == 2; }));
  EXPECT_TRUE(live_.Narrow({.name = "m"}, 2).ok());
  EXPECT_EQ(live_.current(), 1u);
  auto request = live_.Stamp();
  Point("current", 2);
  std::filesystem::remove(folder_.path() + "/next");
  ASSERT_TRUE(Eventually([&] { return state().current == 2; }));
  EXPECT_EQ(state().oldest, 1u);
  request.second.reset();
  ASSERT_TRUE(Eventually([&] { return state().oldest == 2; }));
  // Other nodes may still have requests of it.
  EXPECT_THAT(user_.held(), ElementsAre(1, 2));
  Point("oldest", 2);
  ASSERT_TRUE(Eventually([&] { return user_.held().size() == 1; }));
  EXPECT_TRUE(absl::IsNotFound(live_.Narrow({.name = "m"}, 1).status()));
}

TEST_F(RevisionFollowerTest, AnswersWhatIsCurrentAsFarAsItIsLoadedBeforeItStarts) {
  RevisionFollower::Options options;
  options.pointer = folder_.path() + "/current";
  options.node = "n";
  follower_.emplace(options, live_, user_, Clock::Real());
  Point("next", 2);
  ASSERT_TRUE(follower_->Begin().ok());
  EXPECT_TRUE(live_.Narrow({.name = "m"}, 1).ok());
  EXPECT_TRUE(absl::IsNotFound(live_.Narrow({.name = "m"}, 2).status()));
  EXPECT_EQ(live_.current(), 0u);
  follower_->Start();
  EXPECT_EQ(live_.current(), 1u);
  follower_->Stop();
}

TEST_F(RevisionFollowerTest, OneThatCannotBePreparedIsToldAndForgotten) {
  Start();
  user_.Say(2, absl::FailedPreconditionError("no such op"));
  Point("next", 2);
  ASSERT_TRUE(Eventually([&] { return state().refused == 2; }));
  EXPECT_EQ(state().why, "no such op");
  EXPECT_EQ(state().prepared, 1u);
  std::filesystem::remove(folder_.path() + "/next");
  ASSERT_TRUE(Eventually([&] { return user_.held().size() == 1; }));
  user_.Say(3, absl::OkStatus());
  Point("next", 3);
  ASSERT_TRUE(Eventually([&] { return state().prepared == 3; }));
}

TEST_F(RevisionFollowerTest, RevisionWithoutTheNodeLeavesItWhereItIs) {
  WriteDocument(2, "other");
  Start();
  Point("next", 2);
  Point("current", 2);
  user_.Say(3, absl::OkStatus());
  WriteDocument(3, "n");
  Point("next", 3);
  ASSERT_TRUE(Eventually([&] { return state().prepared == 3; }));
  EXPECT_EQ(live_.current(), 1u);
}

TEST_F(RevisionFollowerTest, NodeThatComesWithTheNextRevisionBeginsWithIt) {
  WriteDocument(1, "other");
  Point("next", 2);
  Start();
  EXPECT_EQ(state().current, 2u);
}

TEST_F(RevisionFollowerTest, PlainFileIsFollowedByContent) {
  std::filesystem::remove(folder_.path() + "/current");
  const auto copy = [&](int number) {
    std::filesystem::copy_file(absl::StrCat(folder_.path(), "/revisions/", number, ".yaml"),
                               folder_.path() + "/current.new", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(folder_.path() + "/current.new", folder_.path() + "/current");
  };
  copy(1);
  Start();
  user_.Say(2, absl::OkStatus());
  copy(2);
  ASSERT_TRUE(Eventually([&] { return state().current == 2; }));
  // For a while, for calls from elsewhere.
  EXPECT_THAT(user_.held(), ElementsAre(1, 2));
}

}  // namespace
}  // namespace portico
