#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// A model whose answers say which version gave them: x float32[N,64] → y float32[N,2] = row sums of x, times
/// `version`, twice. It has `columns` × 256 bytes of weights that no other version has.
inline ModelBuilder VersionModel(int64_t version, int64_t columns = 16) {
  const std::vector<float> weights(static_cast<size_t>(64 * columns), static_cast<float>(version));
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 2});
  model.Initializer("w", Tensor::Of<float>({64, columns}, weights));
  model.Initializer("starts", Tensor::Of<int64_t>({1}, {0})).Initializer("ends", Tensor::Of<int64_t>({1}, {2}));
  model.Initializer("axes", Tensor::Of<int64_t>({1}, {1}));
  model.Node("MatMul", {"x", "w"}, {"all"}).Node("Slice", {"all", "starts", "ends", "axes"}, {"y"});
  return model;
}

/// Writes BASE/VERSION whole or not at all: beside it first, then renamed.
inline void PublishVersion(const ModelBuilder& model, const std::string& base, int64_t version) {
  const std::string temporary = absl::StrCat(base, "/.writing-", version);
  std::filesystem::create_directories(temporary);
  model.WriteTo(temporary + "/model.onnx");
  std::filesystem::rename(temporary, absl::StrCat(base, "/", version));
}

}  // namespace portico
