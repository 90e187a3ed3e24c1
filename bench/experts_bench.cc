// A portal `Experts` over tcp:// to a node that serves the experts, beside the same computation in one process and
// beside one call per row and expert. Requests of 64 rows, eight under way; all on the same cores.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "base/rows.h"
#include "bench/latency_histogram.h"
#include "bench/scenarios.h"
#include "models/runtime/session.h"
#include "node/node.h"
#include "remote_op/portal.h"
#include "remote_op/weighted_rows.h"
#include "router/expert_choice.h"
#include "router/static_resolver.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 5;
constexpr absl::Duration kRound = absl::Milliseconds(400);
constexpr int kInFlight = 8;
constexpr int64_t kRows = 64;
constexpr int64_t kIn = 64, kHidden = 256, kOut = 16;

/// y[N,16] = relu(x · a) · b.
ModelBuilder ExpertModel(int expert) {
  std::mt19937 random(static_cast<unsigned>(expert) + 1);
  std::normal_distribution<float> normal(0, 0.1f);
  const auto weights = [&](int64_t rows, int64_t columns) {
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) value = normal(random);
    return Tensor::Of<float>({rows, columns}, absl::MakeConstSpan(values));
  };
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", kIn}).Output("y", DType::kFloat, {"N", kOut});
  model.Initializer("a", weights(kIn, kHidden)).Initializer("b", weights(kHidden, kOut));
  model.Node("MatMul", {"x", "a"}, {"h"}).Node("Relu", {"h"}, {"r"}).Node("MatMul", {"r", "b"}, {"y"});
  return model;
}

using Done = std::function<void(Tensor)>;

/// One way to answer a request.
class Way {
 public:
  virtual ~Way() = default;
  /// `done` gets y[N,16]; on any thread, later.
  virtual void Answer(const Tensor& gate, const Tensor& x, Done done) = 0;
};

Tensor Combine(const ExpertChoice& choice, const std::function<const float*(int32_t slot)>& answer_of) {
  Tensor sum = Tensor::Allocate(DType::kFloat, {choice.rows(), kOut});
  const std::vector<uint8_t> answered(static_cast<size_t>(choice.rows() * choice.k()), 1);
  int32_t slots[ExpertsSpec::kMaxK];
  float weights[ExpertsSpec::kMaxK];
  for (int64_t row = 0; row < choice.rows(); ++row) {
    float* const to = reinterpret_cast<float*>(sum.mutable_bytes()) + row * kOut;
    const int count = choice.Weigh(row, answered, slots, weights);
    for (int i = 0; i < count; ++i) {
      (i == 0 ? SetWeighted : AddWeighted)(to, answer_of(slots[i]), weights[i], kOut);
    }
  }
  return sum;
}

/// ONNX Runtime's sessions of all experts in this process, a thread per core.
class OneProcess final : public Way {
 public:
  explicit OneProcess(const ExpertChoice::Rule& rule) : rule_(rule) {
    for (int e = 0; e < rule.experts; ++e) {
      auto session = Session::Create(ExpertModel(e).Serialize(), {}, {.name = absl::StrCat("e", e)});
      PORTICO_CHECK(session.ok());
      sessions_.push_back(*std::move(session));
    }
  }
  void Answer(const Tensor& gate, const Tensor& x, Done done) override {
    pool_.Schedule([this, gate, x, done = std::move(done)] {
      ExpertChoice choice(rule_, gate.data<float>());
      std::vector<Tensor> answers;
      std::vector<const float*> places(static_cast<size_t>(choice.rows() * choice.k()));
      for (const ExpertChoice::Part& part : choice.Parts()) {
        std::vector<int64_t> rows;
        for (const int32_t slot : part.slots) rows.push_back(slot / choice.k());
        auto outputs = sessions_[static_cast<size_t>(part.expert)]->Run({TakeRows(x, rows)});
        PORTICO_CHECK(outputs.ok());
        answers.push_back(outputs->front());
        for (size_t i = 0; i < part.slots.size(); ++i) {
          places[static_cast<size_t>(part.slots[i])] = answers.back().data<float>().data() + i * kOut;
        }
      }
      done(Combine(choice, [&](int32_t slot) { return places[static_cast<size_t>(slot)]; }));
    });
  }

 private:
  const ExpertChoice::Rule rule_;
  std::vector<std::unique_ptr<Session>> sessions_;
  ThreadPool pool_{{}};
};

/// The portal.
class OneCallPerExpert final : public Way {
 public:
  OneCallPerExpert(const ExpertChoice::Rule& rule, Router& router) {
    PortalSpec spec;
    spec.op_type = "Experts";
    spec.node_name = "experts";
    spec.signature = std::string(kDefaultSignature);
    spec.input_names = {"x"};
    spec.outputs.emplace_back();
    spec.outputs[0].name = "y";
    spec.outputs[0].dtype = DType::kFloat;
    spec.outputs[0].dims = {{-1, "N"}, {kOut, ""}};
    spec.experts.emplace();
    for (int e = 0; e < rule.experts; ++e) spec.experts->targets.push_back({absl::StrCat("e", e), Digest()});
    spec.experts->k = spec.experts->k_min = rule.k;
    auto portal = NewPortal(spec, router);
    PORTICO_CHECK(portal.ok());
    portal_ = *std::move(portal);
    while (!portal_->Health().ok()) absl::SleepFor(absl::Milliseconds(5));
  }
  void Answer(const Tensor& gate, const Tensor& x, Done done) override {
    portal_->Run(MakeRef<RequestContext>(), {gate, x},
                 [done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) {
                   PORTICO_CHECK(outputs.ok());
                   done(outputs->front());
                 });
  }

 private:
  std::unique_ptr<Portal> portal_;
};

/// What systems do that know no rows.
class OneCallPerRow final : public Way {
 public:
  OneCallPerRow(const ExpertChoice::Rule& rule, Router& router) : rule_(rule), router_(router) {
    for (int e = 0; e < rule.experts; ++e) {
      RouteTarget& target = targets_.emplace_back();
      target.servable.name = absl::StrCat("e", e);
      target.signature = std::string(kDefaultSignature);
      target.input_names = {"x"};
    }
  }
  void Answer(const Tensor& gate, const Tensor& x, Done done) override {
    auto request = std::make_shared<Request>(rule_, gate, std::move(done));
    const Ref<const RequestContext> context = MakeRef<RequestContext>();
    for (int64_t row = 0; row < request->choice.rows(); ++row) {
      for (int i = 0; i < rule_.k; ++i) {
        const auto slot = static_cast<size_t>(row * rule_.k + i);
        const int32_t expert = request->choice.ExpertsOf(row)[static_cast<size_t>(i)];
        router_.Call(targets_[static_cast<size_t>(expert)], context, {x.Slice(row, 1)},
                     [request, slot](absl::StatusOr<PeerMessage> reply) {
                       PORTICO_CHECK(reply.ok());
                       request->answers[slot] = reply->tensors[0].Aligned();
                       if (request->out.fetch_sub(1) != 1) return;
                       request->done(Combine(request->choice, [&](int32_t at) {
                         return request->answers[static_cast<size_t>(at)].data<float>().data();
                       }));
                     });
      }
    }
  }

 private:
  struct Request {
    Request(const ExpertChoice::Rule& rule, const Tensor& gate, Done done)
        : gate(gate),
          choice(rule, gate.data<float>()),
          answers(static_cast<size_t>(choice.rows() * choice.k())),
          out(static_cast<int>(answers.size())),
          done(std::move(done)) {}
    const Tensor gate;
    const ExpertChoice choice;
    std::vector<Tensor> answers;
    std::atomic<int> out;
    const Done done;
  };
  const ExpertChoice::Rule rule_;
  Router& router_;
  std::vector<RouteTarget> targets_;
};

struct Sample {
  double rows_per_s = 0;
  double p99_ms = 0;
};

/// Keeps kInFlight requests under way for a while.
Sample Measure(Way& way, const std::vector<Tensor>& gates, const Tensor& x, absl::Duration length) {
  struct State {
    LatencyHistogram latency;
    std::atomic<int64_t> next{0};
    Mutex mutex;
    CondVar ended;
    int under_way ABSL_GUARDED_BY(mutex) = kInFlight;
  } state;
  const absl::Time start = absl::Now();
  std::function<void()> send = [&] {
    const absl::Time sent = absl::Now();
    if (sent - start >= length) {
      MutexLock lock(&state.mutex);
      if (--state.under_way == 0) state.ended.NotifyOne();
      return;
    }
    const auto which = static_cast<size_t>(state.next.fetch_add(1)) % gates.size();
    way.Answer(gates[which], x, [&, sent](const Tensor&) {
      state.latency.Add(absl::Now() - sent);
      send();
    });
  };
  for (int i = 0; i < kInFlight; ++i) send();
  MutexLock lock(&state.mutex);
  while (state.under_way > 0) state.ended.Wait(&state.mutex);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return {static_cast<double>(state.latency.count() * kRows) / seconds,
          absl::ToDoubleMilliseconds(state.latency.Percentile(0.99))};
}

Tensor AnswerNow(Way& way, const Tensor& gate, const Tensor& x) {
  Mutex mutex;
  CondVar came;
  Tensor answer;
  way.Answer(gate, x, [&](Tensor got) {
    MutexLock lock(&mutex);
    answer = std::move(got);
    came.NotifyOne();
  });
  MutexLock lock(&mutex);
  while (!answer.valid()) came.Wait(&mutex);
  return answer;
}

void Run(int experts, Report& report) {
  const TempFolder folder;
  Node::Options options;
  options.name = "experts";
  options.peer = "tcp://127.0.0.1:0";
  for (int e = 0; e < experts; ++e) {
    const std::string name = absl::StrCat("e", e);
    ExpertModel(e).WriteTo(folder.File(name + "/1/model.onnx"));
    options.models.push_back({name, folder.Folder(name)});
  }
  auto node = Node::Start(std::move(options));
  PORTICO_CHECK(node.ok());
  std::map<std::string, std::vector<std::string>> peers;
  for (int e = 0; e < experts; ++e) peers[absl::StrCat("e", e)] = {(*node)->peer_endpoint()};
  const StaticResolver resolver(peers);
  const auto transport = NewTransports({}, Clock::Real());
  const auto router = Router::Create({}, *transport, resolver, Clock::Real(), MetricRegistry::Null());
  PORTICO_CHECK(router.ok());

  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const auto draw = [&](int64_t rows, int64_t columns) {
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) value = normal(random);
    return Tensor::Of<float>({rows, columns}, absl::MakeConstSpan(values));
  };
  const Tensor x = draw(kRows, kIn);
  std::vector<Tensor> gates;
  for (int i = 0; i < 32; ++i) gates.push_back(draw(kRows, experts));

  for (const int k : {1, 2}) {
    const ExpertChoice::Rule rule{experts, k, ExpertWeights::kSoftmax, 0};
    OneCallPerExpert mesh(rule, **router);
    OneProcess local(rule);
    OneCallPerRow rows(rule, **router);
    Way* const ways[] = {&mesh, &local, &rows};
    const Tensor want = AnswerNow(local, gates[0], x);
    for (Way* way : ways) {
      const Tensor got = AnswerNow(*way, gates[0], x);
      for (size_t i = 0; i < static_cast<size_t>(kRows * kOut); ++i) {
        PORTICO_CHECK(std::abs(got.data<float>()[i] - want.data<float>()[i]) < 1e-4f);
      }
    }
    std::vector<double> rows_per_s[3], p99[3];
    for (Way* way : ways) Measure(*way, gates, x, kRound / 4);
    for (int round = 0; round < kRounds; ++round) {
      for (size_t i = 0; i < 3; ++i) {
        const Sample sample = Measure(*ways[i], gates, x, kRound);
        rows_per_s[i].push_back(sample.rows_per_s);
        p99[i].push_back(sample.p99_ms);
      }
    }
    size_t calls = 0;
    for (const Tensor& gate : gates) calls += ExpertChoice(rule, gate.data<float>()).Parts().size();
    const std::string name = absl::StrCat("experts.", experts, ".k", k);
    const auto add = [&](const std::string& what, double value, const std::string& unit, double baseline) {
      report.Add({.name = absl::StrCat(name, ".", what),
                  .value = value,
                  .unit = unit,
                  .baseline = baseline,
                  .ratio = baseline > 0 ? value / baseline : 0});
    };
    add("calls_beside_per_row", static_cast<double>(calls) / static_cast<double>(gates.size()), "calls/request",
        static_cast<double>(kRows * k));
    add("rows_beside_one_process", Median(rows_per_s[0]), "rows/s", Median(rows_per_s[1]));
    add("rows_beside_per_row", Median(rows_per_s[0]), "rows/s", Median(rows_per_s[2]));
    add("p99_beside_one_process", Median(p99[0]), "ms", Median(p99[1]));
    add("p99_beside_per_row", Median(p99[0]), "ms", Median(p99[2]));
  }
}

}  // namespace

std::vector<Scenario> ExpertsScenarios() {
  std::vector<Scenario> scenarios;
  for (const int experts : {2, 8, 64}) {
    scenarios.push_back({absl::StrCat("experts.", experts),
                         absl::StrCat(experts,
                                      " experts over tcp://, 64 rows a request, beside one process and beside "
                                      "one call per row and expert"),
                         [experts](Report& report) { Run(experts, report); }});
  }
  return scenarios;
}

}  // namespace portico::bench
