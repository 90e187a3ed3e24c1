#include "embedding/shard_versions.h"

#include <atomic>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "embedding/shard_lookup.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/embedding/delta_builder.h"
#include "tests/embedding/lookup_builder.h"
#include "tests/testing/fakes.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr size_t kRows = 3000;

std::vector<float> Look(const EmbeddingTable& table, const std::vector<int64_t>& ids, Pooling pooling,
                        LookupCounts* counts = nullptr) {
  const bool strings = table.spec().id_kind == IdKind::kString;
  std::vector<std::string> texts;
  for (const int64_t id : ids) texts.push_back(StringId(static_cast<size_t>(id)));
  const std::vector<absl::string_view> views(texts.begin(), texts.end());
  IdBags bags;
  if (strings) {
    bags.strings = views;
  } else {
    bags.ids = ids;
  }
  bags.width = ids.size();
  std::vector<float> out(bags.rows(pooling) * table.spec().dim);
  const auto got = table.Lookup(bags, pooling, absl::MakeSpan(out));
  EXPECT_TRUE(got.ok()) << got.status();
  if (counts != nullptr && got.ok()) *counts = *got;
  return out;
}

class ShardVersionsTest : public ::testing::Test {
 protected:
  ShardParts Base(const std::vector<std::pair<TableSpec, size_t>>& tables) {
    const std::string path = folder_.File(absl::StrCat("base", bases_++));
    const absl::Status built = BuildShard(path, tables);
    EXPECT_TRUE(built.ok()) << built;
    return PartsOf(path);
  }
  void Add(ShardParts& parts, const std::vector<DeltaTable>& tables) {
    AppendDelta(parts, folder_.File(absl::StrCat("delta", deltas_++)), tables);
  }
  std::shared_ptr<const ShardVersion> Open(const ShardParts& parts) {
    auto version = store_.Open(parts);
    EXPECT_TRUE(version.ok()) << version.status();
    return version.ok() ? *version : nullptr;
  }

  const TempFolder folder_;
  FakeClock clock_;
  ShardStore store_{{.clock = &clock_}};
  int bases_ = 0;
  int deltas_ = 0;
};

class ShardVersionsKindTest : public ShardVersionsTest, public ::testing::WithParamInterface<IdKind> {
 protected:
  static int64_t IdOf(size_t row) { return GetParam() == IdKind::kSparse ? SparseId(row) : static_cast<int64_t>(row); }
};

/// Random updates over many versions against a map: each version, newer and older ones, held or opened anew.
TEST_P(ShardVersionsKindTest, EachVersionGivesWhatWasAppliedUpToIt) {
  const TableSpec spec{.name = "t", .dim = 5, .id_kind = GetParam(), .unknown = UnknownId::kZeros, .seed = 3};
  ShardParts parts = Base({{spec, kRows}});
  const bool dense = GetParam() == IdKind::kDense;
  std::mt19937 random(5);
  // Row number to its values' number; none: as in the base, or unknown behind it.
  using State = std::map<size_t, std::optional<float>>;
  State state;
  uint64_t rows = kRows;
  std::vector<std::pair<ShardParts, State>> versions = {{parts, state}};
  std::vector<std::shared_ptr<const ShardVersion>> held = {Open(parts)};
  std::vector<uint64_t> row_counts = {rows};
  for (int v = 1; v <= 30; ++v) {
    std::map<size_t, DeltaTable::Row> changed;
    for (size_t n = v % 5 == 0 ? 2000 : random() % 200; n > 0; --n) {
      const size_t row = random() % (dense ? rows : kRows * 2);
      const bool gone = !dense && random() % 8 == 0;
      changed[row] = {IdOf(row), static_cast<float>(v * 1000 + static_cast<int>(n % 7)),
                      gone ? UpdatedRow::kDeleted : UpdatedRow::kForever};
    }
    const uint64_t before = rows;
    for (int more = dense ? static_cast<int>(random() % 5) : 0; more > 0; --more, ++rows)
      changed[rows] = {static_cast<int64_t>(rows), static_cast<float>(v)};
    DeltaTable delta{spec, before, {}};
    for (const auto& [row, change] : changed) {
      delta.rows.push_back(change);
      state[row] = change.until == UpdatedRow::kDeleted ? std::nullopt : std::optional<float>(change.value);
    }
    Add(parts, {delta});
    versions.push_back({parts, state});
    row_counts.push_back(rows);
    // Some are held on, some come back later.
    held.push_back(v % 3 == 0 ? nullptr : Open(parts));
    if (v > 6) held[static_cast<size_t>(v - 6)] = nullptr;
  }
  for (size_t v = 0; v < versions.size(); ++v) {
    const auto version = held[v] != nullptr ? held[v] : Open(versions[v].first);
    ASSERT_NE(version, nullptr);
    const EmbeddingTable& table = *version->Find("t");
    std::vector<int64_t> ids;
    const size_t all = kRows * 2 + 200;
    for (size_t row = 0; row < all; ++row) ids.push_back(IdOf(row));
    LookupCounts counts;
    const std::vector<float> out = Look(table, ids, Pooling::kNone, &counts);
    uint64_t unknown = 0;
    for (size_t row = 0; row < all; ++row) {
      const auto change = versions[v].second.find(row);
      std::vector<float> want(spec.dim, 0.0f);
      if (change != versions[v].second.end()) {
        if (change->second.has_value()) want.assign(spec.dim, *change->second);
        unknown += change->second.has_value() ? 0 : 1;
      } else if (row < kRows) {
        want = RowValues(row, spec.dim);
      } else {
        ++unknown;
      }
      for (size_t d = 0; d < spec.dim; ++d) ASSERT_EQ(out[row * spec.dim + d], want[d]) << "v" << v << " row " << row;
    }
    EXPECT_EQ(counts.unknown, unknown);
    if (dense) {
      EXPECT_EQ(table.memory().all_rows(), row_counts[v]);
    }
  }
}

TEST_P(ShardVersionsKindTest, SumsMixUpdatedRowsAndThoseOfTheBase) {
  const TableSpec spec{.name = "t", .dim = 3, .row_type = RowType::kFloat32, .id_kind = GetParam()};
  ShardParts parts = Base({{spec, kRows}});
  DeltaTable delta{spec, kRows, {}};
  for (size_t row = 0; row < kRows; row += 2) delta.rows.push_back({IdOf(row), 0.5f});
  Add(parts, {delta});
  const auto version = Open(parts);
  std::vector<int64_t> ids;
  std::vector<float> want(3, 0.0f);
  for (size_t row = 100; row < 200; ++row) {
    ids.push_back(IdOf(row));
    for (size_t d = 0; d < 3; ++d) want[d] += row % 2 == 0 ? 0.5f : RowValues(row, 3)[d];
  }
  const std::vector<float> got = Look(*version->Find("t"), ids, Pooling::kSum);
  for (size_t d = 0; d < 3; ++d) EXPECT_NEAR(got[d], want[d], 1e-3);
}

INSTANTIATE_TEST_SUITE_P(All, ShardVersionsKindTest,
                         ::testing::Values(IdKind::kDense, IdKind::kSparse, IdKind::kString),
                         [](const auto& info) { return std::string(IdKindName(info.param)); });

const TableSpec kSparse{.name = "t", .dim = 4, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};

TEST_F(ShardVersionsTest, RowsThatEndAreUnknownFromThatSecondOn) {
  ShardParts parts = Base({{kSparse, 10}});
  Add(parts, {{kSparse, 0, {{SparseId(1), 7, 1'000'001}, {77, 8, 1'000'002}}}});
  const auto version = Open(parts);
  const EmbeddingTable& table = *version->Find("t");
  LookupCounts counts;
  EXPECT_EQ(Look(table, {SparseId(1), 77}, Pooling::kSum, &counts)[0], 15.0f);
  EXPECT_EQ(counts.unknown, 0u);
  clock_.Advance(absl::Seconds(1));
  // Not the base's row either: it was replaced.
  EXPECT_EQ(Look(table, {SparseId(1), 77}, Pooling::kSum, &counts)[0], 8.0f);
  EXPECT_EQ(counts.unknown, 1u);
  clock_.Advance(absl::Seconds(1));
  Look(table, {SparseId(1), 77}, Pooling::kSum, &counts);
  EXPECT_EQ(counts.unknown, 2u);
}

TEST_F(ShardVersionsTest, WhoKeepsRowsIsToldOfTablesWhoseRowsEnd) {
  TableSpec other = kSparse;
  other.name = "u";
  ShardParts parts = Base({{kSparse, 10}, {other, 10}});
  Add(parts,
      {{kSparse, 0, {{SparseId(1), 7, 1'000'001}}}, {other, 0, {{SparseId(1), 7}, {4, 4, UpdatedRow::kDeleted}}}});
  const auto version = Open(parts);
  const auto row_types = [&](LookupForm form) {
    LookupBuilder call;
    // The row that ends is not among them.
    call.AddRows("t", std::vector<int64_t>{SparseId(2)}, form).AddRows("u", std::vector<int64_t>{SparseId(1), 4}, form);
    const auto lookup = ShardLookup::Read(*version, call.Build());
    EXPECT_TRUE(lookup.ok()) << lookup.status();
    const auto outputs = lookup->Run();
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    const auto found = (*outputs)[LookupCall::kFound].data<int64_t>();
    return std::pair(found[LookupCall::kRowType], found[LookupCall::kFoundColumns + LookupCall::kRowType]);
  };
  EXPECT_EQ(row_types(LookupForm::kRows), std::pair(int64_t{0}, int64_t{0}));
  EXPECT_EQ(row_types(LookupForm::kRowsToKeep), std::pair(LookupCall::kMayExpire, int64_t{0}));
}

TEST_F(ShardVersionsTest, VersionsShareTheBaseAndTheRowsTheyHaveInCommonAndLetTheRestGo) {
  ShardParts parts = Base({{kSparse, 10}});
  DeltaTable delta{kSparse, 0, {}};
  for (size_t row = 0; row < 20'000; ++row) delta.rows.push_back({static_cast<int64_t>(row), 1});
  Add(parts, {delta});
  auto first = Open(parts);
  EXPECT_EQ(Open(parts), first);
  // Other values for all rows of the first two chunks.
  delta.rows.resize(2 * RowChunk::kMaxRows);
  Add(parts, {delta});
  auto second = Open(parts);
  EXPECT_EQ(&first->base(), &second->base());
  const auto& old_chunks = first->overlays()[0]->parts().chunks;
  const auto& new_chunks = second->overlays()[0]->parts().chunks;
  ASSERT_EQ(old_chunks.size(), 5u);
  for (size_t i = 2; i < 5; ++i) EXPECT_EQ(old_chunks[i], new_chunks[i]);
  // No row of theirs is in the second.
  EXPECT_EQ(new_chunks[0], nullptr);
  EXPECT_EQ(new_chunks[1], nullptr);
  const std::weak_ptr<const RowChunk> replaced = old_chunks[0], common = old_chunks[2];
  first = nullptr;
  EXPECT_TRUE(replaced.expired());
  EXPECT_FALSE(common.expired());
  second = nullptr;
  EXPECT_TRUE(common.expired());
}

TEST_F(ShardVersionsTest, RowsThatAreUpdatedAgainAndAgainTakeNoMoreMemory) {
  ShardParts parts = Base({{kSparse, 10}});
  std::shared_ptr<const ShardVersion> version;
  uint64_t most = 0;
  for (int v = 0; v < 200; ++v) {
    DeltaTable delta{kSparse, 0, {}};
    for (int64_t i = 0; i < 300; ++i) delta.rows.push_back({(v * 131 + i) % 1000, static_cast<float>(v)});
    Add(parts, {delta});
    version = Open(parts);
    most = std::max(most, version->overlays()[0]->bytes());
  }
  EXPECT_EQ(version->overlays()[0]->ids(), 1000u);
  EXPECT_EQ(version->tables()[0]->memory().all_rows(), 10u);
  // 1,000 rows of 32 bytes; chunks of 300 rows that are half in use, at most 32 of them.
  EXPECT_LT(most, 600'000u);
  EXPECT_LE(version->overlays()[0]->parts().chunks.size(), 60u);
  for (int64_t id = 0; id < 1000; ++id) {
    int last = -1;
    for (int v = 0; v < 200; ++v) {
      if ((id + 1000 * 1000 - v * 131) % 1000 < 300) last = v;
    }
    ASSERT_EQ(Look(*version->Find("t"), {id}, Pooling::kSum)[0], static_cast<float>(last)) << id;
  }
}

TEST_F(ShardVersionsTest, DeltasThatAreNotWhatTheVersionSaysAreRefusedAndOthersAreServedOn) {
  ShardParts parts = Base({{kSparse, 10}});
  Add(parts, {{kSparse, 0, {{1, 1}}}});
  const auto version = Open(parts);
  ShardParts next = parts;
  Add(next, {{kSparse, 0, {{1, 2}}}});

  ShardParts skipped = next;
  skipped.deltas.erase(skipped.deltas.begin());
  EXPECT_THAT(std::string(store_.Open(skipped).status().message()), HasSubstr("got one for version 2"));
  ShardParts other = next;
  other.deltas[1].digest = Sha256("other");
  EXPECT_THAT(std::string(store_.Open(other).status().message()), HasSubstr("got digest"));
  ShardParts base = Base({{kSparse, 11}});
  base.deltas = parts.deltas;
  EXPECT_THAT(std::string(store_.Open(base).status().message()), HasSubstr("got one for base"));
  ShardParts wrong_base = parts;
  wrong_base.content = Sha256("other");
  EXPECT_EQ(store_.Open(wrong_base).status().code(), absl::StatusCode::kFailedPrecondition);
  std::ofstream(next.deltas[1].path, std::ios::in | std::ios::out).seekp(30).put('\x55');
  EXPECT_EQ(store_.Open(next).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Look(*version->Find("t"), {1}, Pooling::kSum)[0], 1.0f);
  EXPECT_EQ(Open(parts), version);
}

TEST_F(ShardVersionsTest, TablesThatNoDeltaNamesHaveNoOverlay) {
  TableSpec other = kSparse;
  other.name = "other";
  ShardParts parts = Base({{kSparse, 10}, {other, 10}});
  Add(parts, {{other, 0, {{1, 1}}}});
  const auto version = Open(parts);
  EXPECT_EQ(version->Find("t")->memory().overlay, nullptr);
  EXPECT_NE(version->Find("other")->memory().overlay, nullptr);
}

/// Rows hold the number of the version that wrote them. Each update writes a third of the rows, one after the other, so
/// that what a version has is known; readers look up all the while in whatever version is the newest, or the one
/// before.
TEST_F(ShardVersionsTest, NoLookupMixesVersionsWhileAWriterPublishes) {
  constexpr int kVersions = 60;
  constexpr size_t kUpdated = 600;
  ShardParts parts = Base({{kSparse, kUpdated}});
  DeltaTable all{kSparse, 0, {}};
  for (size_t row = 0; row < kUpdated; ++row) all.rows.push_back({SparseId(row), 0});
  Add(parts, {all});
  struct Published {
    int number;
    std::shared_ptr<const ShardVersion> version;
  };
  std::shared_ptr<const Published> newest = std::make_shared<const Published>(Published{0, Open(parts)});
  std::atomic<bool> done{false};
  std::atomic<int> looked{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::shared_ptr<const Published> held = std::atomic_load(&newest);
      while (!done) {
        // Sometimes the one that was the newest a while ago.
        if (random() % 4 == 0) held = std::atomic_load(&newest);
        std::vector<int64_t> ids;
        std::vector<size_t> rows;
        for (int n = 0; n < 64; ++n) {
          rows.push_back(random() % kUpdated);
          ids.push_back(SparseId(rows.back()));
        }
        const std::vector<float> got = Look(*held->version->Find("t"), ids, Pooling::kNone);
        for (size_t n = 0; n < ids.size(); ++n) {
          // The newest version up to this one that wrote row r: those v with v % 3 == r % 3.
          int want = held->number;
          while (want > 0 && static_cast<size_t>(want % 3) != rows[n] % 3) --want;
          ASSERT_EQ(got[n * 4], static_cast<float>(want)) << "row " << rows[n] << " at version " << held->number;
          ASSERT_EQ(got[n * 4 + 3], static_cast<float>(want));
        }
        ++looked;
      }
    });
  }
  for (int v = 1; v <= kVersions; ++v) {
    DeltaTable delta{kSparse, 0, {}};
    for (size_t row = 0; row < kUpdated; ++row) {
      if (row % 3 == static_cast<size_t>(v % 3)) delta.rows.push_back({SparseId(row), static_cast<float>(v)});
    }
    Add(parts, {delta});
    std::atomic_store(&newest, std::make_shared<const Published>(Published{v, Open(parts)}));
    const int before = looked;
    while (looked < before + 5) std::this_thread::yield();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace portico
