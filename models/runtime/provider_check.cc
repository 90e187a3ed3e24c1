#include "models/runtime/provider_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "models/runtime/ort_providers.h"
#include "models/runtime/session.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// y[N] = Relu(x[N]).
std::string SmallModel() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("check");
  const auto declare = [](onnx::ValueInfoProto* value, const char* name) {
    value->set_name(name);
    auto& tensor = *value->mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(onnx::TensorProto::FLOAT);
    tensor.mutable_shape()->add_dim()->set_dim_param("N");
  };
  declare(graph.add_input(), "x");
  declare(graph.add_output(), "y");
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type("Relu");
  node.add_input("x");
  node.add_output("y");
  return model.SerializeAsString();
}

}  // namespace

absl::Status CheckProvidersStart(absl::Span<const ExecutionProvider> providers) {
  for (const ExecutionProvider& provider : providers) {
    if (provider.name == "cpu") continue;
    Session::Options options;
    options.name = "check";
    // Whether it can do this op is not asked.
    options.providers = {provider, {"cpu", {}}};
    const auto session = Session::Create(SmallModel(), {}, options);
    if (session.ok()) continue;
    // What is missing says so itself; what cannot start says it as ONNX Runtime does.
    const std::string message(session.status().message());
    const std::string subject = absl::StrCat("execution provider '", provider.name, "': ");
    const size_t own = message.find(subject);
    if (own != std::string::npos) return absl::FailedPreconditionError(message.substr(own));
    return absl::FailedPreconditionError(
        absl::StrCat(subject, "this ", OnnxRuntimeName(), " cannot start it: ", message,
                     "; see to its device and libraries, or remove '", provider.name, "'"));
  }
  return absl::OkStatus();
}

}  // namespace portico
