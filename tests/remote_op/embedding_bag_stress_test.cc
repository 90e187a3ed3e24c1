// A portal of tables under several threads: answers, failures, calls that are taken back and a map that changes, all at
// once.

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "embedding/lookup_call.h"
#include "embedding/shard_map.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/remote_spec.h"
#include "tests/remote_op/threaded_transport.h"

namespace portico {
namespace {

constexpr uint32_t kShards[] = {2, 5};

/// A shard of a table of dense ids, whose rows are {id, number of shards}.
PeerMessage AnswerTo(const std::string& servable, const std::vector<Tensor>& tensors) {
  uint32_t shard = 0, shards = 0;
  EXPECT_EQ(std::sscanf(servable.c_str(), "t.%uof%u", &shard, &shards), 2);
  const ShardMap map(shards);
  const int32_t* const entry = tensors[LookupCall::kEntries].data<int32_t>().data();
  const absl::Span<const int64_t> ids = tensors[LookupCall::kIds].data<int64_t>();
  std::vector<float> rows;
  const auto id_of = [&](int64_t row) { return static_cast<float>(map.DenseId(shard, static_cast<uint64_t>(row))); };
  if (entry[LookupCall::kForm] != static_cast<int32_t>(LookupForm::kSums)) {
    for (const int64_t row : ids) rows.insert(rows.end(), {id_of(row), static_cast<float>(shards)});
  } else {
    size_t next = 0;
    for (const int32_t length : tensors[LookupCall::kLengths].data<int32_t>()) {
      float sum = 0;
      for (int32_t i = 0; i < length; ++i) sum += id_of(ids[next++]);
      rows.insert(rows.end(), {sum, static_cast<float>(length) * static_cast<float>(shards)});
    }
  }
  PeerMessage reply;
  reply.header.tensors.resize(LookupCall::kOutputs);
  for (int i = 0; i < LookupCall::kOutputs; ++i) reply.header.tensors[i].name = LookupCall::kOutputNames[i];
  const auto bytes = static_cast<int64_t>(rows.size() * sizeof(float));
  reply.tensors.push_back(
      Tensor::CopyOf(DType::kUint8, {bytes},
                     absl::string_view(reinterpret_cast<const char*>(rows.data()), static_cast<size_t>(bytes))));
  reply.tensors.push_back(Tensor::Of<int64_t>({1, LookupCall::kFoundColumns}, {0, 0, 2, 0}));
  return reply;
}

struct Case {
  const char* name;
  unsigned fails;
  bool defaults;
  bool keeps = false;
};

class EmbeddingBagStressTest : public ::testing::TestWithParam<Case> {};

TEST_P(EmbeddingBagStressTest, EveryRequestIsAnsweredOnceAndRightly) {
  constexpr int kCallers = 3, kRequests = 300;
  std::map<std::string, std::vector<std::string>> peers;
  for (const uint32_t shards : kShards) {
    for (uint32_t k = 0; k < shards; ++k) peers[ShardName("t", k, shards)] = {absl::StrCat("x://", k, "of", shards)};
  }
  const StaticResolver resolver(peers);
  ThreadedTransport transport(GetParam().fails, AnswerTo);
  Router::Options options;
  options.default_policy.eject_after = 0;
  options.default_policy.eject_error_percent = 0;
  options.default_policy.retries = 0;
  if (GetParam().defaults) {
    options.default_policy.on_error.kind = OnErrorPolicy::Kind::kDefaults;
    options.default_policy.on_error.defaults["t"] = "-1";
  }
  auto router = *Router::Create(std::move(options), transport, resolver, Clock::Real(), MetricRegistry::Null());
  std::vector<Revision> revisions(2);
  for (size_t i = 0; i < 2; ++i) {
    revisions[i].number = i + 1;
    revisions[i].tables.push_back({"t", "/t", kShards[i], GetParam().keeps ? uint64_t{1} << 20 : 0});
    for (uint32_t k = 0; k < kShards[i]; ++k) {
      Revision::Model& model = revisions[i].models.emplace_back();
      model.name = ShardName("t", k, kShards[i]);
      model.pins = {{1, Sha256(model.name)}};
    }
  }
  router->tables().Set({&revisions[0], &revisions[1]}, 1);
  PortalSpec spec;
  spec.op_type = "EmbeddingBag";
  spec.node_name = "bags";
  spec.target = "t";
  spec.outputs = {SpecOf("y", DType::kFloat, {{-1, "N"}, {2, ""}})};
  spec.embedding.emplace();
  spec.embedding->inputs = 1;
  spec.embedding->lookups.push_back({.table = "t", .dim = 2, .ids = 0});
  auto portal = NewPortal(spec, *router);
  ASSERT_TRUE(portal.ok()) << portal.status();
  std::atomic<int> answered{0}, right{0};
  const auto caller = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < kRequests; ++i) {
      const auto rows = static_cast<int64_t>(1 + random() % 20), width = static_cast<int64_t>(1 + random() % 6);
      std::vector<int64_t> ids;
      for (int64_t n = 0; n < rows * width; ++n) {
        ids.push_back(static_cast<int64_t>(random() % (n % 2 == 0 ? 200 : 50'000)));
      }
      auto context = MakeRef<RequestContext>();
      context->revision = random() % 3;
      std::atomic<bool> done{false};
      (*portal)->Run(context, {Tensor::Of<int64_t>({rows, width}, absl::MakeConstSpan(ids))},
                     [&](absl::StatusOr<std::vector<Tensor>> outputs) {
                       EXPECT_TRUE(outputs.ok() || (GetParam().fails > 0 && !GetParam().defaults)) << outputs.status();
                       bool all = outputs.ok() && context->row_notes.empty();
                       for (int64_t row = 0; all && row < rows; ++row) {
                         float sum = 0;
                         for (int64_t n = 0; n < width; ++n) sum += static_cast<float>(ids[row * width + n]);
                         EXPECT_EQ((*outputs)[0].data<float>()[2 * row], sum);
                         const float shards = (*outputs)[0].data<float>()[2 * row + 1] / static_cast<float>(width);
                         if (context->revision != 0) {
                           EXPECT_EQ(shards, static_cast<float>(kShards[context->revision - 1]));
                         }
                       }
                       right += all;
                       ++answered;
                       done = true;
                     });
      while (!done) std::this_thread::yield();
    }
  };
  std::atomic<bool> over{false};
  std::thread flips([&] {
    while (!over) {
      for (const uint64_t current : {2, 1}) router->tables().Set({&revisions[0], &revisions[1]}, current);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) callers.emplace_back(caller, static_cast<unsigned>(i));
  for (std::thread& thread : callers) thread.join();
  over = true;
  flips.join();
  EXPECT_EQ(answered, kCallers * kRequests);
  EXPECT_GT(right, 0);
  if (GetParam().fails == 0) {
    EXPECT_EQ(right, kCallers * kRequests);
  }
  // What was taken back may still be on its way: the portal may go before it.
  portal->reset();
  router.reset();
}

INSTANTIATE_TEST_SUITE_P(Ways, EmbeddingBagStressTest,
                         ::testing::Values(Case{"AllAnswer", 0, false}, Case{"SomeFail", 5, false},
                                           Case{"DefaultsStandIn", 5, true},
                                           Case{"AllAnswerAndRowsAreKept", 0, false, true},
                                           Case{"SomeFailAndRowsAreKept", 5, false, true}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace portico
