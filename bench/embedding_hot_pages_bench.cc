// What huge pages for the parts of a mapped table that are read most bring, on one thread: memory for an eighth and for
// a quarter of the file, ids by Zipf's law where rows stand by rank, as ids of a vocabulary do, and where they stand
// anywhere; beside the same file as it is mapped, pages of 4 KB, in the same rounds. And what moving them costs who
// reads meanwhile.
//
// PORTICO_BENCH_ROWS: rows of the table (default 4 million).

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/scenarios.h"
#include "bench/table_lookups.h"
#include "embedding/hot_pages.h"
#include "embedding/shard_file.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 7;
/// As many as a node makes in half a minute.
constexpr int kSettling = 15;

std::shared_ptr<const ShardFile> Open(const std::string& path, bool in_memory) {
  auto file = ShardFile::Open(path, {.in_memory = in_memory});
  PORTICO_CHECK(file.ok() && (*file)->Verify([](uint64_t) { return true; }).ok());
  return *std::move(file);
}

void RunLoad(Report& report, const TableLoad& load) {
  const size_t rows = TableRows();
  const TempFolder folder;
  const std::string path = folder.File("shard");
  BuildTable(path, load.spec, rows);
  const TableLookups lookups = DrawLookups(load, rows);

  struct Case {
    std::string name;
    std::shared_ptr<const ShardFile> file;
    std::unique_ptr<HotPages> hot;
    std::vector<double> rates;
  };
  std::vector<Case> cases;
  cases.push_back({"mapped", Open(path, false), nullptr, {}});
  const uint64_t bytes = cases[0].file->layout().file_bytes;
  std::vector<double> moving;
  for (const uint64_t share : {8, 4}) {
    Case hot{absl::StrCat("hot_", share), Open(path, false), nullptr, {}};
    hot.hot = std::make_unique<HotPages>(HotPages::Options{.bytes = bytes / share, .start = false});
    hot.hot->Watch(hot.file);
    const EmbeddingTable& table = *hot.file->tables()[0];
    for (int round = 0; round < kSettling; ++round) {
      SumRate(table, lookups);
      std::thread mover([&hot] { hot.hot->Round(); });
      if (round == 0) moving.push_back(SumRate(table, lookups));
      mover.join();
    }
    // Else the machine has no huge pages to give.
    PORTICO_CHECK(hot.hot->bytes() > bytes / share / 2);
    cases.push_back(std::move(hot));
  }
  cases.push_back({"all", Open(path, true), nullptr, {}});

  for (int round = 0; round < kRounds; ++round) {
    for (Case& one : cases) one.rates.push_back(SumRate(*one.file->tables()[0], lookups));
  }
  const double mapped = Median(cases[0].rates);
  for (const Case& one : cases) {
    if (&one == &cases[0]) continue;
    report.Add({.name = absl::StrCat("embedding.hot_pages.", load.name, ".", one.name),
                .value = Median(one.rates),
                .unit = "rows/s",
                .baseline = mapped});
  }
  report.Add({.name = absl::StrCat("embedding.hot_pages.", load.name, ".while_moving"),
              .value = Median(moving),
              .unit = "rows/s",
              .baseline = mapped});
}

void Run(Report& report) {
  const TableSpec dense = {.name = "t", .dim = 128, .row_type = RowType::kInt8};
  TableSpec sparse = dense;
  sparse.id_kind = IdKind::kSparse;
  RunLoad(report, {"dense.by_rank", dense, 32, 0.99, true});
  RunLoad(report, {"dense.anywhere", dense, 32, 0.99, false});
  RunLoad(report, {"sparse.anywhere", sparse, 32, 0.99, false});
}

}  // namespace

std::vector<Scenario> EmbeddingHotPagesScenarios() {
  return {{"embedding.hot_pages",
           "rows found and added up where what is read most lies on huge pages, and nothing does", Run}};
}

}  // namespace portico::bench
