#include "tests/remote_op/embedding_bag_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

TEST_F(EmbeddingBagTest, RowsThatMayExpireAreNotLearned) {
  AddVersion(5, {{{.name = "t", .dim = 4}, 200}}, 1, 1);
  AddVersion(6, {{{.name = "t", .dim = 4}, 200}}, 1, 2);
  SetLive(5, 6);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 4}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 128; ++i) ids.push_back(i);
  // Bags of 16, for which sums are fewer bytes.
  const auto asks_for_rows = [&](uint64_t revision) {
    Start({Tensor::Of<int64_t>({8, 16}, absl::MakeConstSpan(ids))}, revision);
    if (transport_.calls.empty()) return false;
    const bool rows = transport_.calls.at(0).tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm] != 0;
    std::vector<Tensor> outputs = AnswerTo(transport_.calls[0]);
    const auto said = outputs[LookupCall::kFound].data<int64_t>();
    std::vector<int64_t> found(said.begin(), said.end());
    if (rows && revision == 5) found[LookupCall::kRowType] += LookupCall::kMayExpire;
    outputs[LookupCall::kFound] = Tensor::Of<int64_t>({1, 4}, absl::MakeConstSpan(found));
    Reply(transport_.calls[0], std::move(outputs));
    return rows;
  };
  int learned = 0;
  for (int i = 0; i < 40; ++i) learned += asks_for_rows(5);
  EXPECT_EQ(learned, 1) << "rows that are never kept were asked for to be kept";
  // Another version may be another thing.
  for (int i = 0; i < 40; ++i) learned += asks_for_rows(6);
  EXPECT_GT(learned, 1);
}

TEST_F(EmbeddingBagTest, WithoutAnyPinNothingIsLookedForOrLearned) {
  group_ = std::make_unique<TestGroup>(std::vector<TestTable>{{{.name = "t", .dim = 4}, 200}}, 2);
  revisions_[5] = CachedRevision(5, 2, 1);
  for (Revision::Model& model : revisions_[5].models) model.pins.clear();
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 4}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 128; ++i) ids.push_back(i);
  for (int i = 0; i < 20; ++i) {
    Start({Tensor::Of<int64_t>({8, 16}, absl::MakeConstSpan(ids))}, 5);
    for (const FakeTransport::Call& call : transport_.calls) {
      EXPECT_EQ(call.tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm], 0) << "request " << i;
    }
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
}

TEST_F(EmbeddingBagTest, LearningRowsMakesNoRequestTooLarge) {
  constexpr size_t kLookups = 10;
  constexpr int64_t kBags = 5400, kWidth = 3;
  revisions_[5] = CachedRevision(5, 1, 1);
  SetLive(5, 5);
  const std::vector<Lookup> lookups(kLookups, Lookup{.table = "t", .dim = 1024});
  ASSERT_EQ(Make(SpecFor(lookups)), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < kBags * kWidth; ++i) ids.push_back(i);
  const std::vector<Tensor> inputs(kLookups, Tensor::Of<int64_t>({kBags, kWidth}, absl::MakeConstSpan(ids)));
  // Rows of all would be 663 MB, where 512 MiB are allowed.
  int64_t most = 0;
  for (int request = 0; request < 8; ++request) {
    Start(inputs, 5);
    ASSERT_THAT(transport_.calls, SizeIs(1)) << "request " << request << ": " << Error();
    const auto entries = transport_.calls[0].tensors[LookupCall::kEntries].data<int32_t>();
    int64_t rows = 0;
    for (size_t i = 0; i < entries.size(); i += LookupCall::kEntryColumns) {
      if (entries[i + LookupCall::kForm] != 0) rows += entries[i + LookupCall::kIdCount];
    }
    most = std::max(most, rows);
    transport_.calls[0].Fail(absl::InvalidArgumentError("enough"));
  }
  EXPECT_EQ(most, kBags * kWidth) << "want one lookup to learn its rows";
}

TEST_F(EmbeddingBagTest, WithoutACacheAnyMoreTheFigureSaysSo) {
  AddVersion(5, {{{.name = "t", .dim = 4}, 50}}, 1, 1);
  AddVersion(6, {{{.name = "t", .dim = 4}, 50}}, 1, 1);
  revisions_[6].tables[0].cache_bytes = 0;
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 4}})), absl::OkStatus());
  for (const uint64_t revision : {5, 5, 6}) {
    if (revision == 6) {
      EXPECT_GT(metrics_.Value("portico_embedding_cache_bytes"), 0);
      SetLive(6, 6);
    }
    Start({Tensor::Of<int64_t>({2, 1}, {1, 2})}, revision);
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
  EXPECT_EQ(metrics_.Value("portico_embedding_cache_bytes"), 0);
}

TEST_F(EmbeddingBagTest, WhatWorkersStillAddUpOnceTheRouterHasStoppedIsAnswered) {
  AddVersion(5, {{{.name = "t", .dim = 64, .row_type = RowType::kInt8}, 500}}, 2, 1);
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 64}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 2100; ++i) ids.push_back(i % 500);
  Start({Tensor::Of<int64_t>({2100, 1}, absl::MakeConstSpan(ids))}, 5);
  AnswerAll();
  ASSERT_FALSE(outputs_.has_value());
  router_->Stop();
  workers_.RunAll();
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  // As the next step of its graph would.
  Start({Tensor::Of<int64_t>({3, 1}, {497, 498, 499})}, 0);
  EXPECT_EQ(Error().code(), absl::StatusCode::kCancelled);
}

TEST_F(EmbeddingBagTest, ManyRowsAreKeptByAWorkerOnceTheAnswerIsOut) {
  AddVersion(5, {{{.name = "t", .dim = 4}, 3000}}, 2, 1);
  SetLive(5, 5);
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 4}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 3000; ++i) ids.push_back(i);
  for (const bool kept : {false, false, true}) {
    if (kept) workers_.RunAll();
    Start({Tensor::Of<int64_t>({3000, 1}, absl::MakeConstSpan(ids))}, 5);
    EXPECT_EQ(AskedIds() < 1500, kept) << AskedIds();
    AnswerAll();
    ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  }
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

TEST_F(LastKnownRowsTest, APortalThatHasAskedForNothingYetFindsWhatOthersKept) {
  ASSERT_NO_FATAL_FAILURE(Begin({}, {.table = "t", .dim = kDim}));
  ASSERT_NO_FATAL_FAILURE(Learn({1, 3, 2}, 5));
  // As the model's next version has it.
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = kDim}})), absl::OkStatus());
  Ask({1, 3}, 6, 1);
  ASSERT_TRUE(outputs_.has_value() && outputs_->ok()) << Error();
  EXPECT_FLOAT_EQ(Got(0), Want(5, {1, 3}));
}

TEST_F(EmbeddingBagTest, WhatWouldStandInIsBoundedAsNumbers) {
  constexpr int64_t kBags = 60'000;
  RoutePolicy policy;
  policy.retries = 0;
  policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
  policy.on_error.defaults = {{"t", "1"}};
  ASSERT_EQ(router_->SetPolicies(policy, {}), absl::OkStatus());
  const Revision revision = RevisionWith(1, 1);
  router_->tables().Set({&revision}, 1);
  router_->tables().RowTypeOf("clicks", "t") = RowType::kInt8;
  ASSERT_EQ(Make(SpecFor({{.table = "t", .dim = 1024}})), absl::OkStatus());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 3 * kBags; ++i) ids.push_back(i);
  // 186 MB as the table has them, 737 MB as numbers.
  Start({Tensor::Of<int64_t>({kBags, 3}, absl::MakeConstSpan(ids))});
  ASSERT_THAT(transport_.calls, SizeIs(1));
  EXPECT_EQ(transport_.calls[0].tensors[LookupCall::kEntries].data<int32_t>()[LookupCall::kForm], 1);
  transport_.calls[0].Fail(absl::UnavailableError("gone"));
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error().message(), AllOf(HasSubstr("gone"), HasSubstr("got 737280000 bytes of numbers"),
                                       HasSubstr("send fewer rows at once")));
}

TEST_F(EmbeddingBagTest, ACacheThatCouldNotBeMadeIsNamedWhereRowsAreToStandIn) {
  RoutePolicy policy;
  policy.on_error.kind = OnErrorPolicy::Kind::kLastKnown;
  ASSERT_EQ(router_->SetPolicies(RoutePolicy(), {{"clicks", policy}}), absl::OkStatus());
  const Revision revision = CachedRevision(1, 2, 1, uint64_t{1} << 60);
  router_->tables().Set({&revision}, 1);
  const absl::Status made = Make(SpecFor({{.table = "t", .dim = 4}}));
  EXPECT_EQ(made.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(made.message(), HasSubstr("could not be made"));
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
