#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// A folder with packages and a mesh file for tests.
class MeshFolder {
 public:
  const std::string& path() const { return folder_.path(); }
  std::string File(absl::string_view name) const { return folder_.File(name); }

  /// packages/NAME/1: y = relu(x).
  void WritePlain(absl::string_view name, absl::string_view op_type = "Relu") const {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node(op_type, {"x"}, {"y"});
    model.WriteTo(ModelFile(name));
  }

  /// packages/NAME/1: y = target(relu(x)).
  void WriteCaller(absl::string_view name, absl::string_view target, Attrs attrs = {}) const {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2}).Node("Relu", {"x"}, {"h"});
    attrs.push_back(Strings("input_names", {"x"}));
    model.Portal("Remote", target, {"h"}, {"y"}, {DType::kFloat}, {"N,2"}, std::move(attrs));
    model.graph().mutable_node(1)->set_name("portal_0");
    model.WriteTo(ModelFile(name));
  }

  /// packages/NAME/1: y = experts(gate of x)(x), a column per expert.
  void WriteExperts(absl::string_view name, const std::vector<std::string>& experts, Attrs attrs = {}) const {
    const auto columns = static_cast<int64_t>(experts.size());
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    model.Initializer("w", Tensor::Of<float>({2, columns}, std::vector<float>(2 * experts.size(), 1)));
    model.Node("MatMul", {"x", "w"}, {"gate"});
    attrs.push_back(Strings("targets", experts));
    attrs.push_back(Strings("input_names", {"x"}));
    model.Portal("Experts", "", {"gate", "x"}, {"y"}, {DType::kFloat}, {"N,2"}, std::move(attrs));
    model.graph().mutable_node(1)->set_name(absl::StrCat(name, "_0"));
    model.WriteTo(ModelFile(name));
  }

  std::string ModelFile(absl::string_view name, int64_t version = 1) const {
    return folder_.File(absl::StrCat("packages/", name, "/", version, "/model.onnx"));
  }

  /// mesh.yaml with this text; its path.
  std::string WriteMesh(absl::string_view text) const { return folder_.Write("mesh.yaml", text); }

 private:
  const TempFolder folder_;
};

}  // namespace portico
