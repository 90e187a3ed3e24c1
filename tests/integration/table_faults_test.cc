// Shards whose replicas each have a copy of their own, as on hosts of their own: damaged files, killed processes, and
// files larger than memory.

#include <fcntl.h>
#include <signal.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "embedding/group_shards.h"
#include "embedding/group_writer.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision.h"
#include "tests/integration/commit_group.h"
#include "tests/integration/memory_cgroup.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/serving_process.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kPiece = 8192;

/// Nodes `back` with replicas that read the group `clicks` each from a folder of its own, and a node `front` with a
/// model of its rows: what a deployment tool would start on several hosts, by documents that differ in paths alone.
class TableFaultsTest : public ::testing::Test {
 protected:
  /// What table `users` has: `dim` numbers for each id, all different.
  static float NumberOf(int64_t id, int64_t k) { return static_cast<float>((id * 61 + k) & 0xffffff); }

  /// The group, written to `path`; no page of it stays in memory.
  void Build(const std::string& path, uint32_t shards, int64_t rows, int64_t dim) {
    shards_ = shards;
    rows_ = rows;
    dim_ = dim;
    const auto writer = GroupWriter::Create(path, {.shards = shards});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_EQ((*writer)->BeginTable({.name = "users", .dim = static_cast<uint32_t>(dim)}), absl::OkStatus());
    std::vector<float> values(static_cast<size_t>(kPiece * dim));
    for (int64_t row = 0; row < rows; row += kPiece) {
      for (int64_t i = 0; i < kPiece; ++i) {
        for (int64_t k = 0; k < dim; ++k) values[static_cast<size_t>(i * dim + k)] = NumberOf(row + i, k);
      }
      ASSERT_EQ((*writer)->Add({.values = values}), absl::OkStatus());
    }
    ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    ASSERT_EQ(CommitGroup(**writer), absl::OkStatus());
    for (uint32_t shard = 0; shard < shards; ++shard) {
      const int fd = open(ShardFileOf(path, shard).c_str(), O_RDONLY | O_CLOEXEC);
      ASSERT_GE(fd, 0);
      ASSERT_EQ(fsync(fd), 0);
      ASSERT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
      close(fd);
    }
    ModelBuilder head;
    head.Input("ids", DType::kInt64, {"N"}).Output("y", DType::kFloat, {"N", dim});
    head.Portal("EmbeddingBag", "clicks", {"ids"}, {"rows"}, {DType::kFloat}, {absl::StrCat("N,", dim)},
                {Strings("tables", {"users"}), Ints("dims", {dim}), Strings("poolings", {"none"}),
                 Strings("forms", {"padded"}), Strings("id_kinds", {"dense"})});
    head.Node("Abs", {"rows"}, {"y"});
    PublishVersion(head, folder_.Folder("head"), 1);
  }
  std::string ShardFileOf(const std::string& path, uint32_t shard) const {
    return absl::StrCat(ShardPathOf(path, shard, shards_), "/1/table.shard");
  }

  /// Flips a bit in a row's bytes in a copy of the group. The name of the block that it is in.
  std::string Flip(const std::string& path, int64_t id) {
    const ShardMap map(shards_);
    const std::string file = ShardFileOf(path, map.ShardOfDense(static_cast<uint64_t>(id)));
    uint64_t at = 0;
    {
      const auto shard = ShardFile::Open(file);
      EXPECT_TRUE(shard.ok()) << shard.status();
      const ShardLayout::Table& table = (*shard)->layout().tables[0];
      at = table.rows.offset + map.LocalRow(static_cast<uint64_t>(id)) * table.stride;
    }
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(static_cast<std::streamoff>(at));
    const int was = bytes.get();
    bytes.seekp(static_cast<std::streamoff>(at));
    bytes.put(static_cast<char>(was ^ 0x10));
    bytes.close();
    EXPECT_TRUE(bytes.good());
    return absl::StrCat("shard file '", std::filesystem::canonical(file).string(), "': block ",
                        at / ShardLayout::kBlockBytes, " (rows of table 'users'");
  }

  /// A node of the mesh. `paths`: of the group, one for each replica of `back`; it reads its own.
  std::unique_ptr<ServingProcess> Start(const std::string& name, int replica, const std::vector<std::string>& paths,
                                        std::vector<std::string> prefix = {}) const {
    Revision revision;
    revision.number = 1;
    revision.mesh = "copies";
    const std::string& path = paths[static_cast<size_t>(replica)];
    revision.models.push_back({.name = "head", .path = folder_.path() + "/head"});
    revision.tables.push_back({.name = "clicks", .path = path, .shards = shards_});
    std::vector<std::string> names;
    for (uint32_t shard = 0; shard < shards_; ++shard) {
      names.push_back(ShardName("clicks", shard, shards_));
      revision.models.push_back({.name = names.back(), .path = ShardPathOf(path, shard, shards_)});
    }
    for (int i = 0; i < static_cast<int>(paths.size()); ++i) {
      Revision::Node& back = revision.nodes.emplace_back();
      back.name = "back";
      back.replica = i;
      back.serve = names;
      back.peer = absl::StrCat("unix://", folder_.path(), "/back-", i);
      back.http = "127.0.0.1:0";
    }
    Revision::Node& front = revision.nodes.emplace_back();
    front.name = "front";
    front.serve = {"head"};
    front.peer = absl::StrCat("unix://", folder_.path(), "/front");
    front.grpc = front.http = "127.0.0.1:0";
    const std::string document = folder_.Write(absl::StrCat(name, "-", replica, ".yaml"), FormatRevision(revision));
    return std::make_unique<ServingProcess>(
        std::vector<std::string>{"--revision=" + document, "--node=" + name, absl::StrCat("--replica=", replica)},
        std::move(prefix));
  }
  /// Until all shards can be reached.
  static void WaitUntilReady(const ServingProcess& node) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      const HttpAnswer ready = Http(node.Address("http"), "/readyz");
      if (ready.code == 200 && absl::StrContains(ready.body, "\"degraded\":{}")) return;
      absl::SleepFor(absl::Milliseconds(10));
    }
    ADD_FAILURE() << Http(node.Address("http"), "/readyz").body;
  }

  /// Rows of these ids; nothing, or what is wrong.
  std::string Ask(PredictClient& client, const std::vector<int64_t>& ids) const {
    const auto count = static_cast<int64_t>(ids.size());
    const absl::StatusOr<Outputs> outputs =
        client.Predict("head", {{"ids", Tensor::Of<int64_t>({count}, absl::MakeConstSpan(ids))}});
    if (!outputs.ok()) return outputs.status().ToString();
    const auto y = outputs->at("y").data<float>();
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < dim_; ++k) {
        const float got = y[static_cast<size_t>(i * dim_ + k)], want = NumberOf(ids[static_cast<size_t>(i)], k);
        if (got != want) return absl::StrCat("id ", ids[static_cast<size_t>(i)], ": got ", got, ", want ", want);
      }
    }
    return "";
  }
  /// Rows `from` and following.
  std::string AskFrom(PredictClient& client, int64_t from, int64_t count) const {
    std::vector<int64_t> ids;
    for (int64_t id = from; id < from + count; ++id) ids.push_back(id);
    return Ask(client, ids);
  }

  const TempFolder folder_;
  uint32_t shards_ = 1;
  int64_t rows_ = 0;
  int64_t dim_ = 0;
};

/// Neither replica is whole: each has a broken block in another shard.
TEST_F(TableFaultsTest, RowsOfABrokenBlockComeFromTheOtherReplicaWhileThereIsOne) {
  const std::vector<std::string> copies = {folder_.path() + "/zero", folder_.path() + "/one"};
  ASSERT_NO_FATAL_FAILURE(Build(copies[0], 2, 8 * kPiece, 16));
  std::filesystem::copy(copies[0], copies[1], std::filesystem::copy_options::recursive);
  // Of dense ids the even ones are those of shard 0.
  const int64_t in_zero = 20'000, in_one = 40'001;
  const std::string broken_at_zero = Flip(copies[0], in_zero), broken_at_one = Flip(copies[1], in_one);
  std::unique_ptr<ServingProcess> backs[] = {Start("back", 0, copies), Start("back", 1, copies)};
  const auto front = Start("front", 0, copies);
  WaitUntilReady(*front);

  std::atomic<bool> stop{false};
  std::atomic<int> asked{0}, failed{0};
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < 3; ++i) {
    clients.emplace_back([&, i] {
      PredictClient client(front->Address("grpc"));
      std::mt19937 random(i);
      while (!stop) {
        // Rows of both broken blocks are in every one.
        std::vector<int64_t> ids = {in_zero, in_one};
        while (ids.size() < 32) ids.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(rows_)));
        const std::string wrong = Ask(client, ids);
        if (!wrong.empty() && failed.fetch_add(1) < 5) ADD_FAILURE() << wrong;
        ++asked;
      }
    });
  }
  for (const absl::Time end = absl::Now() + absl::Seconds(60); asked < 500 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GE(asked, 500);
  EXPECT_EQ(failed, 0);

  const std::string* const broken[] = {&broken_at_zero, &broken_at_one};
  for (const int replica : {0, 1}) {
    ServingProcess& back = *backs[replica];
    // The scrubber may have been there before it served.
    EXPECT_TRUE(absl::StrContains(back.output(), *broken[replica]) || back.WaitForOutput(*broken[replica]))
        << *broken[replica] << "\n"
        << back.output();
    const std::string http = back.Address("http");
    for (const int shard : {0, 1}) {
      EXPECT_THAT(Http(http, "/metrics").body,
                  HasSubstr(absl::StrCat("portico_table_broken_blocks{model=\"clicks.", shard,
                                         "of2\",version=\"1\",table=\"users\"} ", shard == replica ? 1 : 0)));
    }
    EXPECT_THAT(Http(http, "/debug/tables").body, HasSubstr("\"broken_blocks\":1"));
    EXPECT_THAT(Http(http, "/debug/tables?format=html").body, HasSubstr("<td class=\"bad\">1</td>"));
  }

  // Without the other replica those rows are errors that name the block, and all others are served.
  backs[0]->Kill();
  PredictClient client(front->Address("grpc"));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(AskFrom(client, i * 200, 64), "");
  const std::string wrong = Ask(client, {in_one});
  EXPECT_THAT(wrong, HasSubstr("clicks.1of2"));
  EXPECT_THAT(wrong, HasSubstr("block"));
  EXPECT_EQ(Ask(client, {in_zero}), "");
}

/// Pages of the process that had to be read from a disk.
int64_t MajorFaults(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  // Behind the program's name, "(portico)": state, nine numbers, and that.
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  std::string word;
  for (int i = 0; i < 10; ++i) rest >> word;
  return std::atoll(word.c_str());
}

TEST_F(TableFaultsTest, ATableLargerThanTheLimitOfMemoryIsServedFromDisk) {
  constexpr int64_t kLimit = int64_t{96} << 20, kTableRows = int64_t{1} << 20, kTableDim = 64;
  const auto cgroup = MemoryCgroup::Create(kLimit);
  if (!cgroup.ok()) GTEST_SKIP() << cgroup.status();
  const TempFolder disk(PORTICO_BINARY_DIR);
  struct statfs info {};
  ASSERT_EQ(statfs(disk.path().c_str(), &info), 0);
  constexpr decltype(info.f_type) kTmpfs = 0x01021994;
  if (info.f_type == kTmpfs) GTEST_SKIP() << "'" << disk.path() << "' is in memory, want a disk";
  const std::vector<std::string> paths = {disk.path() + "/clicks"};
  const absl::Time began = absl::Now();
  ASSERT_NO_FATAL_FAILURE(Build(paths[0], 1, kTableRows, kTableDim));
  const absl::Time built = absl::Now();
  auto back = Start("back", 0, paths, (*cgroup)->prefix());
  const absl::Time started = absl::Now();
  const auto front = Start("front", 0, paths);
  WaitUntilReady(*front);
  const int64_t faults_before = MajorFaults(back->pid());

  PredictClient client(front->Address("grpc"));
  // Every row, block after block; then again a part of those that must have gone; then from anywhere.
  for (int64_t row = 0; row < kTableRows; row += kPiece) ASSERT_EQ(AskFrom(client, row, kPiece), "");
  const absl::Time all = absl::Now();
  for (int64_t row = 0; row < kTableRows / 8; row += kPiece) ASSERT_EQ(AskFrom(client, row, kPiece), "");
  std::mt19937 random(1);
  for (int i = 0; i < 20; ++i) {
    std::vector<int64_t> ids;
    while (ids.size() < 100) ids.push_back(static_cast<int64_t>(random() % kTableRows));
    ASSERT_EQ(Ask(client, ids), "");
  }
  const absl::Time done = absl::Now();

  const int64_t faults = MajorFaults(back->pid()) - faults_before;
  EXPECT_GT(faults, 1000);
  EXPECT_GT((*cgroup)->times_full(), 0);
  EXPECT_LE((*cgroup)->used_bytes(), kLimit);
  EXPECT_EQ(kill(back->pid(), 0), 0);
  EXPECT_THAT(Http(back->Address("http"), "/metrics").body,
              HasSubstr("portico_table_broken_blocks{model=\"clicks.0of1\",version=\"1\",table=\"users\"} 0"));
  std::printf(
      "256 MiB of rows by %lld MiB: built in %.1f s, started in %.1f s, all rows in %.1f s, more in %.1f s; %lld "
      "major faults, %lld times full, %lld MiB in use\n",
      static_cast<long long>(kLimit >> 20), absl::ToDoubleSeconds(built - began),
      absl::ToDoubleSeconds(started - built), absl::ToDoubleSeconds(all - started), absl::ToDoubleSeconds(done - all),
      static_cast<long long>(faults), static_cast<long long>((*cgroup)->times_full()),
      static_cast<long long>((*cgroup)->used_bytes() >> 20));
  // Before the cgroup goes.
  back.reset();
}

}  // namespace
}  // namespace portico
