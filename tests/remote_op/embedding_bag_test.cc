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
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outputs = absl::StatusOr<std::vector<Tensor>>;
using Lookup = EmbeddingSpec::Lookup;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

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
    ASSERT_THAT(**outputs_, SizeIs(asks.size()));
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
    EXPECT_THAT(transport_.calls, IsEmpty());
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

TEST_F(EmbeddingBagTest, AnswersAsOneTableWould) {
  for (uint32_t shards = 1; shards <= kMaxShards; ++shards) {
    for (int tables = 0; tables < 6; ++tables) {
      RandomTables(shards);
      for (int requests = 0; requests < 6; ++requests) {
        SCOPED_TRACE(absl::StrCat(shards, " shards, tables ", tables, ", request ", requests));
        const std::vector<Ask> asks = RandomAsks();
        // Again with what the portal has learned of row types.
        for (int again = 0; again < 2; ++again) {
          Start(InputsOf(asks));
          AnswerAll();
          Expect(asks);
          if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(metrics_.Value("portico_embedding_ids_total"), metrics_.Value("portico_embedding_ids_sent_total"));
  EXPECT_GT(metrics_.Value("portico_embedding_bytes_total"), 0);
  EXPECT_GT(metrics_.Value("portico_embedding_ids_unknown_total"), 0);
}

TEST_F(EmbeddingBagTest, ExactlyTheBagsOfAShardThatIsGoneAreNoted) {
  constexpr float kMissing = 0.5f;
  RoutePolicy policy;
  policy.retries = 0;
  policy.eject_after = 0;
  policy.eject_error_percent = 0;
  policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
  for (size_t i = 0; i < 3; ++i) policy.on_error.defaults[absl::StrCat("t", i)] = "0.5";
  ASSERT_EQ(router_->SetPolicies(policy, {}), absl::OkStatus());
  for (uint32_t shards = 1; shards <= kMaxShards; ++shards) {
    for (int tables = 0; tables < 5; ++tables) {
      RandomTables(shards);
      for (int requests = 0; requests < 6; ++requests) {
        SCOPED_TRACE(absl::StrCat(shards, " shards, tables ", tables, ", request ", requests));
        const std::vector<Ask> asks = RandomAsks();
        const auto gone = static_cast<uint32_t>(Draw(shards));
        for (int again = 0; again < 2; ++again) {
          Start(InputsOf(asks));
          AnswerAll(gone);
          Expect(asks, gone, kMissing);
          if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(touched_bags_, 100u);
  EXPECT_GT(metrics_.Value("portico_portal_fallbacks_total"), 0);
}

TEST_F(EmbeddingBagTest, OneCallGoesToEachShardThatHasSomethingOfIt) {
  ASSERT_EQ(MakeUsual(4), absl::OkStatus());
  Start(UsualInputs());
  std::set<uint32_t> called;
  for (const FakeTransport::Call& call : transport_.calls) {
    EXPECT_TRUE(called.insert(ShardOf(call)).second);
    EXPECT_EQ(call.signature, "lookup");
    EXPECT_THAT(call.names, ElementsAre("tables", "entries", "ids", "strings", "lengths", "weights"));
  }
  EXPECT_THAT(called, ElementsAre(0, 1, 2, 3));
  AnswerAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  // One id: one shard.
  std::vector<Tensor> inputs = UsualInputs();
  inputs[0] = Tensor::Of<int64_t>({1, 1}, {6});
  inputs[1] = Tensor::Of<int64_t>({0}, {});
  inputs[2] = Tensor::Of<int64_t>({3}, {0, 0, 0});
  inputs[3] = Tensor::Of<float>({0}, {});
  inputs[4] = Tensor::OfStrings({0}, std::vector<std::string>());
  Start(inputs);
  ASSERT_THAT(transport_.calls, SizeIs(1));
  EXPECT_EQ(ShardOf(transport_.calls[0]), 2u);
  AnswerAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_THAT((**outputs_)[1].shape(), ElementsAre(3, 2));
  // None: nobody is asked.
  inputs[0] = Tensor::Of<int64_t>({5, 0}, {});
  Start(inputs);
  EXPECT_THAT(transport_.calls, IsEmpty());
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_THAT((**outputs_)[0].shape(), ElementsAre(5, 4));
  EXPECT_THAT((**outputs_)[0].data<float>(), ::testing::Each(0.0f));
}

TEST_F(EmbeddingBagTest, WhoeverAnswersFirstTheBitsAreTheSame) {
  SetTables({{{.name = "t", .dim = 8, .id_kind = IdKind::kSparse}, 400}}, 5);
  Lookup lookup{.table = "t", .dim = 8, .id_kind = IdKind::kSparse, .weighted = true};
  ASSERT_EQ(Make(SpecFor({lookup})), absl::OkStatus());
  std::vector<int64_t> ids;
  std::vector<float> weights;
  for (size_t i = 0; i < 640; ++i) {
    ids.push_back(SparseId(Draw(400)));
    weights.push_back(1.0f / static_cast<float>(1 + Draw(100)));
  }
  std::string first;
  for (int round = 0; round < 10; ++round) {
    Start({Tensor::Of<int64_t>({10, 64}, absl::MakeConstSpan(ids)),
           Tensor::Of<float>({10, 64}, absl::MakeConstSpan(weights))});
    // Sums travel, not rows: their order is what counts.
    ASSERT_THAT(transport_.calls, SizeIs(5));
    EXPECT_EQ(transport_.calls[0].tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm], 0);
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
    const std::string bits((**outputs_)[0].bytes());
    if (first.empty()) first = bits;
    EXPECT_EQ(bits, first);
  }
}

TEST_F(EmbeddingBagTest, RowsTravelWhereTheyAreFewerBytesAndEachOnce) {
  SetTables({{{.name = "t", .dim = 16, .row_type = RowType::kInt8}, 400}}, 2);
  Lookup lookup{.table = "t", .dim = 16};
  ASSERT_EQ(Make(SpecFor({lookup})), absl::OkStatus());
  const auto form = [&] {
    return transport_.calls.at(0).tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm];
  };
  const auto sent = [&] {
    int64_t ids = 0;
    for (const FakeTransport::Call& call : transport_.calls) ids += call.tensors[LookupCall::kIds].rows();
    return ids;
  };
  // Bags of one id: rows, of whatever type.
  Start({Tensor::Of<int64_t>({6, 1}, {1, 2, 1, 2, 1, 1})});
  EXPECT_EQ(form(), 1);
  EXPECT_EQ(sent(), 2);
  AnswerAll();
  // Bags of two different ids of two shards: two sums of 64 bytes, or rows of 24 as is known by now.
  Start({Tensor::Of<int64_t>({2, 2}, {0, 1, 2, 3})});
  EXPECT_EQ(form(), 1);
  AnswerAll();
  // Many different ids a bag: sums.
  std::vector<int64_t> ids(400);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  Start({Tensor::Of<int64_t>({4, 100}, absl::MakeConstSpan(ids))});
  EXPECT_EQ(form(), 0);
  EXPECT_EQ(sent(), 400);
  AnswerAll();
  // Many bags that share few ids: rows.
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i % 10);
  Start({Tensor::Of<int64_t>({80, 5}, absl::MakeConstSpan(ids))});
  EXPECT_EQ(form(), 1);
  EXPECT_EQ(sent(), 10);
  AnswerAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
}

TEST_F(EmbeddingBagTest, EachRequestGoesToTheShardsOfItsRevision) {
  SetTables({{{.name = "t", .dim = 2}, 100}}, 2);
  const Revision before = RevisionWith(1, 2), after = RevisionWith(2, 4);
  router_->tables().Set({&before, &after}, 1);
  Lookup lookup{.table = "t", .dim = 2};
  ASSERT_EQ(Make(SpecFor({lookup})), absl::OkStatus());
  EXPECT_EQ(portal_->Health(), absl::OkStatus());
  const std::vector<Tensor> inputs = {Tensor::Of<int64_t>({4}, {0, 1, 2, 3})};
  const auto called = [&] {
    std::set<std::string> names;
    for (const FakeTransport::Call& call : transport_.calls) names.insert(call.servable);
    return names;
  };
  Start(inputs, 1);
  EXPECT_THAT(called(), ElementsAre("clicks.0of2", "clicks.1of2"));
  FailOpen();
  Start(inputs, 2);
  EXPECT_THAT(called(), ElementsAre("clicks.0of4", "clicks.1of4", "clicks.2of4", "clicks.3of4"));
  FailOpen();
  Start(inputs, 0);
  EXPECT_THAT(called(), ElementsAre("clicks.0of2", "clicks.1of2"));
  FailOpen();
}

TEST_F(EmbeddingBagTest, TablesThatNobodyServesAreARequestsEnd) {
  ASSERT_EQ(MakeUsual(2), absl::OkStatus());
  Revision other = RevisionWith(4, 2);
  other.tables[0].name = "views";
  router_->tables().Set({&other}, 4);
  Start(UsualInputs(), 4);
  EXPECT_EQ(Error().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("portal 'bags' to tables 'clicks'"),
                                       HasSubstr("which nobody serves in revision 4"), HasSubstr("(views)")));
  EXPECT_EQ(portal_->Health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(EmbeddingBagTest, AShardThatFailsForGoodFailsTheRequestAndTakesBackTheOthers) {
  ASSERT_EQ(MakeUsual(4), absl::OkStatus());
  Start(UsualInputs());
  ASSERT_THAT(transport_.calls, SizeIs(4));
  Answer(transport_.calls[0]);
  transport_.calls[1].Fail(absl::UnavailableError("its process has ended"));
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("tables 'clicks'"), HasSubstr("clicks.1of4"), HasSubstr("has ended")));
  EXPECT_THAT(transport_.cancelled, ElementsAre(2, 3));
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(EmbeddingBagTest, ARequestThatIsWrongIsNotCoveredByDefaults) {
  RoutePolicy policy;
  policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
  for (const char* table : {"users", "pages", "words"}) policy.on_error.defaults[table] = "0";
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  ASSERT_EQ(MakeUsual(2), absl::OkStatus());
  Start(UsualInputs());
  PeerHeader header;
  header.code = static_cast<uint32_t>(absl::StatusCode::kOutOfRange);
  header.message = "table 'users': id 1: got 1, which the table does not have";
  transport_.calls[0].Reply(header);
  EXPECT_EQ(Error().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(EmbeddingBagTest, AnswersThatDoNotFitAreRefused) {
  ASSERT_EQ(MakeUsual(1), absl::OkStatus());
  const auto error_of = [&](const std::function<void(std::vector<Tensor>&, std::vector<int64_t>&)>& spoil) {
    Start(UsualInputs());
    std::vector<Tensor> outputs = AnswerTo(transport_.calls.at(0));
    const auto said = outputs[LookupCall::kFound].data<int64_t>();
    std::vector<int64_t> found(said.begin(), said.end());
    spoil(outputs, found);
    outputs[LookupCall::kFound] =
        Tensor::Of<int64_t>({static_cast<int64_t>(found.size()) / 4, 4}, absl::MakeConstSpan(found));
    Reply(transport_.calls[0], std::move(outputs));
    EXPECT_EQ(Error().code(), absl::StatusCode::kInternal);
    return std::string(Error().message());
  };
  using Found = std::vector<int64_t>;
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kDim] = 5; }),
              AllOf(HasSubstr("shard 'clicks.0of1'"), HasSubstr("table 'users': got rows of 5 numbers, want 4")));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kRowType] = 9; }), HasSubstr("got row type 9"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kUnknown] = 5; }), HasSubstr("got 5 unknown ids"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kUnknown] = -1; }), HasSubstr("got -1 unknown"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kBegin] = 8; }), HasSubstr("rows at 8"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[LookupCall::kBegin] = -64; }), HasSubstr("rows at -64"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found[8 + LookupCall::kBegin] = int64_t{1} << 40; }),
              HasSubstr("table 'words'"));
  EXPECT_THAT(error_of([](auto&, Found& found) { found.resize(8); }),
              HasSubstr("int64[2,4], want uint8 and int64[3,4]"));
  EXPECT_THAT(error_of([](std::vector<Tensor>& outputs, Found&) { outputs[0] = Tensor::Of<uint8_t>({0}, {}); }),
              HasSubstr("got 0 bytes"));
  EXPECT_THAT(error_of([](std::vector<Tensor>& outputs, Found&) { outputs[0] = Tensor::Of<float>({1}, {0}); }),
              HasSubstr("output 'rows'"));
}

TEST_F(EmbeddingBagTest, BadInputIsNamedByTableAndPosition) {
  ASSERT_EQ(MakeUsual(3), absl::OkStatus());
  EXPECT_THAT(ErrorWith(0, Tensor::Of<int64_t>({2, 2}, {0, 1, -2, 3})),
              AllOf(HasSubstr("portal 'bags'"), HasSubstr("table 'users': id 2: got -2, want 0 or more")));
  EXPECT_THAT(ErrorWith(0, Tensor::Of<float>({1}, {0})), HasSubstr("table 'users': ids: got float32[1]"));
  EXPECT_THAT(ErrorWith(0, Tensor::Of<int64_t>({}, {0})), HasSubstr("want an axis that is the bag"));
  EXPECT_THAT(ErrorWith(1, Tensor::Of<int64_t>({1, 3}, {1, 2, 3})), HasSubstr("table 'pages': ids: got int64[1,3]"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({3}, {0, 2, 1})), HasSubstr("offset 2: got 1 behind 2"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({2}, {0, 4})), HasSubstr("offset 1: got 4, want 3 at most"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({2}, {1, 2})), HasSubstr("offset 0: got 1, want 0"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({2}, {-1, 2})), HasSubstr("offset 0: got -1, want 0"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({0}, {})), HasSubstr("offsets: got none for 3 ids"));
  EXPECT_THAT(ErrorWith(2, Tensor::Of<int64_t>({1, 1}, {0})), HasSubstr("offsets: got int64[1,1]"));
  EXPECT_THAT(ErrorWith(3, Tensor::Of<float>({3}, {1, kNan, 1})), HasSubstr("table 'pages': weight 1: got nan"));
  EXPECT_THAT(ErrorWith(3, Tensor::Of<float>({2}, {1, 1})), HasSubstr("weights: got float32[2], want float32[3]"));
  EXPECT_THAT(ErrorWith(4, Tensor::Of<int64_t>({1}, {1})), HasSubstr("table 'words': ids: got int64[1], want strings"));
  EXPECT_THAT(ErrorWith(4, Tensor::OfStrings({1}, std::vector<std::string>{std::string(5000, 'x')})),
              HasSubstr("table 'words': id 0: got 5000 bytes"));
  std::vector<Tensor> few = UsualInputs();
  few.pop_back();
  Start(few);
  EXPECT_THAT(Error().message(), HasSubstr("inputs: got 4, want 5"));
  // Extents may be anything where there is no element.
  std::vector<Tensor> huge = UsualInputs();
  huge[0] = Tensor::Of<int64_t>({int64_t{1} << 40, 0}, {});
  Start(huge);
  EXPECT_EQ(Error().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(EmbeddingBagTest, LastOffsetIsTheNumberOfIds) {
  SetTables({{{.name = "t", .dim = 1}, 10}}, 2);
  Lookup lookup{.table = "t", .dim = 1, .csr = true};
  ASSERT_EQ(Make(SpecFor({lookup}, true)), absl::OkStatus());
  const Tensor ids = Tensor::Of<int64_t>({3}, {1, 2, 3});
  Start({ids, Tensor::Of<int32_t>({2}, {0, 2})});
  EXPECT_THAT(Error().message(), HasSubstr("offset 1: got 2, want 3, the number of ids"));
  Start({ids, Tensor::Of<int32_t>({0}, {})});
  EXPECT_THAT(Error().message(), HasSubstr("and the number of ids"));
  Start({ids, Tensor::Of<int32_t>({3}, {0, 3, 3})});
  AnswerAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_THAT((**outputs_)[0].shape(), ElementsAre(2, 1));
  EXPECT_EQ((**outputs_)[0].data<float>()[1], 0);
}

TEST_F(EmbeddingBagTest, RowsThatAreKeptAreNotAskedForAgain) {
  std::vector<TestTable> tables = {{{.name = "t", .dim = 16, .row_type = RowType::kInt8}, 400},
                                   {{.name = "w", .dim = 3, .id_kind = IdKind::kString}, 100}};
  group_ = std::make_unique<TestGroup>(tables, 2);
  AddVersion(5, tables, 2, 1);
  SetLive(5, 5);
  Lookup numbers{.table = "t", .dim = 16}, words{.table = "w", .dim = 3, .pooling = Pooling::kNone};
  words.id_kind = IdKind::kString;
  ASSERT_EQ(Make(SpecFor({numbers, words})), absl::OkStatus());
  const auto inputs = [](std::vector<int64_t> ids, std::vector<std::string> texts) {
    return std::vector<Tensor>{Tensor::Of<int64_t>({static_cast<int64_t>(ids.size()), 1}, absl::MakeConstSpan(ids)),
                               Tensor::OfStrings({static_cast<int64_t>(texts.size())}, absl::MakeConstSpan(texts))};
  };
  // Twice: the first answer tells the row types, by which rows are found.
  for (int i = 0; i < 2; ++i) {
    Start(inputs({1, 2, 3, 2}, {StringId(1), StringId(2)}), 5);
    EXPECT_EQ(AskedIds(), i == 0 ? 5 : 0);
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
  EXPECT_THAT(transport_.calls, IsEmpty());
  EXPECT_EQ((**outputs_)[0].data<float>()[0], TestGroup::Row(groups_[5]->table("t"), 1)[0]);
  EXPECT_EQ(metrics_.Value("portico_embedding_cache_ids_total"), 5 + 5);
  EXPECT_GT(metrics_.Value("portico_embedding_cache_bytes"), 0);
  EXPECT_LE(metrics_.Value("portico_embedding_cache_bytes"), static_cast<double>(kCacheBytes));
  // What is not kept is asked for, of its shard alone.
  Start(inputs({1, 2, 3, 6}, {StringId(1)}), 5);
  EXPECT_EQ(AskedIds(), 1);
  ASSERT_THAT(transport_.calls, SizeIs(1));
  EXPECT_EQ(ShardOf(transport_.calls[0]), 0u);
  AnswerAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  // A request without a revision, or of one that is not known here: nobody knows which version answers it.
  for (const uint64_t revision : {0, 4, 6}) {
    for (int i = 0; i < 2; ++i) {
      Start(inputs({1, 2}, {StringId(1)}), revision);
      EXPECT_EQ(AskedIds(), 3) << "revision " << revision;
      AnswerAll();
    }
  }
  // Shards of which a revision pins no version.
  revisions_[7] = CachedRevision(7, 2, 2);
  revisions_[7].models[1].pins.clear();
  SetLive(5, 7);
  for (int i = 0; i < 2; ++i) {
    Start(inputs({2, 4, 1}, {}), 7);
    EXPECT_EQ(AskedIds(), i == 0 ? 3 : 1);
    AnswerAll();
  }
  // Nor where requests are spread over versions.
  revisions_[8] = CachedRevision(8, 2, 2);
  revisions_[8].traffic["clicks.1of2"];
  SetLive(5, 8);
  Start(inputs({2, 4, 1}, {}), 8);
  EXPECT_EQ(AskedIds(), 1);
  AnswerAll();
}

TEST_F(EmbeddingBagTest, RowsThatMayExpireAreNotKept) {
  AddVersion(5, {{{.name = "t", .dim = 4}, 50}}, 1, 1);
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 4}})), absl::OkStatus());
  for (const bool expires : {true, true, false, false}) {
    Start({Tensor::Of<int64_t>({2, 1}, {1, 2})}, 5);
    if (transport_.calls.empty()) {
      EXPECT_FALSE(expires);
      return;
    }
    std::vector<Tensor> outputs = AnswerTo(transport_.calls.at(0));
    const auto said = outputs[LookupCall::kFound].data<int64_t>();
    std::vector<int64_t> found(said.begin(), said.end());
    if (expires) found[LookupCall::kRowType] += LookupCall::kMayExpire;
    outputs[LookupCall::kFound] = Tensor::Of<int64_t>({1, 4}, absl::MakeConstSpan(found));
    Reply(transport_.calls[0], std::move(outputs));
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
    EXPECT_EQ((**outputs_)[0].data<float>()[0], TestGroup::Row(groups_[5]->table("t"), 1)[0]);
  }
  FAIL() << "rows that last were asked for again";
}

TEST_F(EmbeddingBagTest, KeptRowsGiveTheSameBits) {
  std::vector<TestTable> tables;
  for (int type = 0; type < kRowTypes; ++type) {
    tables.push_back({{.name = absl::StrCat("t", type), .dim = 11, .row_type = static_cast<RowType>(type)}, 600});
  }
  group_ = std::make_unique<TestGroup>(tables, 3);
  revisions_[5] = CachedRevision(5, 3, 1);
  SetLive(5, 5);
  std::vector<Lookup> lookups;
  for (const TestTable& table : tables) {
    lookups.push_back({.table = table.spec.name, .dim = 11, .csr = true, .weighted = true});
  }
  ASSERT_EQ(Make(SpecFor(lookups)), absl::OkStatus());
  for (int round = 0; round < 60; ++round) {
    std::vector<Tensor> inputs;
    // Many bags of few ids: rows, whether they are kept or not.
    for (size_t i = 0; i < tables.size(); ++i) {
      std::vector<int64_t> ids, offsets;
      std::vector<float> weights;
      for (int bag = 0; bag < 200; ++bag) {
        offsets.push_back(static_cast<int64_t>(ids.size()));
        for (size_t n = Draw(4); n > 0; --n) {
          ids.push_back(static_cast<int64_t>(Draw(1 + 10 * static_cast<size_t>(round))));
          weights.push_back(1.0f / static_cast<float>(1 + Draw(50)));
        }
      }
      inputs.push_back(Tensor::Of<int64_t>({static_cast<int64_t>(ids.size())}, absl::MakeConstSpan(ids)));
      inputs.push_back(Tensor::Of<int64_t>({200}, absl::MakeConstSpan(offsets)));
      inputs.push_back(Tensor::Of<float>({static_cast<int64_t>(ids.size())}, absl::MakeConstSpan(weights)));
    }
    std::vector<std::string> bits[2];
    for (const uint64_t revision : {0, 5}) {
      Start(inputs, revision);
      for (const FakeTransport::Call& call : transport_.calls) {
        const auto entries = call.tensors[LookupCall::kEntries].data<int32_t>();
        for (size_t i = 0; i < entries.size(); i += LookupCall::kEntryColumns) {
          ASSERT_EQ(entries[i + LookupCall::kForm], revision == 0 ? 1 : 2) << "round " << round;
        }
      }
      AnswerAll();
      ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
      for (const Tensor& output : **outputs_) bits[revision != 0].emplace_back(output.bytes());
    }
    ASSERT_EQ(bits[0], bits[1]) << "round " << round;
  }
  EXPECT_GT(metrics_.Value("portico_embedding_cache_ids_total"), 10'000);
}

TEST_F(EmbeddingBagTest, WithACacheEachAnswerIsOfItsRequestsVersionAlone) {
  size_t quiet = 0, failed = 0;
  for (int scene = 0; scene < 2; ++scene) {
    groups_.clear();
    revisions_.clear();
    std::vector<TestTable> tables;
    for (size_t i = 0; i < 3; ++i) tables.push_back(RandomTable(random_, i));
    // Versions stay while shards become others, and come back; revisions that say nothing new are there, too.
    uint32_t shards = static_cast<uint32_t>(1 + Draw(kMaxShards));
    // A version's rows are the same forever.
    const auto draw_version = [&] { return 10 * static_cast<uint64_t>(scene) + 1 + Draw(5); };
    uint64_t version = draw_version(), newest = 0;
    tables_ = tables;
    const auto next = [&] {
      if (Draw(3) == 0) shards = static_cast<uint32_t>(1 + Draw(kMaxShards));
      if (Draw(3) != 0) version = draw_version();
      AddVersion(++newest, tables, shards, version);
      SetLive(newest - std::min<uint64_t>(newest - 1, 2), newest);
    };
    next();
    // Few portals, each asked many times, so that rows come to be kept.
    for (int portals = 0; portals < 4; ++portals) {
      const std::vector<Ask> asks = RandomAsks();
      for (int requests = 0; requests < 40; ++requests) {
        SCOPED_TRACE(absl::StrCat("scene ", scene, ", portal ", portals, ", request ", requests));
        if (Draw(16) == 0) next();
        const uint64_t revision = newest - std::min<uint64_t>(newest - 1, Draw(3));
        Start(InputsOf(asks), revision);
        quiet += transport_.calls.empty();
        const auto gone = static_cast<uint32_t>(Draw(2 * kMaxShards));
        AnswerAll(gone);
        FailOpen();
        ASSERT_TRUE(outputs_.has_value());
        if (!outputs_->ok()) {
          EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
          ++failed;
          continue;
        }
        Expect(asks);
        if (HasFatalFailure() || HasNonfatalFailure()) return;
      }
    }
  }
  EXPECT_GT(failed, 5u);
  EXPECT_GT(quiet, 0u) << "no request was answered from the cache alone";
}

TEST_F(EmbeddingBagTest, LargeBagsComeToBeAnsweredFromTheCache) {
  std::vector<TestTable> tables = {{{.name = "t", .dim = 16, .row_type = RowType::kInt8}, 2000}};
  AddVersion(5, tables, 2, 1);
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 16}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 1600; ++i) ids.push_back(i);
  // Sums until it is worth a try to learn the rows; from then on few are asked for: those whose sets are full.
  int64_t late = 0;
  for (int request = 0; request < 60; ++request) {
    std::shuffle(ids.begin(), ids.end(), random_);
    Start({Tensor::Of<int64_t>({100, 16}, absl::MakeConstSpan(ids))}, 5);
    if (request < 3) {
      EXPECT_EQ(transport_.calls.at(0).tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm], 0);
    }
    if (request >= 40) late += AskedIds();
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
  EXPECT_LT(late, 20 * 1600 / 10);
}

TEST_F(EmbeddingBagTest, ALargeRequestIsAddedUpByAWorker) {
  const std::vector<TestTable> tables = {{{.name = "t", .dim = 64, .row_type = RowType::kInt8}, 500}};
  AddVersion(5, tables, 2, 1);
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 64}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 2100; ++i) ids.push_back(i % 500);
  const auto ask = [&](size_t count) {
    Start({Tensor::Of<int64_t>({static_cast<int64_t>(count), 1}, absl::MakeConstSpan(ids).subspan(0, count))}, 5);
    AnswerAll();
  };
  ask(100);
  EXPECT_TRUE(outputs_.has_value());
  ask(2100);
  ASSERT_FALSE(outputs_.has_value());
  workers_.RunAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  for (size_t i = 0; i < ids.size(); i += 99) {
    EXPECT_EQ((**outputs_)[0].data<float>()[i * 64], TestGroup::Row(groups_[5]->table("t"), i % 500)[0]);
  }
  // Its rows are kept, nearly all, and nobody adds up for a client that has gone.
  ask(2100);
  EXPECT_LT(AskedIds(), 50);
  EXPECT_FALSE(outputs_.has_value());
  context_->Cancel();
  workers_.RunAll();
  EXPECT_EQ(Error().code(), absl::StatusCode::kCancelled);
}

/// Rows that are kept, of whatever version, stand in for a shard that is gone, and are told, each by what it is.
class LastKnownRowsTest : public EmbeddingBagTest {
 protected:
  static constexpr size_t kDim = 16;

  /// Version 1 answers all; then version 2 is current, of whose shard 1 nobody says anything.
  void Begin(const std::map<std::string, std::string>& defaults, const Lookup& lookup) {
    RoutePolicy policy;
    policy.retries = 0;
    policy.eject_after = 0;
    policy.eject_error_percent = 0;
    policy.on_error.kind = OnErrorPolicy::Kind::kLastKnown;
    policy.on_error.max_age = absl::Minutes(1);
    policy.on_error.defaults = defaults;
    ASSERT_EQ(router_->SetPolicies(policy, {}), absl::OkStatus());
    const std::vector<TestTable> tables = {{{.name = "t", .dim = kDim, .row_type = RowType::kFloat16}, 400}};
    AddVersion(5, tables, 2, 1);
    AddVersion(6, tables, 2, 2);
    SetLive(5, 6);
    ASSERT_EQ(Make(SpecFor({lookup})), absl::OkStatus());
  }
  /// Bags of one id: rows come.
  void Learn(std::vector<int64_t> ids, uint64_t revision) {
    Start({Tensor::Of<int64_t>({static_cast<int64_t>(ids.size()), 1}, absl::MakeConstSpan(ids))}, revision);
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
  /// Bags of two.
  void Ask(std::vector<int64_t> ids, uint64_t revision, std::optional<uint32_t> gone) {
    Start({Tensor::Of<int64_t>({static_cast<int64_t>(ids.size()) / 2, 2}, absl::MakeConstSpan(ids))}, revision);
    AnswerAll(gone);
  }
  float Want(uint64_t revision, std::vector<size_t> rows) {
    float sum = 0;
    for (const size_t row : rows) sum += TestGroup::Row(groups_[revision]->table("t"), row)[0];
    return sum;
  }
  float Got(size_t bag) const { return (**outputs_)[0].data<float>()[kDim * bag]; }
};

TEST_F(LastKnownRowsTest, RowsOfAnEarlierVersionStandInAndAreTold) {
  ASSERT_NO_FATAL_FAILURE(Begin({{"t", "0.5"}}, {.table = "t", .dim = kDim}));
  // Shard 1 has the odd ids.
  ASSERT_NO_FATAL_FAILURE(Learn({1, 3, 5, 2, 4, 6}, 5));
  clock_.now += absl::Seconds(12);
  Ask({1, 3, 5, 2, 4, 6, 7, 8, 1, 9}, 6, 1);
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_FLOAT_EQ(Got(0), Want(5, {1, 3}));
  EXPECT_FLOAT_EQ(Got(1), Want(5, {5}) + Want(6, {2}));
  EXPECT_FLOAT_EQ(Got(2), Want(6, {4, 6}));
  EXPECT_FLOAT_EQ(Got(3), 0.5f + Want(6, {8}));
  EXPECT_FLOAT_EQ(Got(4), Want(5, {1}) + 0.5f);
  const std::vector<RowNote> notes = context_->row_notes.Notes();
  ASSERT_THAT(notes, SizeIs(2));
  EXPECT_EQ(notes[0].portal, "clicks.1of2");
  EXPECT_EQ(notes[0].kind, "last_known");
  EXPECT_THAT(notes[0].rows, ElementsAre(RowRange{0, 2}, RowRange{4, 1}));
  EXPECT_THAT(notes[0].why.message(), AllOf(HasSubstr("up to 12s ago"), HasSubstr("gone")));
  EXPECT_EQ(notes[1].kind, "defaults");
  EXPECT_THAT(notes[1].rows, ElementsAre(RowRange{3, 2}));
  EXPECT_THAT(context_->fallbacks.Joined(), AllOf(HasSubstr("clicks=last_known"), HasSubstr("clicks=defaults")));
  EXPECT_EQ(metrics_.Value("portico_embedding_bags_touched_total"), 3 + 2);
  // What stood in is not taken for version 2: asked again, the shard answers.
  Ask({1, 3}, 6, {});
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_FLOAT_EQ(Got(0), Want(6, {1, 3}));
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(LastKnownRowsTest, WithoutNumbersARowThatIsNotKeptFailsTheRequest) {
  ASSERT_NO_FATAL_FAILURE(Begin({}, {.table = "t", .dim = kDim}));
  ASSERT_NO_FATAL_FAILURE(Learn({1, 3}, 5));
  Ask({1, 3}, 6, 1);
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  Ask({1, 9}, 6, 1);
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("gone"), HasSubstr("table 't': got a row that is not kept")));
  EXPECT_TRUE(context_->row_notes.empty());
}

TEST_F(LastKnownRowsTest, RowsThatAreTooOldDoNotStandIn) {
  ASSERT_NO_FATAL_FAILURE(Begin({{"t", "2"}}, {.table = "t", .dim = kDim}));
  ASSERT_NO_FATAL_FAILURE(Learn({1, 3}, 5));
  clock_.now += absl::Seconds(61);
  Ask({1, 3}, 6, 1);
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_FLOAT_EQ(Got(0), 4);
  ASSERT_THAT(context_->row_notes.Notes(), SizeIs(1));
  EXPECT_EQ(context_->row_notes.Notes()[0].kind, "defaults");
}

TEST_F(LastKnownRowsTest, SumsAreMadeOfTheRowsThatAreKept) {
  ASSERT_NO_FATAL_FAILURE(Begin({{"t", "0.25"}}, {.table = "t", .dim = kDim, .weighted = true}));
  const auto ask = [&](size_t width, std::vector<int64_t> ids, uint64_t revision, std::optional<uint32_t> gone) {
    std::vector<float> weights;
    for (size_t i = 0; i < ids.size(); ++i) weights.push_back(static_cast<float>(i % 3) + 0.5f);
    const Shape shape = {static_cast<int64_t>(ids.size() / width), static_cast<int64_t>(width)};
    Start(
        {Tensor::Of<int64_t>(shape, absl::MakeConstSpan(ids)), Tensor::Of<float>(shape, absl::MakeConstSpan(weights))},
        revision);
    const bool sums = transport_.calls.at(0).tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm] == 0;
    AnswerAll(gone);
    return sums;
  };
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 60; ++i) ids.push_back(i);
  EXPECT_FALSE(ask(1, ids, 5, {}));
  // Bags of 60: sums. Of the second one nothing is kept.
  for (int64_t i = 300; i < 360; ++i) ids.push_back(i);
  EXPECT_TRUE(ask(60, ids, 6, 1));
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  float want[2] = {0, 0};
  for (size_t i = 0; i < ids.size(); ++i) {
    const float weight = static_cast<float>(i % 3) + 0.5f;
    const auto row = static_cast<size_t>(ids[i]);
    want[i / 60] += weight * (row % 2 == 0 ? Want(6, {row}) : i < 60 ? Want(5, {row}) : 0.25f);
  }
  EXPECT_NEAR(Got(0), want[0], 1e-3);
  EXPECT_NEAR(Got(1), want[1], 1e-3);
  const std::vector<RowNote> notes = context_->row_notes.Notes();
  ASSERT_THAT(notes, SizeIs(2));
  EXPECT_THAT(notes[0].rows, ElementsAre(RowRange{0, 1}));
  EXPECT_EQ(notes[1].kind, "defaults");
  EXPECT_THAT(notes[1].rows, ElementsAre(RowRange{1, 1}));
}

TEST_F(EmbeddingBagTest, PoliciesThatMakeNoSenseForRowsAreRefused) {
  RoutePolicy policy;
  policy.on_error.kind = OnErrorPolicy::Kind::kLastKnown;
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  absl::Status made = MakeUsual(2);
  EXPECT_EQ(made.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(made.message(), AllOf(HasSubstr("tables 'clicks'"), HasSubstr("got last_known where no rows are kept"),
                                    HasSubstr("cache_mib")));
  // A revision that would take the cache away is refused as well.
  const Revision cached = CachedRevision(2, 2, 1);
  router_->tables().Set({&cached}, 2);
  EXPECT_EQ(Make(SpecFor({{.table = "users", .dim = 4}})), absl::OkStatus());
  Revision next = cached;
  next.policies["clicks"] = policy;
  EXPECT_EQ(portal_->AcceptsPolicies(next), absl::OkStatus());
  next.tables[0].cache_bytes = 0;
  EXPECT_THAT(portal_->AcceptsPolicies(next).message(), HasSubstr("cache_mib"));
  policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
  policy.on_error.defaults = {{"users", "0"}, {"pages", "much"}};
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  EXPECT_THAT(MakeUsual(2).message(), HasSubstr("pages: got 'much', want a finite number"));
  policy.on_error.defaults["pages"] = "1";
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  EXPECT_THAT(MakeUsual(2).message(), HasSubstr("got no number for table 'words'"));
  policy.on_error.defaults["words"] = "1";
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  EXPECT_EQ(MakeUsual(2), absl::OkStatus());
}

}  // namespace
}  // namespace portico
