#include "node/servables/table_op.h"

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/turn.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/observe/table_report.h"
#include "tests/embedding/lookup_builder.h"
#include "tests/embedding/shard_builder.h"
#include "tests/node/servables/servables_fixture.h"
#include "tests/testing/fakes.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kRows = 1000;

/// A package of one shard with tables "users" (sparse, unknown ids are zeros) and "items" (dense, unknown ids are
/// errors).
void MakePackage(const std::string& folder) {
  const TableSpec users{.name = "users", .dim = 8, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};
  const TableSpec items{.name = "items", .dim = 4};
  const absl::Status built = BuildShard(folder + "/table.shard", {{users, kRows}, {items, kRows}});
  ASSERT_TRUE(built.ok()) << built;
  const absl::Status written = WriteShardPackage(folder);
  ASSERT_TRUE(written.ok()) << written;
}

/// Flips a bit of the first row of the first table.
void BreakFirstRow(const std::string& folder) {
  const uint64_t at = OpenShard(folder + "/table.shard")->layout().tables[0].rows.offset + 9;
  std::fstream file(folder + "/table.shard", std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 1));
}

std::vector<Tensor> FirstUsers(int64_t count) {
  LookupBuilder call;
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(SparseId(static_cast<size_t>(i)));
  call.Add("users", {.ids = ids, .lengths = {static_cast<int32_t>(count)}});
  return call.Build();
}

class TableOpTest : public ::testing::Test {
 protected:
  TableOpTest() : folder_(temp_.Folder("clicks.0of1/1")) { MakePackage(folder_); }

  std::unique_ptr<ServedShard> Open(bool scrub = false) {
    const auto spec = ReadShardPackage(folder_);
    EXPECT_TRUE(spec.ok()) << spec.status();
    auto shard = ServedShard::Open(folder_, *spec, {.scrub = scrub}, store_, clock_);
    EXPECT_TRUE(shard.ok()) << shard.status();
    return shard.ok() ? *std::move(shard) : nullptr;
  }
  void Make() { op_.emplace(TableOp::Options{"clicks.0of1:1", &stats_}, Open(), workers_, clock_); }
  void Run(std::vector<Tensor> inputs) {
    op_->Run(context_, std::move(inputs), [this](auto result) {
      EXPECT_FALSE(result_.has_value()) << "once";
      result_ = std::move(result);
    });
  }

  const TempFolder temp_;
  const std::string folder_;
  FakeClock clock_;
  ShardStore store_;
  ManualExecutor workers_;
  ServableStats stats_;
  Ref<RequestContext> context_ = MakeRef<RequestContext>();
  std::optional<TableOp> op_;
  std::optional<absl::StatusOr<std::vector<Tensor>>> result_;
};

TEST_F(TableOpTest, AnswersOnAWorker) {
  Make();
  Run(FirstUsers(2));
  EXPECT_FALSE(result_.has_value());
  EXPECT_EQ(workers_.RunAll(), 1);
  ASSERT_TRUE(result_.has_value() && result_->ok());
  const LookupAnswer answer(**result_);
  for (size_t d = 0; d < 8; ++d) EXPECT_FLOAT_EQ(answer.Sums(0)[d], RowValues(0, 8)[d] + RowValues(1, 8)[d]);
  EXPECT_EQ(stats_.Read().runs, 1u);
}

TEST_F(TableOpTest, AShortCallRunsAtTheEndOfTheTurnOnceAllIsVerified) {
  Make();
  Turn turn;
  Run(FirstUsers(2));
  EXPECT_EQ(workers_.queued(), 1u) << "a block that is read for the first time may have to come from the disk";
  workers_.RunAll();
  result_.reset();
  ASSERT_TRUE(op_->shard().file().Verify([](uint64_t) { return true; }).ok());
  Run(FirstUsers(2));
  EXPECT_EQ(workers_.queued(), 0u);
  EXPECT_FALSE(result_.has_value());
  turn.Finish();
  ASSERT_TRUE(result_.has_value() && result_->ok());
  result_.reset();
  Run(FirstUsers(TableOp::kShortIds + 1));
  EXPECT_EQ(workers_.RunAll(), 1);
  EXPECT_TRUE(result_.has_value());
}

TEST_F(TableOpTest, WorkThatIsOfNoUseAnyMoreIsNotDone) {
  Make();
  context_->deadline = Deadline::In(absl::Seconds(1), clock_);
  Run(FirstUsers(2));
  clock_.Advance(absl::Seconds(1));
  workers_.RunAll();
  EXPECT_EQ(result_->status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(result_->status().message()), HasSubstr("clicks.0of1:1"));
  context_ = MakeRef<RequestContext>();
  result_.reset();
  Run(FirstUsers(2));
  context_->Cancel();
  workers_.RunAll();
  EXPECT_EQ(result_->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(op_->shard().file().tables()[0]->looked_up_ids(), 0u);
}

TEST_F(TableOpTest, ACallThatIsDroppedUnrunIsUnavailable) {
  Make();
  Run(FirstUsers(2));
  workers_.DropAll();
  EXPECT_EQ(result_->status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(TableOpTest, SpansSayHowManyIdsWereLookedUp) {
  Make();
  context_->trace = {1, 2, 3, true};
  Run(FirstUsers(5));
  clock_.Advance(absl::Milliseconds(1));
  workers_.RunAll();
  const std::vector<Span> spans = context_->spans.Take();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "lookup");
  EXPECT_EQ(spans[0].parent_span_id, 3u);
  EXPECT_EQ(*spans[0].Number("ids"), 5);
  EXPECT_EQ(spans[1].name, "queue");
  EXPECT_EQ(spans[1].duration, absl::Milliseconds(1));
}

TEST_F(TableOpTest, AFileThatIsNotThePackagesIsRefused) {
  const auto spec = ReadShardPackage(folder_);
  ASSERT_TRUE(BuildShard(folder_ + "/table.shard", {{{.name = "users", .dim = 8}, kRows}}).ok());
  const auto shard = ServedShard::Open(folder_, *spec, {}, store_, clock_);
  EXPECT_EQ(shard.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(shard.status().message()), HasSubstr("as the package says"));
}

TEST_F(TableOpTest, ABrokenBlockFailsCallsOfItsRowsAndNoOthers) {
  BreakFirstRow(folder_);
  Make();
  Run(FirstUsers(1));
  workers_.RunAll();
  EXPECT_EQ(result_->status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(result_->status().message()), HasSubstr("(rows of table 'users'"));
  result_.reset();
  Run(LookupBuilder().AddRows("items", std::vector<int64_t>{3}).Build());
  workers_.RunAll();
  EXPECT_TRUE(result_->ok()) << result_->status();
}

TEST_F(TableOpTest, ManyThreadsGetTheirOwnAnswersWhileTheScrubberReads) {
  ThreadPool workers({.threads = 2});
  {
    TableOp op({"clicks", &stats_}, Open(/*scrub=*/true), workers, Clock::Real());
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < 200; ++i) {
          const size_t row = (t * 200 + i) % kRows;
          std::promise<absl::StatusOr<std::vector<Tensor>>> done;
          op.Run(MakeRef<RequestContext>(),
                 LookupBuilder().AddRows("items", std::vector<int64_t>{static_cast<int64_t>(row)}).Build(),
                 [&](auto result) { done.set_value(std::move(result)); });
          const auto result = done.get_future().get();
          ASSERT_TRUE(result.ok()) << result.status();
          ASSERT_EQ(LookupAnswer(*result).Sums(0)[0], RowValues(row, 4)[0]);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(op.shard().version().tables()[1]->looked_up_ids(), 800u);
    workers.Stop();
  }
}

/// Shards as servables: loaded from their folders as all are.
class ServedTablesTest : public ServablesFixture {
 protected:
  Held Load(const std::string& name) {
    MakePackage(folder_.Folder(name + "/1"));
    const absl::Status status = Configure({Model(name)});
    EXPECT_TRUE(status.ok()) << status;
    auto held = Acquire({.name = name});
    EXPECT_TRUE(held.ok()) << held.status();
    return held.ok() ? *held : nullptr;
  }
};

TEST_F(ServedTablesTest, AShardIsAServable) {
  const Held servable = Load("clicks.0of1");
  ASSERT_NE(servable, nullptr);
  const Signature* const signature = servable->FindSignature("lookup");
  ASSERT_NE(signature, nullptr);
  for (const TensorSpec& input : signature->inputs) EXPECT_EQ(input.axis, AxisKind::kShared) << "never joined";
  std::promise<absl::StatusOr<std::vector<Tensor>>> done;
  servable->Run(*signature, MakeRef<RequestContext>(), FirstUsers(3),
                [&](auto result) { done.set_value(std::move(result)); });
  const auto result = done.get_future().get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(LookupAnswer(*result).size(), 8 * sizeof(float));
  EXPECT_TRUE(servable->Degraded().empty()) << "it calls nobody";
}

TEST_F(ServedTablesTest, ItsMappedBytesAreNoMemoryOfModels) {
  const Held servable = Load("clicks.0of1");
  const ServablesMemory memory = servables_->Memory();
  ASSERT_EQ(memory.versions.size(), 1u);
  const uint64_t file = std::filesystem::file_size(folder_.File("clicks.0of1/1/table.shard"));
  EXPECT_GT(file, 60'000u);
  EXPECT_LT(memory.versions[0].bytes, 5'000u);
  EXPECT_EQ(memory.weight_bytes, 0u);
}

TEST_F(ServedTablesTest, ReportsTellOfEachTable) {
  const Held servable = Load("clicks.0of1");
  std::promise<absl::StatusOr<std::vector<Tensor>>> done;
  servable->Run(*servable->FindSignature("lookup"), MakeRef<RequestContext>(),
                LookupBuilder().Add("users", {.ids = {SparseId(1), SparseId(kRows)}, .lengths = {1, 1}}).Build(),
                [&](auto result) { done.set_value(std::move(result)); });
  ASSERT_TRUE(done.get_future().get().ok());
  ASSERT_TRUE(Eventually([&] { return servable->shard()->file().blocks().AllVerified(); })) << "scrubbed";
  const std::vector<ShardReport> reports = ReportShards(servables_->Available());
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].model, "clicks.0of1");
  ASSERT_EQ(reports[0].tables.size(), 2u);
  const TableReport& users = reports[0].tables[0];
  EXPECT_EQ(users.table, "users");
  EXPECT_EQ(users.rows, kRows);
  EXPECT_EQ(users.ids, 2u);
  EXPECT_EQ(users.unknown_ids, 1u);
  EXPECT_GT(users.file_bytes, kRows * 40);
  EXPECT_GT(users.resident_bytes, 0u);
  EXPECT_LE(users.resident_bytes, users.file_bytes);
  EXPECT_EQ(users.broken_blocks + users.unverified_blocks, 0u);

  const std::string metrics = TableMetricsText(reports);
  const std::string labels = "{model=\"clicks.0of1\",version=\"1\",table=\"users\"";
  EXPECT_THAT(metrics, AllOf(HasSubstr("portico_table_ids_total" + labels + "} 2\n"),
                             HasSubstr("portico_table_unknown_ids_total" + labels + "} 1\n"),
                             HasSubstr("portico_table_rows" + labels + "} 1000\n"),
                             HasSubstr("portico_table_bytes" + labels + ",tier=\"resident\"} "),
                             HasSubstr("portico_table_broken_blocks" + labels + "} 0\n"),
                             HasSubstr("portico_table_unverified_blocks" + labels + "} 0\n")));
  EXPECT_THAT(TablesJson(reports),
              AllOf(HasSubstr("\"table\":\"users\",\"row_type\":\"float32\",\"ids\":\"sparse\""),
                    HasSubstr("\"looked_up_ids\":2,\"unknown_ids\":1,\"updated_rows\":0,\"update_bytes\":0")));
  EXPECT_THAT(TablesHtml(reports), AllOf(HasSubstr("<td>users</td>"), Not(HasSubstr("class=\"bad\""))));
}

TEST(TableReportTest, NodesWithoutShardsSaySo) {
  EXPECT_EQ(TableMetricsText({}), "");
  EXPECT_EQ(TablesJson({}), "{\"shards\":[]}\n");
  EXPECT_THAT(TablesHtml({}), HasSubstr("serves no shard"));
}

TEST(TableReportTest, NamesAreEscaped) {
  ShardReport shard;
  shard.model = "a\"<b>";
  shard.tables.resize(1);
  shard.tables[0].table = "t\\<\n";
  shard.tables[0].broken_blocks = 2;
  EXPECT_THAT(TableMetricsText({shard}), HasSubstr(R"(model="a\"<b>",version="0",table="t\\<\n")"));
  EXPECT_THAT(TablesHtml({shard}),
              AllOf(HasSubstr("a&quot;&lt;b&gt;"), Not(HasSubstr("<b>")), HasSubstr("class=\"bad\">2")));
}

}  // namespace
}  // namespace portico
