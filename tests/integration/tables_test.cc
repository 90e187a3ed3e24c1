// A model whose tables are served in shards: `portico up`, its nodes as processes, over real sockets.

#include <signal.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "deploy/node_status.h"
#include "embedding/group_shards.h"
#include "embedding/group_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/client_versions.h"
#include "tests/integration/commit_group.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 5000;
/// A row's first number says its version, too: rows of two versions never add up to what one gives.
constexpr int64_t kVersionStep = 10'000;

/// A model `head` of sums over `users` (dense ids, three a bag) and rows of `words`, which clients that never pause ask
/// for random ones: each answer is of one version, and right.
/// The parameter: MiB of rows that the caller keeps.
class TablesTest : public ::testing::TestWithParam<int> {
 protected:
  TablesTest() {
    PublishTables(1, 2);
    ModelBuilder head;
    head.Input("users", DType::kInt64, {"N", 3}).Input("words", DType::kString, {"N"});
    head.Output("y", DType::kFloat, {"N", 2}).Output("w", DType::kFloat, {"N", 2});
    head.Portal("EmbeddingBag", "clicks", {"users", "words"}, {"bags", "w"}, {DType::kFloat, DType::kFloat},
                {"N,2", "N,2"},
                {Strings("tables", {"users", "words"}), Ints("dims", {2, 2}), Strings("poolings", {"sum", "none"}),
                 Strings("forms", {"padded", "padded"}), Strings("id_kinds", {"dense", "string"})});
    head.Node("Abs", {"bags"}, {"y"});
    PublishVersion(head, folder_.Folder("head"), 1);
  }
  ~TablesTest() override { StopClients(); }

  /// A version of all shards of the group.
  void PublishTables(int64_t version, uint32_t shards) const {
    const auto writer = GroupWriter::Create(folder_.path() + "/clicks", {.shards = shards, .version = version});
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<float> values;
    std::vector<std::string> words;
    for (int64_t row = 0; row < kRows; ++row) {
      values.push_back(static_cast<float>(version * kVersionStep + row));
      values.push_back(static_cast<float>(row));
      words.push_back(WordOf(row));
    }
    const std::vector<absl::string_view> views(words.begin(), words.end());
    ASSERT_EQ((*writer)->BeginTable({.name = "users", .dim = 2}), absl::OkStatus());
    ASSERT_EQ((*writer)->Add({.values = values}), absl::OkStatus());
    ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    ASSERT_EQ((*writer)->BeginTable({.name = "words", .dim = 2, .id_kind = IdKind::kString}), absl::OkStatus());
    ASSERT_EQ((*writer)->Add({.strings = views, .values = values}), absl::OkStatus());
    ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    ASSERT_EQ(CommitGroup(**writer), absl::OkStatus());
  }
  static std::string WordOf(int64_t row) { return absl::StrCat("word ", row); }

  std::vector<std::string> UpArguments(const std::string& nodes, const std::string& more = "") const {
    const std::string mesh = folder_.Write(
        "mesh.yaml",
        absl::StrCat("mesh: tables\nmodels:\n  head: {path: head}\ntables:\n  clicks: {path: clicks, cache_mib: ",
                     GetParam(), "}\nnodes:\n", nodes, more));
    return {"up", mesh, "--run-folder", folder_.path() + "/run"};
  }
  NodeStatus StatusOf(const std::string& node) const {
    const auto status = ReadNodeStatus(absl::StrCat(folder_.path(), "/run/status/", node, ".json"));
    EXPECT_TRUE(status.ok()) << status.status();
    return status.value_or(NodeStatus());
  }

  void StartClients(int count = 3) {
    const std::string address = StatusOf("front-0").grpc;
    for (int i = 0; i < count; ++i) {
      clients_.emplace_back([this, address, i] {
        PredictClient client(address);
        std::mt19937 random(static_cast<unsigned>(i));
        while (!stop_) Ask(client, random, static_cast<size_t>(i));
      });
    }
  }
  void StopClients() {
    stop_ = true;
    for (std::thread& client : clients_) client.join();
    clients_.clear();
  }
  void WaitForAnswers(int64_t more) const {
    const int64_t until = answers_ + more;
    for (const absl::Time end = absl::Now() + absl::Seconds(60); answers_ < until && absl::Now() < end;) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_GE(answers_, until);
  }

  /// Blocks until all clients are answered by that version.
  void WaitForVersion(int64_t version) const { versions_.WaitFor(version, clients_.size()); }

  const TempFolder folder_;
  std::atomic<int64_t> answers_{0};
  std::atomic<int64_t> failures_{0};
  std::atomic<int64_t> last_version_{0};

 private:
  void Ask(PredictClient& client, std::mt19937& random, size_t number) {
    const auto rows = static_cast<int64_t>(1 + random() % 8);
    std::vector<int64_t> ids, words;
    std::vector<std::string> texts;
    for (int64_t i = 0; i < 3 * rows; ++i) ids.push_back(static_cast<int64_t>(random() % kRows));
    for (int64_t i = 0; i < rows; ++i) {
      words.push_back(static_cast<int64_t>(random() % kRows));
      texts.push_back(WordOf(words.back()));
    }
    const absl::StatusOr<Outputs> outputs =
        client.Predict("head", {{"users", Tensor::Of<int64_t>({rows, 3}, absl::MakeConstSpan(ids))},
                                {"words", Tensor::OfStrings({rows}, absl::MakeConstSpan(texts))}});
    if (!outputs.ok()) return Fail(outputs.status().ToString());
    const auto y = outputs->at("y").data<float>(), w = outputs->at("w").data<float>();
    const auto version = static_cast<int64_t>(w[0]) / kVersionStep;
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
      const int64_t sum = ids[3 * row] + ids[3 * row + 1] + ids[3 * row + 2];
      if (y[2 * row] != static_cast<float>(3 * version * kVersionStep + sum) ||
          y[2 * row + 1] != static_cast<float>(sum) ||
          w[2 * row] != static_cast<float>(version * kVersionStep + words[row]) ||
          w[2 * row + 1] != static_cast<float>(words[row])) {
        return Fail(absl::StrCat("row ", row, ": got ", y[2 * row], ", ", y[2 * row + 1], " and ", w[2 * row], ", ",
                                 w[2 * row + 1], " for a sum of ids ", sum, ", word ", words[row], ", version ",
                                 version));
      }
    }
    last_version_ = version;
    versions_.Set(number, version);
    ++answers_;
  }
  void Fail(const std::string& what) {
    if (failures_.fetch_add(1) < 5) ADD_FAILURE() << what;
  }

  ClientVersions versions_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> clients_;
};

constexpr char kOneKind[] = "  back: {serve: [clicks], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n";

TEST_P(TablesTest, AReplicaOfAShardThatIsKilledFailsNoRequest) {
  PorticoCommand up(
      UpArguments("  zero: {serve: [clicks.0of2], replicas: 2}\n  one: {serve: [clicks.1of2], replicas: 2}\n"
                  "  front: {serve: [head], grpc: 0, http: 0}\n"));
  ASSERT_TRUE(up.WaitForOutput("mesh 'tables' is ready")) << up.output();
  const NodeStatus victim = StatusOf("one-0");
  StartClients();
  WaitForAnswers(200);
  kill(static_cast<pid_t>(victim.pid), SIGKILL);
  ASSERT_TRUE(up.WaitForOutput("one/0 is ready after")) << up.output();
  WaitForAnswers(200);
  StopClients();
  EXPECT_EQ(failures_, 0);
  EXPECT_EQ(last_version_, 1);
  const HttpAnswer metrics = Http(StatusOf("front-0").http, "/metrics");
  EXPECT_THAT(metrics.body, HasSubstr("portico_embedding_ids_total{portal=\"bags\",tables=\"clicks\"}"));
  EXPECT_THAT(metrics.body, HasSubstr("target=\"clicks.1of2\""));
}

TEST_P(TablesTest, NewVersionsOfTablesAreRolledOutWithoutMixingThem) {
  PorticoCommand up(UpArguments(kOneKind));
  ASSERT_TRUE(up.WaitForOutput("mesh 'tables' is ready")) << up.output();
  StartClients();
  WaitForAnswers(100);
  for (int64_t version = 2; version <= 6 && failures_ == 0; ++version) {
    PublishTables(version, 2);
    ASSERT_TRUE(up.WaitForOutput(absl::StrCat("revision ", version, " is current"))) << up.output();
    WaitForAnswers(50);
  }
  WaitForVersion(6);
  StopClients();
  EXPECT_EQ(failures_, 0);
}

TEST_P(TablesTest, TwoShardsBecomeFourAndThreeUnderLoadWithoutAFailedOrWrongLookup) {
  PorticoCommand up(UpArguments(kOneKind));
  ASSERT_TRUE(up.WaitForOutput("mesh 'tables' is ready")) << up.output();
  StartClients();
  WaitForAnswers(100);
  const std::string group = folder_.path() + "/clicks";
  uint32_t shards = 2;
  int64_t revision = 1;
  for (const uint32_t next : {4u, 3u}) {
    ASSERT_EQ(SetServingShards(group, shards), absl::OkStatus());
    PublishTables(revision + 1, next);
    WaitForAnswers(20);
    EXPECT_EQ(last_version_, revision);
    ASSERT_EQ(SetServingShards(group, next), absl::OkStatus());
    shards = next;
    ASSERT_TRUE(up.WaitForOutput(absl::StrCat("revision ", ++revision, " is current"))) << up.output();
    WaitForAnswers(100);
    WaitForVersion(revision);
  }
  StopClients();
  EXPECT_EQ(failures_, 0);
}

TEST_P(TablesTest, BagsOfAShardThatIsGoneAreToldWhereDefaultsStandIn) {
  PorticoCommand up(
      UpArguments("  zero: {serve: [clicks.0of2]}\n  one: {serve: [clicks.1of2]}\n"
                  "  front: {serve: [head], grpc: 0, http: 0}\n",
                  "policies:\n  clicks: {timeout: 2s, on_error: {defaults: {users: 0.5, words: 7}}}\n"));
  ASSERT_TRUE(up.WaitForOutput("mesh 'tables' is ready")) << up.output();
  const std::string http = StatusOf("front-0").http;
  // Until it is known to be gone; it does not come back while it is stopped.
  SignalNode(StatusOf("one-0"), SIGSTOP);
  // Rows 0 and 2: ids of shard 0 alone.
  PredictClient client(StatusOf("front-0").grpc);
  const ShardMap map(2);
  std::vector<std::string> words;
  for (int64_t row = 0; words.size() < 3; ++row) {
    if (map.ShardOfString(WordOf(row)) == 0) words.push_back(WordOf(row));
  }
  const auto outputs = client.Predict("head", {{"users", Tensor::Of<int64_t>({3, 3}, {0, 2, 4, 0, 1, 2, 6, 8, 10})},
                                               {"words", Tensor::OfStrings({3}, absl::MakeConstSpan(words))}});
  SignalNode(StatusOf("one-0"), SIGCONT);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  const auto y = outputs->at("y").data<float>();
  EXPECT_EQ(y[1], 6.0f);
  EXPECT_EQ(y[3], 2.5f);
  EXPECT_EQ(y[5], 24.0f);
  EXPECT_THAT(Http(http, "/metrics").body,
              HasSubstr("portico_embedding_bags_touched_total{kind=\"defaults\",portal=\"bags\",tables=\"clicks\"} 1"));
}

using KeptTablesTest = TablesTest;

TEST_P(KeptTablesTest, RowsOfTheVersionBeforeStandInForAShardThatIsGone) {
  PorticoCommand up(
      UpArguments("  zero: {serve: [clicks.0of2]}\n  one: {serve: [clicks.1of2]}\n"
                  "  front: {serve: [head], grpc: 0, http: 0}\n",
                  "policies:\n  clicks: {timeout: 2s, on_error: {last_known: {}, defaults: {users: 0, words: 7}}}\n"));
  ASSERT_TRUE(up.WaitForOutput("mesh 'tables' is ready")) << up.output();
  const std::string http = StatusOf("front-0").http;
  PredictClient client(StatusOf("front-0").grpc);
  // Of each shard one that is asked for now, and of the second one that is not.
  const ShardMap map(2);
  std::vector<int64_t> rows[2];
  for (int64_t row = 0; rows[0].size() < 2 || rows[1].size() < 2; ++row) {
    rows[map.ShardOfString(WordOf(row))].push_back(row);
  }
  const auto ask = [&](const std::vector<int64_t>& of) {
    std::vector<std::string> words;
    for (const int64_t row : of) words.push_back(WordOf(row));
    const auto count = static_cast<int64_t>(of.size());
    const std::vector<int64_t> users(3 * of.size(), 2);
    auto outputs = client.Predict("head", {{"users", Tensor::Of<int64_t>({count, 3}, absl::MakeConstSpan(users))},
                                           {"words", Tensor::OfStrings({count}, absl::MakeConstSpan(words))}});
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    std::vector<float> firsts;
    if (outputs.ok()) {
      for (size_t i = 0; i < of.size(); ++i) firsts.push_back(outputs->at("w").data<float>()[2 * i]);
    }
    return firsts;
  };
  const std::vector<int64_t> known = {rows[0][0], rows[1][0]}, more = {rows[0][0], rows[1][0], rows[1][1]};
  const auto first = [](int64_t version, int64_t row) { return static_cast<float>(version * kVersionStep + row); };
  EXPECT_EQ(ask(known), (std::vector<float>{first(1, known[0]), first(1, known[1])}));
  PublishTables(2, 2);
  ASSERT_TRUE(up.WaitForOutput("revision 2 is current")) << up.output();
  // Whoever is asked follows within milliseconds.
  for (int i = 0; i < 6000 && StatusOf("front-0").revisions.current < 2; ++i) absl::SleepFor(absl::Milliseconds(10));
  ASSERT_EQ(StatusOf("front-0").revisions.current, 2u);
  SignalNode(StatusOf("one-0"), SIGSTOP);
  const std::vector<float> got = ask(more);
  SignalNode(StatusOf("one-0"), SIGCONT);
  EXPECT_EQ(got, (std::vector<float>{first(2, more[0]), first(1, more[1]), 7}));
  const std::string metrics = Http(http, "/metrics").body;
  for (const char* const kind : {"last_known", "defaults"}) {
    EXPECT_THAT(metrics, HasSubstr(absl::StrCat("portico_embedding_bags_touched_total{kind=\"", kind,
                                                "\",portal=\"bags\",tables=\"clicks\"} 1")));
  }
  EXPECT_THAT(metrics, HasSubstr("portico_embedding_cache_bytes{tables=\"clicks\"}"));
}

const auto kCacheName = [](const auto& info) { return info.param == 0 ? "WithoutCache" : "WithCache"; };
INSTANTIATE_TEST_SUITE_P(Caches, TablesTest, ::testing::Values(0, 4), kCacheName);
INSTANTIATE_TEST_SUITE_P(Caches, KeptTablesTest, ::testing::Values(4), kCacheName);

}  // namespace
}  // namespace portico
