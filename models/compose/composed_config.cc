#include "models/compose/composed_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

void EmitTensors(const char* what, const std::vector<TensorSpec>& specs, bool declare_axes, YAML::Emitter& out) {
  out << YAML::Key << what << YAML::Value << YAML::BeginMap;
  for (const TensorSpec& spec : specs) {
    out << YAML::Key << spec.name << YAML::Value << YAML::Flow << YAML::BeginMap;
    if (spec.graph_name != spec.name) out << YAML::Key << "tensor" << YAML::Value << spec.graph_name;
    if (declare_axes) out << YAML::Key << "axis" << YAML::Value << std::string(AxisKindName(spec.axis));
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

void EmitBatching(const BatchingOptions& batching, YAML::Emitter& out) {
  out << YAML::Key << "batching" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "max_batch_size" << YAML::Value << batching.max_batch_size;
  out << YAML::Key << "max_delay_us" << YAML::Value << batching.max_delay_us;
  out << YAML::Key << "max_queue_rows" << YAML::Value << batching.max_queue_rows;
  out << YAML::Key << "max_running" << YAML::Value << batching.max_running;
  if (!batching.allowed_batch_sizes.empty()) {
    out << YAML::Key << "allowed_batch_sizes" << YAML::Value << YAML::Flow << batching.allowed_batch_sizes;
  }
  if (!batching.shares.empty()) out << YAML::Key << "shares" << YAML::Value << YAML::Flow << batching.shares;
  const std::pair<const char*, bool> flags[] = {{"pad_variable_length_inputs", batching.pad_variable_length_inputs},
                                                {"enable_large_batch_splitting", batching.enable_large_batch_splitting},
                                                {"adaptive", batching.adaptive}};
  for (const auto& [key, value] : flags) {
    if (value) out << YAML::Key << key << YAML::Value << true;
  }
  out << YAML::EndMap;
}

}  // namespace

std::string ComposedConfig(const Composition& composition, const Signature& signature, const Package* leading,
                           bool declare_axes) {
  YAML::Emitter out;
  out << YAML::Comment(
      absl::StrCat("Written by portico compose: ", CompositionKindName(composition.kind), " '", composition.name, "'"));
  out << YAML::BeginMap;
  const auto renamed = [](const TensorSpec& spec) { return spec.graph_name != spec.name; };
  if (declare_axes || std::any_of(signature.outputs.begin(), signature.outputs.end(), renamed)) {
    out << YAML::Key << "signatures" << YAML::Value << YAML::BeginMap;
    out << YAML::Key << signature.name << YAML::Value << YAML::BeginMap;
    EmitTensors("inputs", signature.inputs, declare_axes, out);
    EmitTensors("outputs", signature.outputs, declare_axes, out);
    out << YAML::EndMap << YAML::EndMap;
  }
  if (leading != nullptr) {
    EmitBatching(leading->batching, out);
    out << YAML::Key << "intra_op_threads" << YAML::Value << leading->intra_op_threads;
    if (leading->max_workers != 0) out << YAML::Key << "max_workers" << YAML::Value << leading->max_workers;
  } else {
    out << YAML::Key << "intra_op_threads" << YAML::Value << 1;
  }
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace portico
