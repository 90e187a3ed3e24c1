#include "models/calibrate/stage_runner.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr absl::string_view kPorticoDomain = "ai.portico";
constexpr size_t kMinRuns = 5;

absl::Duration ThreadCpu() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StageRunner>> StageRunner::Create(BoundMember stage) {
  auto runner = std::unique_ptr<StageRunner>(new StageRunner(std::move(stage)));
  const BoundMember& bound = runner->stage_;
  const std::string& name = bound.member->model;
  const Model& model = bound.ingredient.package->model;
  const auto is_portal = [](const onnx::NodeProto& node) { return node.domain() == kPorticoDomain; };
  if (absl::c_any_of(model.proto().graph().node(), is_portal)) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", name,
                     "': got a model with portals, want a whole one, which can be run here; take the model it was cut "
                     "from, or tune on that one's stages"));
  }
  ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(model, {}));
  Session::Options options;
  options.name = name;
  ASSIGN_OR_RETURN(runner->session_, Session::Create(runnable.proto, std::move(runnable.weights), options));
  const auto position = [](const std::vector<TensorSpec>& specs, const std::string& graph_name, bool of_session) {
    return static_cast<size_t>(
        absl::c_find_if(
            specs, [&](const TensorSpec& spec) { return (of_session ? spec.name : spec.graph_name) == graph_name; }) -
        specs.begin());
  };
  // Bound specs have no names of tensors, the member's own have.
  for (const TensorSpec& output : bound.theirs.outputs) {
    runner->outputs_.push_back(position(runner->session_->outputs(), output.graph_name, true));
  }
  for (const TensorSpec& input : runner->session_->inputs()) {
    runner->inputs_.push_back(position(bound.theirs.inputs, input.name, false));
  }
  const auto beyond = [](size_t end) { return [end](size_t at) { return at >= end; }; };
  if (absl::c_any_of(runner->outputs_, beyond(runner->session_->outputs().size())) ||
      absl::c_any_of(runner->inputs_, beyond(bound.theirs.inputs.size()))) {
    return absl::InternalError(absl::StrCat("model '", name, "': signature and graph do not match"));
  }
  return runner;
}

absl::StatusOr<std::vector<Tensor>> StageRunner::Inputs(absl::Span<const NamedTensor> tensors) const {
  std::vector<Tensor> inputs;
  for (const size_t at : inputs_) {
    const TensorSpec& spec = stage_.inputs[at];
    const auto given = absl::c_find_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == spec.name; });
    const std::string context = absl::StrCat("model '", stage_.member->model, "'");
    if (given == tensors.end()) {
      const std::string names =
          absl::StrJoin(tensors, ", ", [](std::string* out, const NamedTensor& tensor) { out->append(tensor.name); });
      return absl::InvalidArgumentError(absl::StrCat(context, ": got no input '", spec.name, "' among ",
                                                     names.empty() ? "none" : names, ", want ", spec.ToString()));
    }
    if (const absl::Status fits = spec.Check("input", given->tensor); !fits.ok()) return WithContext(context, fits);
    inputs.push_back(given->tensor);
  }
  return inputs;
}

absl::StatusOr<std::vector<Tensor>> StageRunner::Run(absl::Span<const NamedTensor> tensors) {
  ASSIGN_OR_RETURN(const std::vector<Tensor> inputs, Inputs(tensors));
  absl::StatusOr<std::vector<Tensor>> all = session_->Run(inputs);
  if (!all.ok()) return WithContext(absl::StrCat("model '", stage_.member->model, "'"), all.status());
  std::vector<Tensor> outputs;
  for (const size_t at : outputs_) outputs.push_back((*all)[at]);
  return outputs;
}

absl::StatusOr<absl::Duration> StageRunner::MeasureCpu(absl::Span<const NamedTensor> tensors, absl::Duration time) {
  ASSIGN_OR_RETURN(const std::vector<Tensor> inputs, Inputs(tensors));
  RETURN_IF_ERROR(session_->Run(inputs).status());
  std::vector<absl::Duration> runs;
  const absl::Duration begin = ThreadCpu();
  for (absl::Duration before = begin; runs.size() < kMinRuns || before - begin < time;) {
    RETURN_IF_ERROR(session_->Run(inputs).status());
    const absl::Duration now = ThreadCpu();
    runs.push_back(now - before);
    before = now;
  }
  std::nth_element(runs.begin(), runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2), runs.end());
  return runs[runs.size() / 2];
}

}  // namespace portico
