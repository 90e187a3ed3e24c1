#pragma once

#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/tensor.h"
#include "onnx/onnx_pb.h"

namespace portico {

/// An extent of a declared shape: a number, a symbol ("N"), or "?" for neither.
struct ModelDim {
  ModelDim(int64_t extent) : extent(extent) {}                  // NOLINT: for brace lists
  ModelDim(int extent) : extent(extent) {}                      // NOLINT
  ModelDim(const char* symbol) : extent(-1), symbol(symbol) {}  // NOLINT
  int64_t extent;
  std::string symbol;
};
using ModelShape = std::vector<ModelDim>;

// Attributes of a node: Attrs{Int("axis", 1), Strings("names", {"a", "b"})}.
inline onnx::AttributeProto NewAttr(absl::string_view name, onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto attr;
  attr.set_name(std::string(name));
  attr.set_type(type);
  return attr;
}
inline onnx::AttributeProto Int(absl::string_view name, int64_t value) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::INT);
  attr.set_i(value);
  return attr;
}
inline onnx::AttributeProto Float(absl::string_view name, float value) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::FLOAT);
  attr.set_f(value);
  return attr;
}
inline onnx::AttributeProto String(absl::string_view name, absl::string_view value) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::STRING);
  attr.set_s(std::string(value));
  return attr;
}
inline onnx::AttributeProto Ints(absl::string_view name, const std::vector<int64_t>& values) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::INTS);
  for (const int64_t value : values) attr.add_ints(value);
  return attr;
}
inline onnx::AttributeProto Floats(absl::string_view name, const std::vector<float>& values) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::FLOATS);
  for (const float value : values) attr.add_floats(value);
  return attr;
}
inline onnx::AttributeProto Strings(absl::string_view name, const std::vector<std::string>& values) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::STRINGS);
  for (const std::string& value : values) attr.add_strings(value);
  return attr;
}
/// A subgraph: the body of If ("then_branch", "else_branch"), Loop or Scan ("body"); see ModelBuilder::BuildGraph().
inline onnx::AttributeProto Body(absl::string_view name, onnx::GraphProto body) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::GRAPH);
  *attr.mutable_g() = std::move(body);
  return attr;
}

/// `tensor` with its data in raw_data (string_data for strings).
inline onnx::TensorProto TensorToProto(absl::string_view name, const Tensor& tensor) {
  onnx::TensorProto proto;
  proto.set_name(std::string(name));
  proto.set_data_type(static_cast<int>(tensor.dtype()));
  for (const int64_t extent : tensor.shape()) proto.add_dims(extent);
  if (tensor.dtype() == DType::kString) {
    for (uint64_t i = 0; i < tensor.num_elements(); ++i) proto.add_string_data(std::string(tensor.StringAt(i)));
  } else {
    proto.set_raw_data(std::string(tensor.bytes()));
  }
  return proto;
}
/// "value" of a Constant node, for example.
inline onnx::AttributeProto Value(absl::string_view name, const Tensor& tensor) {
  onnx::AttributeProto attr = NewAttr(name, onnx::AttributeProto::TENSOR);
  *attr.mutable_t() = TensorToProto("", tensor);
  return attr;
}
using Attrs = std::vector<onnx::AttributeProto>;

/// A node by itself, for bodies of functions.
inline onnx::NodeProto NewNode(absl::string_view op_type, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs, Attrs attrs = {},
                               absl::string_view domain = "") {
  onnx::NodeProto node;
  node.set_op_type(std::string(op_type));
  if (!domain.empty()) node.set_domain(std::string(domain));
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  for (onnx::AttributeProto& attr : attrs) *node.add_attribute() = std::move(attr);
  return node;
}

/// Builds small ONNX models for tests: opset 17, IR version 8 unless told otherwise. Copies are models of their own.
///
///   ModelBuilder model;
///   model.Input("x", DType::kFloat, {"N", 4}).Output("y", DType::kFloat, {"N", 2})
///        .Initializer("w", Tensor::Of<float>({4, 2}, {...}))
///        .Node("MatMul", {"x", "w"}, {"y"});
///   model.WriteTo(folder.File("m/1/model.onnx"));
class ModelBuilder {
 public:
  ModelBuilder() {
    proto_.set_ir_version(8);
    proto_.set_producer_name("portico_test");
    proto_.mutable_graph()->set_name("g");
  }

  /// A later call for the same domain replaces the version.
  ModelBuilder& Opset(absl::string_view domain, int64_t version) {
    for (onnx::OperatorSetIdProto& opset : *proto_.mutable_opset_import()) {
      if (opset.domain() == domain) {
        opset.set_version(version);
        return *this;
      }
    }
    onnx::OperatorSetIdProto* opset = proto_.add_opset_import();
    opset->set_domain(std::string(domain));
    opset->set_version(version);
    return *this;
  }
  ModelBuilder& IrVersion(int64_t version) {
    proto_.set_ir_version(version);
    return *this;
  }
  ModelBuilder& Input(absl::string_view name, DType dtype, const ModelShape& shape) {
    Declare(graph().add_input(), name, dtype, &shape);
    return *this;
  }
  ModelBuilder& Output(absl::string_view name, DType dtype, const ModelShape& shape) {
    Declare(graph().add_output(), name, dtype, &shape);
    return *this;
  }
  ModelBuilder& InputWithoutRank(absl::string_view name, DType dtype) {
    Declare(graph().add_input(), name, dtype, nullptr);
    return *this;
  }
  ModelBuilder& OutputWithoutRank(absl::string_view name, DType dtype) {
    Declare(graph().add_output(), name, dtype, nullptr);
    return *this;
  }
  /// The type of a tensor that is neither input nor output.
  ModelBuilder& ValueInfo(absl::string_view name, DType dtype, const ModelShape& shape) {
    Declare(graph().add_value_info(), name, dtype, &shape);
    return *this;
  }
  ModelBuilder& Initializer(absl::string_view name, const Tensor& tensor) {
    *graph().add_initializer() = TensorToProto(name, tensor);
    return *this;
  }
  ModelBuilder& Initializer(absl::string_view name, Shape shape, std::initializer_list<float> values) {
    return Initializer(name, Tensor::Of<float>(std::move(shape), values));
  }
  ModelBuilder& Node(absl::string_view op_type, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs, Attrs attrs = {}, absl::string_view domain = "") {
    *graph().add_node() = NewNode(op_type, inputs, outputs, std::move(attrs), domain);
    return *this;
  }
  /// A portal of domain `ai.portico`. `dtypes` and `shapes` are those of its outputs, shapes as in "N,64". Unless
  /// `attrs` has them, input_names and output_names are the names of the tensors here; it adds signature, digest, ...
  ModelBuilder& Portal(absl::string_view op_type, absl::string_view target, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs, const std::vector<DType>& dtypes,
                       const std::vector<std::string>& shapes, Attrs attrs = {}) {
    Opset("ai.portico", 1);
    std::vector<int64_t> numbers;
    for (const DType dtype : dtypes) numbers.push_back(static_cast<int64_t>(dtype));
    const auto default_to = [&attrs](onnx::AttributeProto attr) {
      for (const onnx::AttributeProto& have : attrs) {
        if (have.name() == attr.name()) return;
      }
      attrs.push_back(std::move(attr));
    };
    default_to(String("target", target));
    default_to(Ints("output_dtypes", numbers));
    default_to(Strings("output_shapes", shapes));
    default_to(Strings("input_names", inputs));
    default_to(Strings("output_names", outputs));
    return Node(op_type, inputs, outputs, std::move(attrs), "ai.portico");
  }
  /// A local function; its body imports the model's opsets.
  ModelBuilder& Function(absl::string_view domain, absl::string_view name, const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs, const std::vector<onnx::NodeProto>& nodes,
                         const std::vector<std::string>& attributes = {}) {
    Opset(domain, 1);
    onnx::FunctionProto* function = proto_.add_functions();
    function->set_domain(std::string(domain));
    function->set_name(std::string(name));
    for (const std::string& input : inputs) function->add_input(input);
    for (const std::string& output : outputs) function->add_output(output);
    for (const std::string& attribute : attributes) function->add_attribute(attribute);
    for (const onnx::NodeProto& node : nodes) *function->add_node() = node;
    return *this;
  }

  /// For what has no method of its own.
  onnx::ModelProto& proto() { return proto_; }
  onnx::GraphProto& graph() { return *proto_.mutable_graph(); }

  /// A copy of what was built so far.
  std::unique_ptr<onnx::ModelProto> Build() const {
    auto model = std::make_unique<onnx::ModelProto>(proto_);
    bool has_default = false;
    for (const onnx::OperatorSetIdProto& opset : model->opset_import()) {
      has_default |= opset.domain().empty() || opset.domain() == "ai.onnx";
    }
    if (!has_default) {
      onnx::OperatorSetIdProto* opset = model->add_opset_import();
      opset->set_domain("");
      opset->set_version(17);
    }
    for (onnx::FunctionProto& function : *model->mutable_functions()) {
      if (function.opset_import().empty()) *function.mutable_opset_import() = model->opset_import();
    }
    return model;
  }
  /// Only the graph, as the body of an If, Loop or Scan.
  onnx::GraphProto BuildGraph() const { return proto_.graph(); }
  std::string Serialize() const { return Build()->SerializeAsString(); }
  /// The folder of `path` must exist (TempFolder::File makes it).
  void WriteTo(const std::string& path) const {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    PORTICO_CHECK(Build()->SerializeToOstream(&out));
    out.close();
    PORTICO_CHECK(out.good());
  }

 private:
  static void Declare(onnx::ValueInfoProto* value, absl::string_view name, DType dtype, const ModelShape* shape) {
    value->set_name(std::string(name));
    onnx::TypeProto::Tensor* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(static_cast<int>(dtype));
    if (shape == nullptr) return;
    onnx::TensorShapeProto* dims = type->mutable_shape();
    for (const ModelDim& dim : *shape) {
      onnx::TensorShapeProto::Dimension* out = dims->add_dim();
      if (dim.extent >= 0) {
        out->set_dim_value(dim.extent);
      } else if (dim.symbol != "?") {
        out->set_dim_param(dim.symbol);
      }
    }
  }

  onnx::ModelProto proto_;
};

}  // namespace portico
