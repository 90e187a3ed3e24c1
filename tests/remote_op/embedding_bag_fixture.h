#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "embedding/shard_lookup.h"
#include "embedding/shard_map.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/graph/portal_spec.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/embedding/shard_builder.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/router/fake_transport.h"
#include "tests/testing/temp_folder.h"

namespace portico {

using Outputs = absl::StatusOr<std::vector<Tensor>>;
using Lookup = EmbeddingSpec::Lookup;

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Keeps tasks until the test runs them. For one thread.
class QueuedTasks final : public Executor {
 public:
  void Schedule(Task task) override { tasks_.push_back(std::move(task)); }
  void RunAll() {
    for (Task& task : std::exchange(tasks_, {})) task();
  }

 private:
  std::vector<Task> tasks_;
};

struct TestTable {
  TableSpec spec;
  size_t rows = 0;
  /// Row i is RowValues(i + shift): another one for each version.
  size_t shift = 0;
};

/// Tables of a group, whose rows are RowValues(), as files of shards.
class TestGroup {
 public:
  TestGroup(std::vector<TestTable> tables, uint32_t shards) : tables_(std::move(tables)), map_(shards) {
    for (uint32_t shard = 0; shard < shards; ++shard) Build(shard);
  }

  const ShardMap& map() const { return map_; }
  const ShardFile& shard(uint32_t shard) const { return *files_.at(shard); }
  const TestTable& table(absl::string_view name) const {
    return *std::find_if(tables_.begin(), tables_.end(), [&](const TestTable& one) { return one.spec.name == name; });
  }
  uint32_t ShardOfRow(const TableSpec& spec, size_t row) const {
    switch (spec.id_kind) {
      case IdKind::kDense:
        return map_.ShardOfDense(row);
      case IdKind::kSparse:
        return map_.ShardOfSparse(SparseId(row));
      case IdKind::kString:
        return map_.ShardOfString(StringId(row));
    }
    return 0;
  }
  /// What the table gives for a row's id; rows from table.rows on are unknown.
  static std::vector<float> Row(const TestTable& table, size_t row) {
    const TableSpec& spec = table.spec;
    if (row >= table.rows) {
      return spec.unknown == UnknownId::kDefaultRow ? spec.default_row : std::vector<float>(spec.dim);
    }
    const RowKernels& kernels = RowKernels::Best();
    std::string encoded(EncodedBytes(spec.row_type, spec.dim), '\0');
    PORTICO_CHECK(kernels.encode[static_cast<size_t>(spec.row_type)](RowValues(row + table.shift, spec.dim).data(),
                                                                     spec.dim, encoded.data()));
    std::vector<float> values(spec.dim);
    DecodeRow(kernels, spec.row_type, encoded.data(), absl::MakeSpan(values));
    return values;
  }

 private:
  void Build(uint32_t shard) {
    const std::string path = absl::StrCat(folder_.path(), "/", shard, ".shard");
    auto writer = ShardWriter::Create(path, {.shard = shard, .shards = map_.shards()});
    PORTICO_CHECK(writer.ok());
    for (const TestTable& table : tables_) {
      PORTICO_CHECK((*writer)->BeginTable(table.spec).ok());
      for (size_t row = 0; row < table.rows; ++row) {
        if (ShardOfRow(table.spec, row) != shard) continue;
        const int64_t id = SparseId(row);
        const std::string text = StringId(row);
        const absl::string_view view = text;
        const std::vector<float> values = RowValues(row + table.shift, table.spec.dim);
        ShardWriter::Rows rows;
        if (table.spec.id_kind == IdKind::kSparse) rows.ids = absl::MakeConstSpan(&id, 1);
        if (table.spec.id_kind == IdKind::kString) rows.strings = absl::MakeConstSpan(&view, 1);
        rows.values = values;
        PORTICO_CHECK((*writer)->Add(rows).ok());
      }
      PORTICO_CHECK((*writer)->EndTable().ok());
    }
    PORTICO_CHECK((*writer)->Commit().ok());
    files_.push_back(OpenShard(path));
  }

  TempFolder folder_;
  const std::vector<TestTable> tables_;
  const ShardMap map_;
  std::vector<std::unique_ptr<ShardFile>> files_;
};

/// One lookup's inputs, and which rows they mean.
struct Ask {
  Lookup lookup;
  std::vector<Tensor> inputs;
  /// By bag: row and weight of each id that is no padding.
  std::vector<std::vector<std::pair<size_t, float>>> bags;
  Shape output;
};

class EmbeddingBagTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kMaxShards = 7;
  static constexpr uint64_t kCacheBytes = uint64_t{4} << 20;

  EmbeddingBagTest() : timer_(clock_), resolver_(Peers()) {
    Router::Options options;
    options.timer = &timer_;
    options.workers = &workers_;
    options.default_policy.eject_after = 0;
    options.default_policy.eject_error_percent = 0;
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
  }

  static std::map<std::string, std::vector<std::string>> Peers() {
    std::map<std::string, std::vector<std::string>> peers;
    for (uint32_t n = 1; n <= kMaxShards; ++n) {
      for (uint32_t k = 0; k < n; ++k) {
        const std::string name = ShardName("clicks", k, n);
        peers[name] = {absl::StrCat("x://", name)};
      }
    }
    return peers;
  }

  static Revision RevisionWith(uint64_t number, uint32_t shards) {
    Revision revision;
    revision.number = number;
    revision.tables.push_back({"clicks", "/clicks", shards});
    return revision;
  }

  void SetTables(std::vector<TestTable> tables, uint32_t shards) {
    group_ = std::make_unique<TestGroup>(std::move(tables), shards);
    const Revision revision = RevisionWith(1, shards);
    router_->tables().Set({&revision}, 1);
  }

  /// The same with shards pinned to a version, whose rows are kept.
  static Revision CachedRevision(uint64_t number, uint32_t shards, uint64_t version, uint64_t bytes = kCacheBytes) {
    Revision revision = RevisionWith(number, shards);
    revision.tables[0].cache_bytes = bytes;
    for (uint32_t shard = 0; shard < shards; ++shard) {
      Revision::Model& model = revision.models.emplace_back();
      model.name = ShardName("clicks", shard, shards);
      Hasher hasher;
      model.pins = {{static_cast<int64_t>(version), hasher.Add(version).Add(model.name).Finish()}};
    }
    return revision;
  }
  /// Tables of which a version is served, by requests of that revision alone.
  void AddVersion(uint64_t revision, std::vector<TestTable> tables, uint32_t shards, uint64_t version) {
    for (TestTable& table : tables) table.shift = version * 3;
    groups_[revision] = std::make_unique<TestGroup>(std::move(tables), shards);
    revisions_[revision] = CachedRevision(revision, shards, version);
  }
  void SetLive(uint64_t first, uint64_t current) {
    std::vector<const Revision*> live;
    for (const auto& [number, revision] : revisions_) {
      if (number >= first) live.push_back(&revision);
    }
    router_->tables().Set(live, current);
  }
  const TestGroup& GroupFor(uint64_t revision) const {
    const auto found = groups_.find(revision);
    return found == groups_.end() ? *group_ : *found->second;
  }

  static PortalSpec SpecFor(const std::vector<Lookup>& lookups, bool include_last_offset = false) {
    PortalSpec spec;
    spec.op_type = "EmbeddingBag";
    spec.node_name = "bags";
    spec.target = "clicks";
    spec.signature = "lookup";
    spec.embedding.emplace();
    spec.embedding->include_last_offset = include_last_offset;
    for (Lookup lookup : lookups) {
      TensorSpec output = SpecOf(lookup.table, DType::kFloat, {});
      output.has_rank = false;
      spec.outputs.push_back(output);
      lookup.ids = spec.embedding->inputs++;
      if (lookup.csr) lookup.offsets = spec.embedding->inputs++;
      if (lookup.weighted) lookup.weights = spec.embedding->inputs++;
      spec.embedding->lookups.push_back(std::move(lookup));
    }
    return spec;
  }

  absl::Status Make(const PortalSpec& spec) {
    auto portal = NewPortal(spec, *router_);
    if (!portal.ok()) return portal.status();
    portal_ = *std::move(portal);
    (void)portal_->Health();  // Begins to connect.
    for (const auto& [endpoint, times] : transport_.connects) {
      if (connected_.insert(endpoint).second) transport_.Connected(endpoint);
    }
    return absl::OkStatus();
  }

  void Start(std::vector<Tensor> inputs, uint64_t revision = 0) {
    outputs_.reset();
    transport_.calls.clear();
    transport_.cancelled.clear();
    context_ = MakeRef<RequestContext>();
    context_->revision = revision;
    portal_->Run(context_, std::move(inputs), [this](Outputs result) {
      ASSERT_FALSE(outputs_.has_value()) << "answered twice";
      outputs_ = std::move(result);
    });
  }

  static uint32_t ShardOf(const FakeTransport::Call& call) {
    return static_cast<uint32_t>(std::stoi(call.servable.substr(call.servable.find('.') + 1)));
  }
  static void Reply(FakeTransport::Call& call, std::vector<Tensor> outputs) {
    PeerHeader header;
    header.tensors.resize(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) header.tensors[i].name = LookupCall::kOutputNames[i];
    call.Reply(header, std::move(outputs));
  }
  std::vector<Tensor> AnswerTo(const FakeTransport::Call& call) const {
    const auto lookup = ShardLookup::Read(GroupFor(call.header.revision).shard(ShardOf(call)), call.tensors);
    PORTICO_CHECK(lookup.ok());
    auto outputs = lookup->Run();
    PORTICO_CHECK(outputs.ok());
    return *std::move(outputs);
  }
  /// Of all calls.
  int64_t AskedIds() const {
    int64_t count = 0;
    for (const FakeTransport::Call& call : transport_.calls) {
      count += call.tensors[LookupCall::kIds].rows() + call.tensors[LookupCall::kStrings].rows();
    }
    return count;
  }
  void Answer(FakeTransport::Call& call) { Reply(call, AnswerTo(call)); }
  /// In some order, `gone` not at all.
  void AnswerAll(std::optional<uint32_t> gone = std::nullopt) {
    std::vector<FakeTransport::Call*> open;
    for (FakeTransport::Call& call : transport_.calls) open.push_back(&call);
    std::shuffle(open.begin(), open.end(), random_);
    for (FakeTransport::Call* call : open) {
      if (!call->done) continue;  // Taken back, since another one failed.
      if (ShardOf(*call) == gone) {
        call->Fail(absl::UnavailableError("gone"));
      } else {
        Answer(*call);
      }
    }
  }
  /// Of retries of what has failed.
  void FailOpen() {
    for (size_t i = 0; i < transport_.calls.size(); ++i) {
      if (transport_.calls[i].done) transport_.calls[i].Fail(absl::UnavailableError("gone"));
    }
  }
  absl::Status Error() const { return outputs_.has_value() ? outputs_->status() : absl::UnknownError("no answer"); }

  /// What RowValues tables give, and the touched rows where `gone` is a shard whose rows are `missing`.
  void Expect(const std::vector<Ask>& asks, std::optional<uint32_t> gone = std::nullopt, float missing = 0) {
    ASSERT_TRUE(outputs_.has_value());
    ASSERT_TRUE(outputs_->ok()) << outputs_->status();
    ASSERT_THAT(**outputs_, ::testing::SizeIs(asks.size()));
    const TestGroup& group = GroupFor(context_->revision);
    std::set<int64_t> touched;
    size_t touched_bags = 0;
    for (size_t i = 0; i < asks.size(); ++i) {
      const Ask& ask = asks[i];
      const Tensor& output = (**outputs_)[i];
      ASSERT_EQ(output.shape(), ask.output);
      const TestTable& table = group.table(ask.lookup.table);
      const size_t dim = table.spec.dim;
      const int64_t rows = ask.output.size() > 1 ? ask.output[0] : 1;
      for (size_t bag = 0; bag < ask.bags.size(); ++bag) {
        std::vector<double> want(dim);
        double scale = 1e-6;
        bool touches = false;
        for (const auto& [row, weight] : ask.bags[bag]) {
          std::vector<float> values = TestGroup::Row(table, row);
          if (gone.has_value() && group.ShardOfRow(table.spec, row) == *gone) {
            values.assign(dim, missing);
            touches = true;
          }
          for (size_t d = 0; d < dim; ++d) want[d] += double{values[d]} * weight;
          for (size_t d = 0; d < dim; ++d) scale = std::max(scale, std::abs(double{values[d]} * weight));
        }
        const size_t count = ask.bags[bag].size();
        const double divisor = ask.lookup.pooling == Pooling::kMean && count > 1 ? static_cast<double>(count) : 1;
        for (size_t d = 0; d < dim; ++d) {
          ASSERT_NEAR(output.data<float>()[bag * dim + d], want[d] / divisor,
                      1e-5 * scale * static_cast<double>(count + 1))
              << "table " << ask.lookup.table << ", bag " << bag << ", element " << d;
        }
        if (!touches) continue;
        ++touched_bags;
        touched.insert(static_cast<int64_t>(bag) / (static_cast<int64_t>(ask.bags.size()) / rows));
      }
    }
    std::vector<int64_t> noted;
    for (const RowNote& note : context_->row_notes.Notes()) {
      EXPECT_EQ(note.portal, ShardName("clicks", *gone, group.map().shards()));
      EXPECT_EQ(note.kind, "defaults");
      for (const RowRange& range : note.rows) {
        for (int64_t row = 0; row < range.count; ++row) noted.push_back(range.first + row);
      }
    }
    EXPECT_THAT(noted, ::testing::ElementsAreArray(touched));
    EXPECT_EQ(context_->fallbacks.Joined(), touched.empty() ? "" : "clicks=defaults");
    touched_bags_ += touched_bags;
    EXPECT_EQ(metrics_.Value("portico_embedding_bags_touched_total"), static_cast<double>(touched_bags_));
  }

  // Random lookups.
  size_t Draw(size_t below) { return random_() % below; }
  static TestTable RandomTable(std::mt19937& random, size_t number) {
    TestTable table;
    table.rows = 1 + random() % 300;
    table.spec.name = absl::StrCat("t", number);
    table.spec.dim = 1 + random() % 9;
    table.spec.id_kind = static_cast<IdKind>(random() % kIdKinds);
    table.spec.row_type = static_cast<RowType>(random() % kRowTypes);
    table.spec.seed = random();
    table.spec.unknown = random() % 2 == 0 ? UnknownId::kZeros : UnknownId::kDefaultRow;
    if (table.spec.unknown == UnknownId::kDefaultRow) table.spec.default_row.assign(table.spec.dim, 0.75f);
    return table;
  }
  Ask RandomAsk(const TestTable& table) {
    Ask ask;
    Lookup& lookup = ask.lookup;
    lookup.table = table.spec.name;
    lookup.dim = table.spec.dim;
    lookup.id_kind = table.spec.id_kind;
    lookup.pooling = static_cast<Pooling>(Draw(3));
    lookup.csr = lookup.pooling != Pooling::kNone && Draw(2) == 0;
    lookup.weighted = lookup.pooling != Pooling::kMean && Draw(2) == 0;
    const bool padded = Draw(2) == 0;
    const bool narrow = lookup.id_kind == IdKind::kDense && Draw(2) == 0;
    if (padded && lookup.id_kind != IdKind::kString) lookup.padding = narrow || Draw(2) == 0 ? -1 : 3;
    if (padded && lookup.id_kind == IdKind::kString) lookup.empty_is_padding = true;
    // Few rows: many ids are the same. Few ids a bag: rows are fewer bytes.
    const size_t distinct = 1 + Draw(Draw(2) == 0 ? table.rows + 20 : 5);
    const size_t longest = Draw(2) == 0 ? 3 : 20;
    Shape shape;
    std::vector<int64_t> lengths;
    if (lookup.csr) {
      const size_t bags = Draw(12);
      for (size_t bag = 0; bag < bags; ++bag) lengths.push_back(static_cast<int64_t>(Draw(longest)));
      int64_t total = 0;
      for (const int64_t length : lengths) total += length;
      shape = {total};
      ask.output = {static_cast<int64_t>(bags), static_cast<int64_t>(lookup.dim)};
    } else {
      const size_t rank = 1 + Draw(3);
      for (size_t d = 0; d + 1 < rank; ++d) shape.push_back(static_cast<int64_t>(1 + Draw(6)));
      shape.push_back(static_cast<int64_t>(Draw(longest)));
      ask.output = shape;
      int64_t bags = 1, width = shape.back();
      if (lookup.pooling != Pooling::kNone) ask.output.pop_back();
      for (const int64_t extent : ask.output) bags *= extent;
      if (lookup.pooling == Pooling::kNone) width = 1;
      ask.output.push_back(static_cast<int64_t>(lookup.dim));
      lengths.assign(static_cast<size_t>(bags), width);
    }
    std::vector<int64_t> ids;
    std::vector<std::string> strings;
    std::vector<float> weights;
    std::vector<int64_t> offsets;
    for (const int64_t length : lengths) {
      offsets.push_back(static_cast<int64_t>(weights.size()));
      auto& bag = ask.bags.emplace_back();
      for (int64_t i = 0; i < length; ++i) {
        const size_t row = Draw(distinct);
        weights.push_back(static_cast<float>(Draw(9)) / 4 - 1);
        const float weight = lookup.weighted ? weights.back() : 1.0f;
        const bool is_padding = padded && Draw(3) == 0;
        if (lookup.id_kind == IdKind::kString) {
          strings.push_back(is_padding && lookup.empty_is_padding ? "" : StringId(row));
          if (!strings.back().empty()) bag.emplace_back(row, weight);
          continue;
        }
        int64_t id = lookup.id_kind == IdKind::kDense ? static_cast<int64_t>(row) : SparseId(row);
        if (is_padding) id = *lookup.padding;
        ids.push_back(id);
        if (id != lookup.padding) bag.emplace_back(row, weight);
      }
    }
    if (lookup.id_kind == IdKind::kString) {
      ask.inputs.push_back(Tensor::OfStrings(shape, absl::MakeConstSpan(strings)));
    } else if (narrow) {
      const std::vector<int32_t> small(ids.begin(), ids.end());
      ask.inputs.push_back(Tensor::Of<int32_t>(shape, absl::MakeConstSpan(small)));
    } else {
      ask.inputs.push_back(Tensor::Of<int64_t>(shape, absl::MakeConstSpan(ids)));
    }
    if (lookup.csr) {
      if (last_offset_) offsets.push_back(static_cast<int64_t>(weights.size()));
      // Ids that no bag begins in front of.
      if (offsets.empty()) offsets = {0}, ask.bags.emplace_back(), ask.output[0] = 1;
      ask.inputs.push_back(Tensor::Of<int64_t>({static_cast<int64_t>(offsets.size())}, absl::MakeConstSpan(offsets)));
    }
    if (lookup.weighted) ask.inputs.push_back(Tensor::Of<float>(shape, absl::MakeConstSpan(weights)));
    return ask;
  }
  void RandomTables(uint32_t shards) {
    std::vector<TestTable> tables;
    for (size_t i = 0; i < 3; ++i) tables.push_back(RandomTable(random_, i));
    tables_ = tables;
    SetTables(std::move(tables), shards);
  }
  /// A new portal with lookups in tables_, and inputs for it.
  std::vector<Ask> RandomAsks() {
    last_offset_ = Draw(2) == 0;
    std::vector<Ask> asks;
    std::vector<Lookup> lookups;
    for (size_t i = 1 + Draw(5); i > 0; --i) {
      asks.push_back(RandomAsk(tables_[Draw(tables_.size())]));
      lookups.push_back(asks.back().lookup);
    }
    EXPECT_EQ(Make(SpecFor(lookups, last_offset_)), absl::OkStatus());
    return asks;
  }
  static std::vector<Tensor> InputsOf(const std::vector<Ask>& asks) {
    std::vector<Tensor> inputs;
    for (const Ask& ask : asks) inputs.insert(inputs.end(), ask.inputs.begin(), ask.inputs.end());
    return inputs;
  }

  /// Three lookups of the usual kinds: users padded with mean, pages csr with weights, words without pooling.
  absl::Status MakeUsual(uint32_t shards) {
    SetTables({{{.name = "users", .dim = 4, .unknown = UnknownId::kZeros}, 100},
               {{.name = "pages", .dim = 2, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros}, 50},
               {{.name = "words", .dim = 3, .id_kind = IdKind::kString, .unknown = UnknownId::kZeros}, 50}},
              shards);
    Lookup users{.table = "users", .dim = 4, .pooling = Pooling::kMean};
    Lookup pages{.table = "pages", .dim = 2, .id_kind = IdKind::kSparse, .csr = true, .weighted = true};
    Lookup words{.table = "words", .dim = 3, .pooling = Pooling::kNone, .id_kind = IdKind::kString};
    return Make(SpecFor({users, pages, words}));
  }
  static std::vector<Tensor> UsualInputs() {
    return {Tensor::Of<int64_t>({2, 2}, {0, 1, 2, 3}), Tensor::Of<int64_t>({3}, {SparseId(1), SparseId(2), 7}),
            Tensor::Of<int64_t>({2}, {0, 2}), Tensor::Of<float>({3}, {1, 2, 3}),
            Tensor::OfStrings({2}, std::vector<std::string>{StringId(0), StringId(1)})};
  }
  /// The error of those inputs with one exchanged.
  std::string ErrorWith(size_t input, Tensor tensor) {
    std::vector<Tensor> inputs = UsualInputs();
    inputs[input] = std::move(tensor);
    Start(std::move(inputs));
    EXPECT_THAT(transport_.calls, ::testing::IsEmpty());
    EXPECT_EQ(Error().code(), absl::StatusCode::kInvalidArgument);
    return std::string(Error().message());
  }

  std::mt19937 random_{17};
  FakeClock clock_;
  ManualTimer timer_;
  QueuedTasks workers_;
  CountedMetrics metrics_;
  FakeTransport transport_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<TestGroup> group_;
  /// By revision, of those that differ.
  std::map<uint64_t, std::unique_ptr<TestGroup>> groups_;
  std::map<uint64_t, Revision> revisions_;
  std::unique_ptr<Portal> portal_;
  std::set<std::string> connected_;
  Ref<RequestContext> context_;
  std::optional<Outputs> outputs_;
  std::vector<TestTable> tables_;
  bool last_offset_ = false;
  size_t touched_bags_ = 0;
};

}  // namespace portico
