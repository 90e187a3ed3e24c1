#pragma once

#include <string>

#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// Writes version `version` of a model that classifies and regresses to `folder`/NAME/VERSION:
///   serving_default  x float32[N,2], k int64[N,2], tag string[N,2] → classes string[N,2] = tag, scores = x + k
///   scores_only      the same → scores
///   regress          the same → outputs float32[N] = sum of x + k, times `factor`
///   plain            the same → sums float32[N]
///   flat             the same → scores float32[N], which is no matrix
inline void WriteGradeModel(const TempFolder& folder, const std::string& name, int version, float factor = 1) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Input("k", DType::kInt64, {"N", 2}).Input("tag", DType::kString, {"N", 2});
  model.Output("classes", DType::kString, {"N", 2})
      .Output("scores", DType::kFloat, {"N", 2})
      .Output("total", DType::kFloat, {"N"});
  model.Initializer("factor", {}, {factor});
  model.Initializer("axis", Tensor::Of<int64_t>({1}, {1}));
  model.Node("Identity", {"tag"}, {"classes"})
      .Node("Cast", {"k"}, {"kf"}, {Int("to", 1)})
      .Node("Add", {"x", "kf"}, {"scores"})
      .Node("ReduceSum", {"scores", "axis"}, {"sum"}, {Int("keepdims", 0)})
      .Node("Mul", {"sum", "factor"}, {"total"});
  const std::string base = absl::StrCat(name, "/", version, "/");
  model.WriteTo(folder.File(base + "model.onnx"));
  const std::string inputs = "    inputs: {x: , k: , tag: }\n    outputs: ";
  folder.Write(base + "servable.yaml",
               absl::StrCat("signatures:\n  serving_default:\n", inputs, "{classes: , scores: }\n  scores_only:\n",
                            inputs, "{scores: }\n  regress:\n", inputs, "{outputs: {tensor: total}}\n  plain:\n",
                            inputs, "{sums: {tensor: total}}\n  flat:\n", inputs, "{scores: {tensor: total}}\n"));
}

}  // namespace portico
