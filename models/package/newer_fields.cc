#include "models/package/newer_fields.h"

#include <algorithm>

#include "google/protobuf/unknown_field_set.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

// Numbers of onnx.proto.
constexpr int kNodeOverload = 8;
constexpr int kFunctionOverload = 13;
constexpr int kFunctionAttributeProto = 11;

std::string StringField(const google::protobuf::Message& message, int number) {
  if (const auto* field = message.GetDescriptor()->FindFieldByNumber(number)) {
    return message.GetReflection()->GetString(message, field);
  }
  const google::protobuf::UnknownFieldSet& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const google::protobuf::UnknownField& field = unknown.field(i);
    if (field.number() == number && field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
      return field.length_delimited();
    }
  }
  return "";
}

}  // namespace

std::string NodeOverload(const onnx::NodeProto& node) { return StringField(node, kNodeOverload); }
std::string FunctionOverload(const onnx::FunctionProto& function) { return StringField(function, kFunctionOverload); }

std::vector<onnx::AttributeProto> FunctionDefaults(const onnx::FunctionProto& function) {
  std::vector<onnx::AttributeProto> defaults;
  const google::protobuf::Reflection* reflection = function.GetReflection();
  if (const auto* field = function.GetDescriptor()->FindFieldByNumber(kFunctionAttributeProto)) {
    for (int i = 0; i < reflection->FieldSize(function, field); ++i) {
      defaults.emplace_back().CopyFrom(reflection->GetRepeatedMessage(function, field, i));
    }
  }
  const google::protobuf::UnknownFieldSet& unknown = reflection->GetUnknownFields(function);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const google::protobuf::UnknownField& field = unknown.field(i);
    if (field.number() != kFunctionAttributeProto ||
        field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
      continue;
    }
    onnx::AttributeProto attribute;
    if (attribute.ParseFromString(field.length_delimited())) defaults.push_back(std::move(attribute));
  }
  std::sort(defaults.begin(), defaults.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
  return defaults;
}

}  // namespace portico
