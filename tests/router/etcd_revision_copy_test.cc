#include "router/etcd_revision_copy.h"

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision_pointers.h"
#include "tests/router/etcd/fake_etcd.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class EtcdRevisionCopyTest : public ::testing::Test {
 protected:
  void Make() {
    copy_.reset();
    client_ = *EtcdClient::Create(etcd_.Options());
    EtcdRevisionCopy::Options options;
    options.folder = folder_.path();
    options.prefix = "/p";
    copy_.emplace(std::move(options), *client_, MetricRegistry::Null());
  }
  void WriteDocument(int number) {
    etcd_.Put(absl::StrCat("/p/mesh/revisions/", number), absl::StrCat("document ", number));
  }
  void Point(const std::string& pointer, int number) { etcd_.Put("/p/mesh/" + pointer, absl::StrCat(number)); }
  void Expect(const RevisionPointers& wanted) {
    const auto now = [&] { return ReadRevisionPointers(copy_->current()).value_or(RevisionPointers()); };
    for (const absl::Time end = absl::Now() + absl::Seconds(30); !(now() == wanted) && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_TRUE(now() == wanted) << now().current << " " << now().next << " " << now().oldest;
  }
  bool HasDocument(int number) const {
    return std::filesystem::exists(absl::StrCat(folder_.path(), "/revisions/", number, ".yaml"));
  }

  const TempFolder folder_;
  FakeEtcd etcd_;
  std::unique_ptr<EtcdClient> client_;
  std::optional<EtcdRevisionCopy> copy_;
};

TEST_F(EtcdRevisionCopyTest, DocumentsAndPointersComeAsTheyChange) {
  WriteDocument(1);
  Point("current", 1);
  Point("oldest", 1);
  Make();
  ASSERT_TRUE(copy_->WaitForCurrent(absl::Seconds(30)).ok());
  Expect({1, 0, 1});
  EXPECT_EQ(folder_.Read("revisions/1.yaml"), "document 1");
  WriteDocument(2);
  Point("next", 2);
  Expect({1, 2, 1});
  EXPECT_EQ(folder_.Read("revisions/2.yaml"), "document 2");
  Point("current", 2);
  Expect({2, 0, 1});
  etcd_.Delete("/p/mesh/next");
  Point("oldest", 2);
  Expect({2, 0, 2});
  WriteDocument(3);
  Point("next", 3);
  Expect({2, 3, 2});
  EXPECT_FALSE(HasDocument(1)) << "nobody needs it any more";
  etcd_.Delete("/p/mesh/next");
  Expect({2, 0, 2});
}

TEST_F(EtcdRevisionCopyTest, WithoutARevisionItSaysWhatIsMissing) {
  Make();
  const absl::Status status = copy_->WaitForCurrent(absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("revisions below '/p/mesh/': got no current one"));
  // A pointer before its document leads nowhere yet.
  Point("current", 1);
  EXPECT_FALSE(copy_->WaitForCurrent(absl::Milliseconds(50)).ok());
  WriteDocument(1);
  EXPECT_TRUE(copy_->WaitForCurrent(absl::Seconds(30)).ok());
}

TEST_F(EtcdRevisionCopyTest, WhoGivesUpWaitsNoMore) {
  Make();
  int asked = 0;
  const absl::Status status = copy_->WaitForCurrent(absl::InfiniteDuration(), [&] { return ++asked == 3; });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(asked, 3);
}

TEST_F(EtcdRevisionCopyTest, TheFolderStandsInForEtcdAndOutlivesItsLoss) {
  WriteDocument(1);
  Point("current", 1);
  Make();
  ASSERT_TRUE(copy_->WaitForCurrent(absl::Seconds(30)).ok());
  etcd_.Stop();
  etcd_.Wipe();
  Make();
  EXPECT_TRUE(copy_->WaitForCurrent(absl::Milliseconds(50)).ok());
  etcd_.Start();
  etcd_.WaitForWatches(1);
  EXPECT_EQ(ReadRevisionPointers(copy_->current())->current, 1u);
  EXPECT_TRUE(HasDocument(1));
}

}  // namespace
}  // namespace portico
