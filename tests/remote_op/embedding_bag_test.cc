#include "tests/remote_op/embedding_bag_fixture.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

TEST_F(EmbeddingBagTest, AnIdThatATableDoesNotHaveIsNamedAsItWasSent) {
  const TableSpec dense{.name = "user.weight", .dim = 4};
  const TableSpec sparse{.name = "pages", .dim = 4, .id_kind = IdKind::kSparse};
  const TableSpec string{.name = "words", .dim = 4, .id_kind = IdKind::kString};
  SetTables({{dense, 5000}, {sparse, 100}, {string, 100}}, 3);
  const auto error_of = [&](Lookup lookup, Tensor ids) {
    lookup.dim = 4;
    EXPECT_EQ(Make(SpecFor({lookup})), absl::OkStatus());
    Start({std::move(ids)});
    for (size_t i = 0; i < transport_.calls.size() && !outputs_.has_value(); ++i) {
      FakeTransport::Call& call = transport_.calls[i];
      auto lookup_there = ShardLookup::Read(group_->shard(ShardOf(call)), call.tensors);
      PORTICO_CHECK(lookup_there.ok());
      auto answer = lookup_there->Run();
      if (answer.ok()) {
        Reply(call, *std::move(answer));
        continue;
      }
      PeerHeader header;
      header.code = static_cast<uint32_t>(answer.status().code());
      header.message = answer.status().message();
      call.Reply(header);
    }
    EXPECT_EQ(Error().code(), absl::StatusCode::kOutOfRange);
    return std::string(Error().message());
  };
  const Lookup users{.table = "user.weight", .pooling = Pooling::kNone};
  EXPECT_THAT(error_of(users, Tensor::Of<int64_t>({2}, {7, 5000})),
              HasSubstr("table 'user.weight': id 1: got 5000, want less than 5000; or declare"));
  // The same id twice is sent once.
  EXPECT_THAT(error_of(users, Tensor::Of<int64_t>({5}, {2, 2, 0, 123456789, 123456789})),
              HasSubstr("table 'user.weight': id 3: got 123456789, want less than 5"));
  // Many ids a bag: sums are asked for.
  std::vector<int64_t> ids(64);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  ids[40] = 5003;
  const Lookup sums{.table = "user.weight", .pooling = Pooling::kSum};
  EXPECT_THAT(error_of(sums, Tensor::Of<int64_t>({4, 16}, absl::MakeConstSpan(ids))),
              AllOf(HasSubstr("table 'user.weight': bag 2: got 5003, want less than 500"), HasSubstr("; or declare")));
  const Lookup pages{.table = "pages", .pooling = Pooling::kNone, .id_kind = IdKind::kSparse};
  EXPECT_THAT(error_of(pages, Tensor::Of<int64_t>({3}, {SparseId(1), SparseId(2), SparseId(500)})),
              HasSubstr(absl::StrCat("table 'pages': id 2: got ", SparseId(500), ", which the table does not have")));
  const Lookup words{.table = "words", .pooling = Pooling::kNone, .id_kind = IdKind::kString};
  EXPECT_THAT(error_of(words, Tensor::OfStrings({3}, std::vector<std::string>{StringId(1), StringId(2), "none"})),
              HasSubstr("table 'words': id 2: got 'none', which the table does not have"));
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

}  // namespace
}  // namespace portico
