#pragma once

#include <string>
#include <vector>

namespace onnx {
class AttributeProto;
class FunctionProto;
class NodeProto;
}  // namespace onnx

namespace portico {

// Fields of ONNX files that are newer than the protobuf classes we may be compiled against (IR version 8). Where the
// classes lack them, protobuf keeps them as unknown fields, and they are read from there. Included by sources only.

/// Which of several functions of one name a node calls; empty where there is one (IR version 10).
std::string NodeOverload(const onnx::NodeProto& node);
std::string FunctionOverload(const onnx::FunctionProto& function);

/// Default values of a function's attributes, by name (IR version 9).
std::vector<onnx::AttributeProto> FunctionDefaults(const onnx::FunctionProto& function);

}  // namespace portico
