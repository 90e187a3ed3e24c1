#include <onnxruntime_cxx_api.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/scenarios.h"
#include "models/graph/graph.h"
#include "models/package/weight_store.h"
#include "models/runtime/session.h"
#include "onnx/onnx_pb.h"

namespace portico::bench {
namespace {

constexpr int kWidth = 16;
constexpr int kRounds = 21;
constexpr int kCallsARound = 5000;

void Declare(onnx::ValueInfoProto* value, const std::string& name) {
  value->set_name(name);
  onnx::TypeProto::Tensor* type = value->mutable_type()->mutable_tensor_type();
  type->set_elem_type(onnx::TensorProto::FLOAT);
  type->mutable_shape()->add_dim()->set_dim_param("N");
  type->mutable_shape()->add_dim()->set_dim_value(kWidth);
}

onnx::AttributeProto* AddAttribute(onnx::NodeProto* node, const char* name, onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

void AddPortal(onnx::GraphProto* graph, const std::string& input, const std::string& output) {
  onnx::NodeProto* portal = graph->add_node();
  portal->set_domain(std::string(kPorticoDomain));
  portal->set_op_type("Remote");
  portal->add_input(input);
  portal->add_output(output);
  AddAttribute(portal, "target", onnx::AttributeProto::STRING)->set_s("next");
  AddAttribute(portal, "input_names", onnx::AttributeProto::STRINGS)->add_strings("x");
  AddAttribute(portal, "output_names", onnx::AttributeProto::STRINGS)->add_strings("x");
  AddAttribute(portal, "output_dtypes", onnx::AttributeProto::INTS)->add_ints(onnx::TensorProto::FLOAT);
  AddAttribute(portal, "output_shapes", onnx::AttributeProto::STRINGS)->add_strings(absl::StrCat("N,", kWidth));
}

/// `segments` tiny segments, x·w then Relu, with a portal between each two.
std::unique_ptr<onnx::ModelProto> ChainModel(int segments) {
  auto model = std::make_unique<onnx::ModelProto>();
  model->set_ir_version(8);
  model->add_opset_import()->set_version(17);
  onnx::OperatorSetIdProto* portals = model->add_opset_import();
  portals->set_domain(std::string(kPorticoDomain));
  portals->set_version(1);
  onnx::GraphProto* graph = model->mutable_graph();
  graph->set_name("chain");
  onnx::TensorProto* weight = graph->add_initializer();
  weight->set_name("w");
  weight->set_data_type(onnx::TensorProto::FLOAT);
  weight->add_dims(kWidth);
  weight->add_dims(kWidth);
  weight->mutable_raw_data()->assign(kWidth * kWidth * sizeof(float), '\0');
  Declare(graph->add_input(), "x0");
  for (int i = 0; i < segments; ++i) {
    onnx::NodeProto* product = graph->add_node();
    product->set_op_type("MatMul");
    product->add_input(absl::StrCat("x", i));
    product->add_input("w");
    product->add_output(absl::StrCat("m", i));
    onnx::NodeProto* relu = graph->add_node();
    relu->set_op_type("Relu");
    relu->add_input(absl::StrCat("m", i));
    relu->add_output(absl::StrCat("y", i));
    if (i + 1 < segments) AddPortal(graph, absl::StrCat("y", i), absl::StrCat("x", i + 1));
  }
  Declare(graph->add_output(), absl::StrCat("y", segments - 1));
  return model;
}

/// Runs its segment inside the call.
class InlineSegment final : public AsyncOp {
 public:
  explicit InlineSegment(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    done(session_->Run(inputs));
  }

 private:
  const std::unique_ptr<Session> session_;
};

/// A portal to nowhere: its inputs are its outputs.
class Passage final : public AsyncOp {
 public:
  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    done(std::move(inputs));
  }
};

/// The same segments, called through ONNX Runtime's own API with nothing around them.
class BareChain {
 public:
  explicit BareChain(const GraphPlan& plan) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    for (const PlanStep& step : plan.steps) {
      if (step.segment == nullptr) continue;
      PORTICO_CHECK(step.segment->weights.empty());
      sessions_.emplace_back(env_, step.segment->model.data(), step.segment->model.size(), options);
      inputs_.push_back(step.segment->inputs[0]);
      outputs_.push_back(step.segment->outputs[0]);
    }
    const int64_t shape[] = {1, kWidth};
    input_ = Ort::Value::CreateTensor<float>(Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault), row_,
                                             kWidth, shape, 2);
  }
  float Run() {
    Ort::Value held{nullptr};
    const Ort::Value* value = &input_;
    for (size_t i = 0; i < sessions_.size(); ++i) {
      const char* input = inputs_[i].c_str();
      const char* output = outputs_[i].c_str();
      Ort::Value result{nullptr};
      sessions_[i].Run(Ort::RunOptions{nullptr}, &input, value, 1, &output, &result, 1);
      held = std::move(result);
      value = &held;
    }
    return held.GetTensorData<float>()[0];
  }

 private:
  Ort::Env env_{ORT_LOGGING_LEVEL_WARNING, "bare"};
  std::vector<Ort::Session> sessions_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  float row_[kWidth] = {};
  Ort::Value input_{nullptr};
};

std::unique_ptr<Graph> BuildGraph(GraphPlan plan) {
  std::vector<std::unique_ptr<AsyncOp>> ops;
  for (const PlanStep& step : plan.steps) {
    if (step.portal != nullptr) {
      ops.push_back(std::make_unique<Passage>());
      continue;
    }
    auto session = Session::Create(step.segment->model, step.segment->weights, {.name = step.segment->name});
    PORTICO_CHECK(session.ok());
    ops.push_back(std::make_unique<InlineSegment>(*std::move(session)));
  }
  return std::make_unique<Graph>(std::move(plan), std::move(ops), Clock::Real());
}

/// Microseconds a call.
template <typename Call>
double Time(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCallsARound; ++i) call();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / kCallsARound;
}

void RunChain(const std::string& name, int segments, Report& report) {
  WeightStore store;
  const auto model = Model::FromProto(ChainModel(segments), "", store);
  PORTICO_CHECK(model.ok());
  const auto signature = GraphSignature(*model);
  PORTICO_CHECK(signature.ok());
  auto plan = Partition(*model, *signature);
  PORTICO_CHECK(plan.ok());
  BareChain bare(*plan);
  const std::unique_ptr<Graph> graph = BuildGraph(*std::move(plan));

  const Ref<const RequestContext> context = MakeRef<RequestContext>();
  const Tensor input = Tensor::Of<float>({1, kWidth}, std::vector<float>(kWidth, 0.0f));
  float sink = 0;
  const auto call_bare = [&] { sink += bare.Run(); };
  const auto call_graph = [&] {
    graph->Run(context, {input}, [&sink](absl::StatusOr<std::vector<Tensor>> outputs) {
      PORTICO_CHECK(outputs.ok());
      sink += (*outputs)[0].data<float>()[0];
    });
  };
  Time(call_bare);
  Time(call_graph);
  std::vector<double> bare_us, graph_us, over_us;
  for (int round = 0; round < kRounds; ++round) {
    bare_us.push_back(Time(call_bare));
    graph_us.push_back(Time(call_graph));
    over_us.push_back((graph_us.back() - bare_us.back()) / segments);
  }
  PORTICO_CHECK(sink == 0);
  report.Add({.name = name + ".us", .value = Median(graph_us), .unit = "us", .baseline = Median(bare_us)});
  report.Add({.name = name + ".over_bare_per_segment",
              .value = Median(over_us),
              .unit = "us",
              .at_most = 2,
              .aim_on_ratio = false});
}

}  // namespace

std::vector<Scenario> ExecutorScenarios() {
  return {{"executor.one", "one tiny segment through the executor, against the bare ONNX Runtime call",
           [](Report& report) { RunChain("executor.one", 1, report); }},
          {"executor.chain4", "four tiny segments with empty portals between them, against four bare calls",
           [](Report& report) { RunChain("executor.chain4", 4, report); }}};
}

}  // namespace portico::bench
