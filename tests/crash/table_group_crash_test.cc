// Builds, applies to, compacts and reshards a table group, and lets the process die in front of each call that changes
// a file, one after the other, and lets the disk be full from each such call on. Whatever is left then is the old
// version or the new one, whole; and the next run succeeds.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/crash/fault_injection.h"
#include "tests/models/package/group_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

const TableSpec kSparse{.name = "sparse", .dim = 4, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};
const TableSpec kString{.name = "string", .dim = 2, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros};
const TableSpec kDense{.name = "dense", .dim = 3, .unknown = UnknownId::kZeros};
constexpr size_t kRows = 60;
constexpr size_t kEnd = 90;

/// Exit codes of the process that a fault is planned for.
enum Exit { kDone = 0, kNoRoom = 2, kOtherError = 3 };

int ExitCode(const absl::Status& status) {
  if (status.ok()) return kDone;
  if (absl::IsResourceExhausted(status)) return kNoRoom;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return kOtherError;
}

const std::vector<RowChange> kFirst = {{1, 11.0f}, {2, std::nullopt}, {70, 12.0f}};
const std::vector<RowChange> kSecond = {{1, 21.0f}, {3, std::nullopt}, {71, 22.0f}, {72, 23.0f}, {5, 24.0f}};

struct State {
  ExpectedTable sparse{kSparse, kRows}, string{kString, kRows}, dense{kDense, kRows};

  bool IsIn(const OpenGroup& group) const {
    for (const ExpectedTable* table : {&sparse, &string, &dense}) {
      if (table->FirstDifference(group, kEnd).has_value()) return false;
    }
    return true;
  }
};

class TableGroupCrashTest : public ::testing::Test {
 protected:
  static absl::Status Build(const std::string& group) {
    return BuildGroup(group, 2, {{kSparse, kRows}, {kString, kRows}, {kDense, kRows}});
  }

  void SetUp() override {
    ASSERT_TRUE(Build(prepared_).ok());
    ASSERT_TRUE(ApplyChanges(prepared_, "sparse", kFirst).ok());
    ASSERT_TRUE(ApplyChanges(prepared_, "string", kFirst).ok());
    prepared_version_ = OpenGroup::Open(prepared_)->version().version;
    old_.sparse.Apply(kFirst);
    old_.string.Apply(kFirst);
  }

  /// The prepared group again; its files are never written to, so links of them do.
  void Restore() {
    fs::remove_all(group_);
    fs::copy(prepared_, group_, fs::copy_options::recursive | fs::copy_options::create_hard_links);
  }

  std::vector<std::string> Leftovers() const {
    std::vector<std::string> left;
    for (const auto& entry : fs::recursive_directory_iterator(group_)) {
      const std::string name = entry.path().filename().string();
      // What is whole, and only waits to be moved, is none.
      const bool ready = entry.path().string().find("/.ready-") != std::string::npos;
      if ((name[0] == '.' && name != ".lock" && name != ".compact" && !ready) ||
          name.find(".tmp.") != std::string::npos)
        left.push_back(entry.path().string());
    }
    return left;
  }

  /// Every fault of `kind` at every call of `work`, until it gets through. `work` may be run again when it had done its
  /// part.
  void Enumerate(FaultPlan::Kind kind, const std::function<absl::Status(const std::string&)>& work,
                 const State& after) {
    long calls = 0;
    int old_ones = 0, new_ones = 0;
    for (long at = 1;; ++at) {
      SCOPED_TRACE(absl::StrCat("call ", at));
      Restore();
      const int code = RunWithFaults(
          {kind, at}, [&] { return ExitCode(work(group_)); }, &calls);
      if (calls < at) {
        EXPECT_EQ(code, kDone);
        EXPECT_GT(old_ones, 20);
        EXPECT_GT(new_ones + (kind == FaultPlan::Kind::kDiskFull ? 1 : 0), 0);
        std::printf("%ld calls; %d times the old version, %d times the new one\n", at - 1, old_ones, new_ones);
        return;
      }
      // On a full disk, what is left to do may need no room.
      ASSERT_TRUE(kind == FaultPlan::Kind::kDie ? code == kDiedByPlan : code == kNoRoom || code == kDone) << code;
      {
        const auto group = OpenGroup::Open(group_);
        ASSERT_TRUE(group.ok()) << group.status();
        const bool is_new = group->version().version != prepared_version_ || group->version().shards != 2;
        ASSERT_TRUE((is_new ? after : old_).IsIn(*group));
        (is_new ? new_ones : old_ones) += 1;
      }
      if (kind == FaultPlan::Kind::kDiskFull) {
        ASSERT_EQ(Leftovers(), std::vector<std::string>());
      }
      const absl::Status again = work(group_);
      ASSERT_TRUE(again.ok()) << again;
      const auto group = OpenGroup::Open(group_);
      ASSERT_TRUE(group.ok()) << group.status();
      ASSERT_TRUE(after.IsIn(*group));
      ASSERT_EQ(Leftovers(), std::vector<std::string>());
    }
  }

  void EnumerateBoth(const std::function<absl::Status(const std::string&)>& work, const State& after) {
    for (const FaultPlan::Kind kind : {FaultPlan::Kind::kDie, FaultPlan::Kind::kDiskFull}) {
      Enumerate(kind, work, after);
      if (HasFatalFailure()) return;
    }
  }

  const TempFolder folder_;
  const std::string prepared_ = folder_.path() + "/prepared";
  const std::string group_ = folder_.path() + "/group";
  int64_t prepared_version_ = 0;
  State old_;
};

TEST_F(TableGroupCrashTest, Apply) {
  State after = old_;
  after.sparse.Apply(kSecond);
  EnumerateBoth([](const std::string& group) { return ApplyChanges(group, "sparse", kSecond).status(); }, after);
}

TEST_F(TableGroupCrashTest, Compact) {
  EnumerateBoth([](const std::string& group) { return RewriteGroup(group, {}).status(); }, old_);
}

TEST_F(TableGroupCrashTest, OneDeltaOfAll) {
  EnumerateBoth(
      [](const std::string& group) {
        GroupRewriteOptions options;
        options.keep_bases = true;
        return RewriteGroup(group, options).status();
      },
      old_);
}

TEST_F(TableGroupCrashTest, Reshard) {
  EnumerateBoth(
      [](const std::string& group) {
        GroupRewriteOptions options;
        options.shards = 3;
        return RewriteGroup(group, options).status();
      },
      old_);
  EXPECT_EQ(*ServingShards(group_), 3u);
}

TEST_F(TableGroupCrashTest, ReshardThatUpdatesFollow) {
  State after = old_;
  after.string.Apply(kSecond);
  EnumerateBoth(
      [](const std::string& group) {
        GroupRewriteOptions options;
        options.shards = 3;
        absl::Status applied;
        options.before_tail = [&] { applied = ApplyChanges(group, "string", kSecond).status(); };
        const absl::Status status = RewriteGroup(group, options).status();
        if (!applied.ok()) return applied;
        // Run again when all was done, nothing is written, and so nothing is applied meanwhile.
        return status;
      },
      after);
}

TEST_F(TableGroupCrashTest, Build) {
  for (const FaultPlan::Kind kind : {FaultPlan::Kind::kDie, FaultPlan::Kind::kDiskFull}) {
    for (long at = 1;; ++at) {
      SCOPED_TRACE(absl::StrCat("call ", at));
      fs::remove_all(group_);
      long calls = 0;
      const int code = RunWithFaults(
          {kind, at}, [&] { return ExitCode(Build(group_)); }, &calls);
      if (calls < at) {
        EXPECT_EQ(code, kDone);
        EXPECT_GT(at, 30);
        break;
      }
      const State built;
      const auto left = OpenGroup::Open(group_);
      if (left.ok()) {
        ASSERT_TRUE(built.IsIn(*left));
      } else {
        ASSERT_TRUE(absl::IsNotFound(left.status())) << left.status();
        if (kind == FaultPlan::Kind::kDiskFull && fs::exists(group_)) {
          ASSERT_EQ(Leftovers(), std::vector<std::string>());
        }
      }
      const absl::Status again = Build(group_);
      ASSERT_TRUE(again.ok() || absl::IsAlreadyExists(again)) << again;
      const auto group = OpenGroup::Open(group_);
      ASSERT_TRUE(group.ok()) << group.status();
      ASSERT_TRUE(built.IsIn(*group));
      ASSERT_EQ(Leftovers(), std::vector<std::string>());
    }
  }
}

}  // namespace
}  // namespace portico
