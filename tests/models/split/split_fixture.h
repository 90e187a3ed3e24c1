#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "models/package/model.h"
#include "models/split/split.h"
#include "onnx/onnx_pb.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// Loads models and splits them with one weight store, as `portico split` does.
class Splitting {
 public:
  Model Load(const ModelBuilder& builder) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store);
    PORTICO_CHECK(model.ok());
    return *std::move(model);
  }
  absl::StatusOr<std::vector<SplitModel>> operator()(const Model& model, std::vector<PartPlan> parts) {
    return Split(model, {"product", std::move(parts)});
  }
  absl::StatusOr<std::vector<SplitModel>> operator()(const ModelBuilder& builder, std::vector<PartPlan> parts) {
    return (*this)(Load(builder), std::move(parts));
  }

  WeightStore store;
};

inline PartPlan Part(std::string name, std::vector<std::string> inputs, std::vector<std::string> outputs,
                     std::vector<PartPlan> parts = {}) {
  return {std::move(name), std::move(inputs), std::move(outputs), std::move(parts), 0};
}

inline std::vector<std::string> Names(const std::vector<SplitModel>& split) {
  std::vector<std::string> names;
  for (const SplitModel& model : split) names.push_back(model.name);
  return names;
}

inline std::vector<std::string> OpTypes(const Model& model) {
  std::vector<std::string> types;
  for (const auto& node : model.proto().graph().node()) types.push_back(node.op_type());
  return types;
}

inline std::vector<std::string> InputNames(const Model& model) {
  std::vector<std::string> names;
  for (const auto& input : model.proto().graph().input()) names.push_back(input.name());
  return names;
}

inline std::vector<std::string> OutputNames(const Model& model) {
  std::vector<std::string> names;
  for (const auto& output : model.proto().graph().output()) names.push_back(output.name());
  return names;
}

/// Weights that differ from each other and from model to model.
inline Tensor Weights(Shape shape, float first) {
  std::vector<float> values(*NumElements(shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + 0.25f * static_cast<float>(i % 7);
  return Tensor::Of<float>(shape, values);
}

/// image[N,8] → features[N,4] (encoder) → logits[N,3], probabilities (head).
inline ModelBuilder DigitsLike(float first_weight = -0.5f) {
  ModelBuilder model;
  model.Input("image", DType::kFloat, {"N", 8})
      .Output("probabilities", DType::kFloat, {"N", 3})
      .Initializer("w1", Weights({8, 4}, first_weight))
      .Initializer("b1", Weights({4}, 0.1f))
      .Initializer("w2", Weights({4, 3}, -0.3f))
      .Node("MatMul", {"image", "w1"}, {"h1"})
      .Node("Add", {"h1", "b1"}, {"h2"})
      .Node("Relu", {"h2"}, {"features"})
      .Node("MatMul", {"features", "w2"}, {"logits"})
      .Node("Softmax", {"logits"}, {"probabilities"}, {Int("axis", -1)});
  return model;
}

}  // namespace portico
