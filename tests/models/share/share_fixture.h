#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "models/share/share.h"
#include "onnx/onnx_pb.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// Weights that differ by `first`.
inline Tensor Numbers(Shape shape, float first) {
  std::vector<float> values(*NumElements(shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + 0.01f * static_cast<float>(i % 17);
  return Tensor::Of<float>(shape, values);
}

/// A graph that is built layer by layer; all of its names begin with `prefix`.
class Layers {
 public:
  explicit Layers(std::string prefix = "") : prefix_(std::move(prefix)) {}

  std::string Input(const std::string& name, int64_t size, const char* batch = "N") {
    model.Input(prefix_ + name, DType::kFloat, {batch, size});
    return prefix_ + name;
  }
  /// MatMul, Add and Relu with weights by `seed`.
  std::string Dense(const std::string& x, int64_t in, int64_t out, float seed) {
    const std::string w = Weight(Numbers({in, out}, seed));
    const std::string b = Weight(Numbers({out}, seed + 0.5f));
    return Op("Relu", {Op("Add", {Op("MatMul", {x, w}), b})});
  }
  std::string Weight(const Tensor& tensor) {
    const std::string name = Name();
    model.Initializer(name, tensor);
    return name;
  }
  std::string Op(absl::string_view op, const std::vector<std::string>& inputs, Attrs attrs = {}) {
    const std::string name = Name();
    model.Node(op, inputs, {name}, std::move(attrs));
    return name;
  }
  Layers& Output(const std::string& tensor, int64_t size, const char* batch = "N") {
    model.Output(tensor, DType::kFloat, {batch, size});
    return *this;
  }

  ModelBuilder model;

 private:
  std::string Name() { return absl::StrCat(prefix_, "t", count_++); }

  const std::string prefix_;
  int count_ = 0;
};

/// What `portico share` does, on models in memory.
class Sharing {
 public:
  Sharing() {
    options.min_bytes = 64;
    options.name = "hub/shared";
  }

  Sharing& Add(const std::string& name, const ModelBuilder& builder) {
    absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store);
    PORTICO_CHECK(model.ok());
    return Add(name, *std::move(model));
  }
  Sharing& Add(const std::string& name, Model model) {
    absl::StatusOr<Product> product = MakeProduct(name, std::move(model), store, notes);
    if (!product.ok()) {
      error = product.status();
    } else {
      products.push_back(*std::move(product));
    }
    return *this;
  }

  absl::StatusOr<SharingProposal> Propose() {
    if (!error.ok()) return error;
    return ProposeSharing(products, options);
  }

  /// Proposes, cuts and compares; the proposal where all that went well.
  absl::StatusOr<SharingProposal> Share() {
    absl::StatusOr<SharingProposal> proposal = Propose();
    if (!proposal.ok()) return proposal;
    absl::StatusOr<SharedModels> cut = CutShared(products, *proposal);
    if (!cut.ok()) return cut.status();
    for (const SharedModels::Rewritten& rewritten : cut->products) {
      const auto report = VerifyShared(products[static_cast<size_t>(rewritten.product)], *cut, rewritten, verify);
      if (!report.ok()) return report.status();
    }
    shared = *std::move(cut);
    return proposal;
  }

  SharingOptions options;
  VerifyOptions verify;
  WeightStore store;
  std::vector<Product> products;
  std::vector<std::string> notes;
  SharedModels shared;
  absl::Status error;
};

/// Types of ops of a graph, and how many there are of each.
inline std::map<std::string, int> Ops(const Model& model) {
  std::map<std::string, int> ops;
  for (const auto& node : model.proto().graph().node()) ++ops[node.op_type()];
  return ops;
}

}  // namespace portico
