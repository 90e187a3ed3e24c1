#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/common_outputs.h"
#include "models/compose/compose.h"

namespace portico {
namespace {

/// The graph: the gate, then one `Experts` portal.
class ExpertsComposer {
 public:
  ExpertsComposer(const Composition& composition, const FindIngredient& find)
      : composition_(composition), find_(find) {}

  absl::StatusOr<ComposedModel> Run() {
    ASSIGN_OR_RETURN(gate_, BindMember(composition_, composition_.experts.gate, true, find_));
    for (const CompositionMember& member : composition_.members) {
      ASSIGN_OR_RETURN(BoundMember expert, BindMember(composition_, member, false, find_));
      experts_.push_back(std::move(expert));
    }
    RETURN_IF_ERROR(CheckDistinct());
    for (const BoundMember& expert : experts_) RETURN_IF_ERROR(CheckInputs(expert));
    ASSIGN_OR_RETURN(const std::vector<std::string> names, CommonOutputs(composition_, experts_));
    RETURN_IF_ERROR(CheckOutputs(names));
    ASSIGN_OR_RETURN(assembly_, GraphAssembly::Create(composition_, {&gate_}));
    ASSIGN_OR_RETURN(const std::vector<TensorSpec> inputs, assembly_->Inputs(gate_, {}));
    const std::vector<TensorSpec> gates = assembly_->Call(gate_, inputs);
    PortalCall call{.op_type = "Experts", .member = &experts_[0], .name = composition_.name, .has_target = false};
    ASSIGN_OR_RETURN(const std::string gate, Gate(gates));
    call.leading = {gate};
    ASSIGN_OR_RETURN(call.inputs, assembly_->Inputs(experts_[0], gates));
    for (const std::string& name : names) call.outputs.push_back(OutputIndex(experts_[0], name));
    RETURN_IF_ERROR(CheckPinned(composition_, experts_[0], call.outputs));
    call.row_status = composition_.row_status;
    call.attributes = Attributes();
    return std::move(*assembly_).Finish(assembly_->AddPortal(call));
  }

 private:
  /// The portal takes each target once.
  absl::Status CheckDistinct() const {
    std::set<std::pair<absl::string_view, bool>> seen;
    for (const BoundMember& expert : experts_) {
      const CompositionMember& member = *expert.member;
      if (seen.emplace(member.model, member.pinned).second) continue;
      return composition_.ErrorAt(member.line, absl::StrCat("experts: got '", member.model,
                                                            "' twice, want each expert once; let the gate add up what "
                                                            "it gives to one"));
    }
    return absl::OkStatus();
  }

  /// All experts are asked by the same names for the same types.
  absl::Status CheckInputs(const BoundMember& expert) const {
    const BoundMember& first = experts_[0];
    const auto refuse = [&](const auto&... message) {
      return composition_.ErrorAt(expert.member->line, absl::StrCat("expert '", expert.member->model, "': ", message...,
                                                                    " as expert '", first.member->model, "' has it"));
    };
    for (const TensorSpec& input : expert.inputs) {
      const TensorSpec* like = FindSpec(first.inputs, input.name);
      if (like == nullptr) return refuse("got input '", input.name, "', want ", NamesOf(first.inputs));
      if (const std::string why = Mismatch(input, *like); !why.empty()) {
        return refuse("input '", input.name, "': ", why);
      }
      if (input.axis == AxisKind::kRows) continue;
      return composition_.ErrorAt(expert.member->line,
                                  absl::StrCat("expert '", expert.member->model, "': input '", input.name, "': got ",
                                               input.ToString(), ", want one whose dim 0 counts rows"));
    }
    for (const TensorSpec& input : first.inputs) {
      if (FindSpec(expert.inputs, input.name) == nullptr) return refuse("got no input '", input.name, "', want it");
    }
    if (!expert.member->pinned) return absl::OkStatus();
    // By position.
    for (size_t i = 0; i < first.inputs.size(); ++i) {
      if (expert.inputs[i].name != first.inputs[i].name) {
        return refuse("pin: got inputs in the order ", NamesOf(expert.inputs), ", want ", NamesOf(first.inputs));
      }
    }
    if (NamesOf(expert.outputs) == NamesOf(first.outputs)) return absl::OkStatus();
    return refuse("pin: got outputs ", NamesOf(expert.outputs), ", want ", NamesOf(first.outputs));
  }

  absl::Status CheckOutputs(const std::vector<std::string>& names) const {
    for (const BoundMember& expert : experts_) {
      for (const std::string& name : names) {
        const TensorSpec& output = *FindSpec(expert.outputs, name);
        if (output.dtype == DType::kFloat && output.axis == AxisKind::kRows) continue;
        return composition_.ErrorAt(
            expert.member->line,
            absl::StrCat("expert '", expert.member->model, "': output '", name, "': got ", output.ToString(),
                         ", want float32 whose dim 0 counts rows: answers are combined by weight; say which in "
                         "'outputs'"));
      }
    }
    return absl::OkStatus();
  }

  /// The tensor float[N,E].
  absl::StatusOr<std::string> Gate(const std::vector<TensorSpec>& outputs) {
    const CompositionMember& member = *gate_.member;
    const auto is_float = [](const TensorSpec& spec) {
      return spec.dtype == DType::kFloat || spec.dtype == DType::kDouble || spec.dtype == DType::kFloat16;
    };
    const TensorSpec* gate = FindSpec(outputs, composition_.experts.gate_output);
    if (composition_.experts.gate_output.empty()) {
      if (absl::c_count_if(outputs, is_float) == 1) gate = &*absl::c_find_if(outputs, is_float);
    }
    if (gate == nullptr) {
      return composition_.ErrorAt(member.line,
                                  absl::StrCat("gate '", member.model, "': gate_output: got ",
                                               composition_.experts.gate_output.empty()
                                                   ? "none"
                                                   : absl::StrCat("'", composition_.experts.gate_output, "'"),
                                               ", want one of its outputs: ", NamesOf(outputs)));
    }
    const auto experts = static_cast<int64_t>(experts_.size());
    const bool fits = is_float(*gate) && gate->axis == AxisKind::kRows && gate->dims.size() == 2 &&
                      (gate->dims[1].extent < 0 || gate->dims[1].extent == experts);
    if (!fits) {
      return composition_.ErrorAt(
          member.line, absl::StrCat("gate '", member.model, "': output '", gate->name, "': got ", gate->ToString(),
                                    ", want float32[N,", experts, "], a number for each expert"));
    }
    if (gate->dtype == DType::kFloat) return gate->graph_name;
    TensorSpec cast = *gate;
    cast.graph_name = assembly_->ops().Cast(gate->graph_name, DType::kFloat);
    cast.dtype = DType::kFloat;
    assembly_->Declare(cast);
    return cast.graph_name;
  }

  std::vector<OpAttribute> Attributes() const {
    const Composition::Experts& options = composition_.experts;
    std::vector<std::string> targets, digests;
    bool pinned = false;
    for (const BoundMember& expert : experts_) {
      targets.push_back(expert.member->model);
      digests.push_back(expert.member->pinned ? expert.ingredient.digest.Hex() : "");
      pinned |= expert.member->pinned;
    }
    std::vector<OpAttribute> attributes = {{"targets", targets}, {"k", options.k}};
    if (pinned) attributes.push_back({"digests", digests});
    if (options.k_min != 0) {
      attributes.push_back({"k_min", options.k_min});
      attributes.push_back({"k_min_after_ms", absl::ToInt64Milliseconds(options.k_min_after)});
    }
    attributes.push_back({"weights", options.weights});
    attributes.push_back({"on_expert_error", options.on_expert_error});
    attributes.push_back({"on_row_error", composition_.on_row_error});
    if (options.capacity != 0) attributes.push_back({"capacity", options.capacity});
    AddWatch(options.watch, &attributes);
    return attributes;
  }

  /// What is not what it is without being said.
  static void AddWatch(const ExpertsWatch& watch, std::vector<OpAttribute>* attributes) {
    if (!watch.on()) return;
    const ExpertsWatch usual;
    if (!watch.load.empty()) attributes->push_back({"expected_load", watch.load});
    const auto add = [&](const char* name, double share, double otherwise) {
      if (share != otherwise) attributes->push_back({name, static_cast<float>(share)});
    };
    add("expected_load_within", watch.load_within, usual.load_within);
    add("expected_entropy", watch.entropy, usual.entropy);
    add("expected_entropy_within", watch.entropy_within, usual.entropy_within);
    if (watch.over != usual.over) attributes->push_back({"expected_over_ms", absl::ToInt64Milliseconds(watch.over)});
  }

  const Composition& composition_;
  const FindIngredient& find_;
  BoundMember gate_;
  std::vector<BoundMember> experts_;
  std::unique_ptr<GraphAssembly> assembly_;
};

}  // namespace

absl::StatusOr<ComposedModel> ComposeExperts(const Composition& composition, const FindIngredient& find) {
  return ExpertsComposer(composition, find).Run();
}

}  // namespace portico
