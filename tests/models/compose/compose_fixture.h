#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "gtest/gtest.h"
#include "models/compose/compose.h"
#include "models/split/submodel.h"
#include "tests/models/graph/plan_runner.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// Models by name, what is composed of them, and running that with portals answered in place.
class Kitchen {
 public:
  void Add(const std::string& name, const ModelBuilder& builder) {
    WeightStore store;
    auto model = Model::FromProto(builder.Build(), "", store);
    PORTICO_CHECK(model.ok());
    Package package{.name = name, .version = 1, .model = *std::move(model)};
    auto signature = GraphSignature(package.model);
    PORTICO_CHECK(signature.ok());
    package.signatures = {*std::move(signature)};
    package.digest = *ModelDigest(package.model);
    packages_[name] = std::make_shared<const Package>(std::move(package));
  }
  const Package& package(const std::string& name) const { return *packages_.at(name); }

  FindIngredient Find() const {
    return [this](const std::string& name, bool whole) -> absl::StatusOr<Ingredient> {
      const auto at = packages_.find(name);
      if (at == packages_.end()) return absl::NotFoundError(absl::StrCat("got '", name, "', which is no model"));
      return Ingredient{
          .digest = at->second->digest, .signatures = at->second->signatures, .package = whole ? at->second : nullptr};
    };
  }

  /// Runs one of the models itself.
  absl::StatusOr<std::vector<Tensor>> RunModel(const std::string& name, const std::vector<Tensor>& inputs) const {
    return RunWhole(packages_.at(name)->model, inputs);
  }

  /// Runs what was composed; `Remote` portals are answered by the models that they name. `calls` counts them.
  absl::StatusOr<std::vector<Tensor>> Run(const Package& composed, std::vector<Tensor> inputs, int* calls = nullptr) {
    ASSIGN_OR_RETURN(GraphPlan plan, Partition(composed.model, composed.signatures[0]));
    return RunPlan(std::move(plan), std::move(inputs), [this, calls](const PortalSpec& spec) -> PortalBody {
      return [this, calls, spec](const std::vector<Tensor>& in) {
        if (calls != nullptr) ++*calls;
        return Answer(spec, in);
      };
    });
  }

 private:
  static absl::StatusOr<std::vector<Tensor>> RunWhole(const Model& model, const std::vector<Tensor>& inputs) {
    ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(model, {}));
    ASSIGN_OR_RETURN(const auto session,
                     Session::Create(runnable.proto, std::move(runnable.weights), {.name = "whole"}));
    return session->Run(inputs);
  }

  /// As a node does: by name.
  absl::StatusOr<std::vector<Tensor>> Answer(const PortalSpec& spec, const std::vector<Tensor>& in) const {
    const Package& target = *packages_.at(spec.target);
    const Signature& signature = target.signatures[0];
    std::vector<Tensor> inputs(signature.inputs.size());
    for (size_t i = 0; i < in.size(); ++i)
      inputs.at(static_cast<size_t>(signature.InputIndex(spec.input_names[i]))) = in[i];
    ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, RunWhole(target.model, inputs));
    std::vector<Tensor> answers;
    for (const TensorSpec& output : spec.outputs) {
      answers.push_back(outputs.at(static_cast<size_t>(signature.OutputIndex(output.name))));
      RETURN_IF_ERROR(output.Check("output", answers.back()));
    }
    return answers;
  }

  std::map<std::string, std::shared_ptr<const Package>> packages_;
};

/// A composition as if mesh.yaml had it from line 10 on, a member per line.
inline Composition NewComposition(Composition::Kind kind, const std::vector<std::string>& models) {
  Composition composition;
  composition.name = "made";
  composition.kind = kind;
  composition.file = "mesh.yaml";
  composition.line = 10;
  for (const std::string& model : models) {
    CompositionMember& member = composition.members.emplace_back();
    member.model = model;
    member.line = member.when_line = composition.line + static_cast<int>(composition.members.size());
  }
  return composition;
}

/// y = op(x, value), float32[N,2].
inline ModelBuilder Scaled(absl::string_view op_type, float value, absl::string_view in = "x",
                           absl::string_view out = "y") {
  ModelBuilder model;
  const std::string x(in), y(out);
  model.Input(x, DType::kFloat, {"batch", 2}).Output(y, DType::kFloat, {"batch", 2});
  model.Initializer("w", {}, {value}).Node(op_type, {x, "w"}, {y});
  return model;
}

/// label[N] = op(x).
inline ModelBuilder Labels(DType dtype, const std::string& op_type) {
  ModelBuilder model;
  model.Input("x", dtype, {"N"}).Output("label", dtype, {"N"}).Node(op_type, {"x"}, {"label"});
  return model;
}

class ComposeTest : public ::testing::Test {
 protected:
  Package Make(const Composition& composition) {
    auto made = Compose(composition, kitchen_.Find());
    EXPECT_TRUE(made.ok()) << made.status();
    PORTICO_CHECK(made.ok());
    config_ = made->config;
    return std::move(made->package);
  }
  std::string ErrorOf(const Composition& composition) {
    const auto made = Compose(composition, kitchen_.Find());
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(made.status().message());
  }
  std::vector<Tensor> MustRun(const Package& composed, std::vector<Tensor> inputs, int* calls = nullptr) {
    auto outputs = kitchen_.Run(composed, std::move(inputs), calls);
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    PORTICO_CHECK(outputs.ok());
    return *std::move(outputs);
  }

  Kitchen kitchen_;
  std::string config_;
};

}  // namespace portico
