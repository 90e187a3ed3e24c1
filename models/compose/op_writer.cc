#include "models/compose/op_writer.h"

#include "absl/strings/str_cat.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr absl::string_view kMlDomain = "ai.onnx.ml";
/// From here on the axes of all reductions are an input; of ReduceSum they are earlier.
constexpr int64_t kReduceAxesOpset = 18;

/// One alternative of an attribute's value each.
struct Setter {
  onnx::AttributeProto& out;

  void operator()(int64_t value) const {
    out.set_type(onnx::AttributeProto::INT);
    out.set_i(value);
  }
  void operator()(float value) const {
    out.set_type(onnx::AttributeProto::FLOAT);
    out.set_f(value);
  }
  void operator()(const std::string& value) const {
    out.set_type(onnx::AttributeProto::STRING);
    out.set_s(value);
  }
  void operator()(const std::vector<int64_t>& values) const {
    out.set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) out.add_ints(value);
  }
  void operator()(const std::vector<float>& values) const {
    out.set_type(onnx::AttributeProto::FLOATS);
    for (const float value : values) out.add_floats(value);
  }
  void operator()(const std::vector<std::string>& values) const {
    out.set_type(onnx::AttributeProto::STRINGS);
    for (const std::string& value : values) out.add_strings(value);
  }
};

}  // namespace

void SetAttribute(const OpAttribute& attribute, onnx::NodeProto& node) {
  onnx::AttributeProto& out = *node.add_attribute();
  out.set_name(attribute.name);
  std::visit(Setter{out}, attribute.value);
}

std::string OpWriter::NewName() { return absl::StrCat(prefix_, ++names_); }

void OpWriter::AddNode(absl::string_view op_type, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs, const std::vector<OpAttribute>& attributes,
                       absl::string_view domain) {
  onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(std::string(op_type));
  node.set_name(outputs[0]);
  if (!domain.empty()) node.set_domain(std::string(domain));
  used_ml_ |= domain == kMlDomain;
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  for (const OpAttribute& attribute : attributes) SetAttribute(attribute, node);
}

std::string OpWriter::Add(absl::string_view op_type, const std::vector<std::string>& inputs,
                          const std::vector<OpAttribute>& attributes, std::string output, absl::string_view domain) {
  if (output.empty()) output = NewName();
  AddNode(op_type, inputs, {output}, attributes, domain);
  return output;
}

std::string OpWriter::Constant(const Tensor& value) {
  std::string output = Add("Constant", {});
  onnx::AttributeProto& attribute = *graph_.mutable_node(graph_.node_size() - 1)->add_attribute();
  attribute.set_name("value");
  attribute.set_type(onnx::AttributeProto::TENSOR);
  PutTensor(value, *attribute.mutable_t());
  return output;
}

std::string OpWriter::Cast(const std::string& tensor, DType to) {
  return Add("Cast", {tensor}, {{"to", static_cast<int64_t>(to)}});
}

std::string OpWriter::Axes(int64_t axis) { return Constant(Tensor::Of<int64_t>({1}, {axis})); }

std::string OpWriter::Unsqueeze(const std::string& tensor, int64_t axis) {
  return Add("Unsqueeze", {tensor, Axes(axis)});
}

std::string OpWriter::Squeeze(const std::string& tensor, int64_t axis) { return Add("Squeeze", {tensor, Axes(axis)}); }

std::string OpWriter::Reduce(absl::string_view op_type, const std::string& tensor, int64_t axis) {
  if (op_type == "ReduceSum" || opset_ >= kReduceAxesOpset) return Add(op_type, {tensor, Axes(axis)});
  return Add(op_type, {tensor}, {{"axes", std::vector<int64_t>{axis}}});
}

std::string OpWriter::IsWord(const std::string& tensor, const std::string& word) {
  // Works in every opset, while Equal takes text from kTextEqualOpset on only.
  if (ml_opset_ < 2) {
    const std::string at =
        Add("LabelEncoder", {tensor},
            {{"classes_strings", std::vector<std::string>{word}}, {"default_int64", int64_t{-1}}}, "", kMlDomain);
    return Add("Equal", {at, Constant(Tensor::Of<int64_t>({}, {0}))});
  }
  const std::string is = Add("LabelEncoder", {tensor},
                             {{"keys_strings", std::vector<std::string>{word}},
                              {"values_int64s", std::vector<int64_t>{1}},
                              {"default_int64", int64_t{0}}},
                             "", kMlDomain);
  return Cast(is, DType::kBool);
}

}  // namespace portico
