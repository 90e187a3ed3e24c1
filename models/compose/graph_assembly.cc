#include "models/compose/graph_assembly.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/compose/composed_config.h"
#include "models/compose/graph_rename.h"
#include "models/graph/graph_plan.h"
#include "models/package/newer_fields.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Where no member says another one: what compares text, too.
constexpr int64_t kOwnOpset = 19;
constexpr int64_t kOwnMlOpset = 3;
constexpr int64_t kOwnIrVersion = 9;

absl::string_view Domain(absl::string_view domain) { return domain == "ai.onnx" ? "" : domain; }

/// "N,64" as a portal has it.
std::string ShapeText(const TensorSpec& spec) {
  if (!spec.has_rank) return "...";
  return absl::StrJoin(spec.dims, ",", [](std::string* out, const Dim& dim) {
    if (dim.extent >= 0) {
      absl::StrAppend(out, dim.extent);
    } else {
      absl::StrAppend(out, dim.symbol.empty() ? "?" : dim.symbol);
    }
  });
}

bool HasSymbol(const onnx::ValueInfoProto& info) {
  return absl::c_any_of(info.type().tensor_type().shape().dim(),
                        [](const onnx::TensorShapeProto::Dimension& dim) { return dim.has_dim_param(); });
}

std::vector<std::string> Names(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  return names;
}

}  // namespace

GraphAssembly::GraphAssembly(const Composition& composition)
    : composition_(composition), proto_(std::make_unique<onnx::ModelProto>()) {
  proto_->set_producer_name("portico");
  proto_->mutable_graph()->set_name(composition.name);
  proto_->set_doc_string(absl::StrCat(
      CompositionKindName(composition.kind), " of ",
      absl::StrJoin(composition.members, ", ",
                    [](std::string* out, const CompositionMember& member) { out->append(member.model); })));
}

GraphAssembly::~GraphAssembly() = default;

absl::StatusOr<std::unique_ptr<GraphAssembly>> GraphAssembly::Create(const Composition& composition,
                                                                     absl::Span<const BoundMember* const> members) {
  std::unique_ptr<GraphAssembly> assembly(new GraphAssembly(composition));
  for (const BoundMember* member : members) {
    if (!member->copied) continue;
    RETURN_IF_ERROR(assembly->TakeOpsets(*member));
    RETURN_IF_ERROR(assembly->TakeFunctions(*member));
    if (assembly->leading_ == nullptr) assembly->leading_ = member->ingredient.package.get();
    assembly->axes_declared_ |= member->ingredient.axes_declared;
  }
  int64_t opset = 0, ml_opset = 0;
  for (const onnx::OperatorSetIdProto& import : assembly->proto_->opset_import()) {
    if (import.domain().empty()) opset = import.version();
    if (import.domain() == "ai.onnx.ml") ml_opset = import.version();
  }
  if (opset == 0) {
    opset = kOwnOpset;
    assembly->proto_->add_opset_import()->set_version(opset);
    assembly->proto_->set_ir_version(std::max(assembly->proto_->ir_version(), kOwnIrVersion));
  }
  assembly->proto_->set_ir_version(std::max<int64_t>(assembly->proto_->ir_version(), 4));
  assembly->ops_ = std::make_unique<OpWriter>(*assembly->proto_->mutable_graph(), "ops/", opset,
                                              ml_opset == 0 ? kOwnMlOpset : ml_opset);
  return assembly;
}

absl::Status GraphAssembly::TakeOpsets(const BoundMember& member) {
  const onnx::ModelProto& model = member.ingredient.package->model.proto();
  const auto refuse = [&](const auto&... message) {
    return composition_.ErrorAt(member.member->line,
                                absl::StrCat("'", member.member->model, "': got opset ", message...,
                                             "; export it again, or call it through a portal: {model: ",
                                             member.member->model, ", inline: false}"));
  };
  for (const onnx::OperatorSetIdProto& import : model.opset_import()) {
    const absl::string_view domain = Domain(import.domain());
    if (domain.empty() && import.version() < OpWriter::kMinOpset) {
      return refuse(import.version(), ", want ", OpWriter::kMinOpset, " or later where a graph is copied");
    }
    const auto have = absl::c_find_if(proto_->opset_import(), [&](const auto& one) { return one.domain() == domain; });
    if (have == proto_->opset_import().end()) {
      onnx::OperatorSetIdProto& taken = *proto_->add_opset_import();
      taken.set_domain(std::string(domain));
      taken.set_version(import.version());
    } else if (have->version() != import.version()) {
      return refuse(import.version(), domain.empty() ? "" : absl::StrCat(" of '", domain, "'"), ", want ",
                    have->version(), " as '", leading_->name, "' has it: graphs copied into one share it");
    }
  }
  proto_->set_ir_version(std::max(proto_->ir_version(), model.ir_version()));
  return absl::OkStatus();
}

absl::Status GraphAssembly::TakeFunctions(const BoundMember& member) {
  for (const onnx::FunctionProto& function : member.ingredient.package->model.proto().functions()) {
    const auto same = absl::c_find_if(proto_->functions(), [&](const onnx::FunctionProto& one) {
      return one.name() == function.name() && Domain(one.domain()) == Domain(function.domain()) &&
             FunctionOverload(one) == FunctionOverload(function);
    });
    if (same == proto_->functions().end()) {
      *proto_->add_functions() = function;
    } else if (same->SerializeAsString() != function.SerializeAsString()) {
      return composition_.ErrorAt(member.member->line,
                                  absl::StrCat("'", member.member->model, "': got function '", function.name(),
                                               "', want the one that another model of the composition has; call it "
                                               "through a portal: {model: ",
                                               member.member->model, ", inline: false}"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorSpec>> GraphAssembly::Inputs(const BoundMember& member,
                                                              const std::vector<TensorSpec>& scope) {
  std::vector<TensorSpec> inputs;
  for (const TensorSpec& want : member.inputs) {
    const TensorSpec* have = FindSpec(scope, want.name);
    const bool inner = have != nullptr;
    if (!inner) have = FindSpec(inputs_, want.name);
    if (have == nullptr) {
      TensorSpec& added = inputs_.emplace_back(want);
      added.graph_name = added.name;
      inputs.push_back(added);
      continue;
    }
    if (const std::string why = Mismatch(*have, want); !why.empty()) {
      return composition_.ErrorAt(
          member.member->line,
          absl::StrCat("'", member.member->model, "': input '", want.name, "': ", why, "; ",
                       inner ? "that is what an earlier model gives" : "another model takes it too",
                       ": rename one with 'inputs'"));
    }
    inputs.push_back(*have);
    if (inner) continue;
    // What both say of it.
    TensorSpec& known = *absl::c_find_if(inputs_, [&](const TensorSpec& spec) { return spec.name == want.name; });
    if (!known.has_rank) {
      known.has_rank = want.has_rank;
      known.dims = want.dims;
    }
    for (size_t i = 0; i < known.dims.size() && i < want.dims.size(); ++i) {
      if (known.dims[i].extent < 0 && want.dims[i].extent >= 0) known.dims[i] = want.dims[i];
    }
  }
  return inputs;
}

std::vector<TensorSpec> GraphAssembly::Call(const BoundMember& member, const std::vector<TensorSpec>& inputs) {
  if (member.copied) return Copy(member, inputs);
  PortalCall call{.op_type = "Remote", .member = &member, .inputs = inputs};
  for (size_t i = 0; i < member.outputs.size(); ++i) call.outputs.push_back(i);
  return AddPortal(call);
}

std::string GraphAssembly::NewPrefix(const std::string& model) {
  std::string prefix = absl::StrCat(model, "/");
  for (int i = 2; !prefixes_.insert(prefix).second; ++i) prefix = absl::StrCat(model, "_", i, "/");
  return prefix;
}

std::vector<TensorSpec> GraphAssembly::Copy(const BoundMember& member, const std::vector<TensorSpec>& inputs) {
  const Model& model = member.ingredient.package->model;
  const onnx::GraphProto& source = model.proto().graph();
  const std::string prefix = NewPrefix(member.member->model);
  absl::flat_hash_map<std::string, std::string> placed;
  for (size_t i = 0; i < inputs.size(); ++i) placed.emplace(member.theirs.inputs[i].graph_name, inputs[i].graph_name);
  const NewTensorName name = [&](const std::string& tensor) {
    const auto at = placed.find(tensor);
    return at == placed.end() ? absl::StrCat(prefix, tensor) : at->second;
  };
  onnx::GraphProto& graph = *proto_->mutable_graph();
  for (const onnx::TensorProto& weight : source.initializer()) {
    onnx::TensorProto& copy = *graph.add_initializer();
    copy = weight;
    copy.set_name(name(weight.name()));
    weights_.emplace(copy.name(), model.initializers().at(weight.name()));
  }
  for (const onnx::NodeProto& node : source.node()) {
    onnx::NodeProto& copy = *graph.add_node();
    copy = node;
    if (!node.name().empty()) copy.set_name(absl::StrCat(prefix, node.name()));
    RenameTensors(copy, name);
    has_portals_ |= node.domain() == kPorticoDomain;
  }
  for (const onnx::ValueInfoProto& info : source.value_info()) {
    // Symbols of several models do not mean the same.
    if (HasSymbol(info)) continue;
    onnx::ValueInfoProto& copy = *graph.add_value_info();
    copy = info;
    copy.set_name(name(info.name()));
  }
  std::vector<TensorSpec> outputs = member.outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].graph_name = name(member.theirs.outputs[i].graph_name);
    if (!placed.contains(member.theirs.outputs[i].graph_name)) Declare(outputs[i]);
  }
  return outputs;
}

std::vector<TensorSpec> GraphAssembly::AddPortal(const PortalCall& call) {
  const BoundMember& member = *call.member;
  const std::string prefix = NewPrefix(call.name.empty() ? member.member->model : std::string(call.name));
  has_portals_ = true;
  std::vector<TensorSpec> outputs;
  std::vector<std::string> output_names, shapes;
  std::vector<int64_t> dtypes;
  for (const size_t index : call.outputs) {
    TensorSpec& output = outputs.emplace_back(member.outputs[index]);
    output.graph_name = absl::StrCat(prefix, output.name);
    output_names.push_back(member.theirs.outputs[index].name);
  }
  if (call.row_status) {
    TensorSpec& status = outputs.emplace_back();
    status.name = std::string(kRowStatusOutput);
    status.graph_name = absl::StrCat(prefix, "(row status)");
    status.dtype = DType::kInt8;
    status.dims = {{.symbol = std::string(kRowSymbol)}};
    status.axis = AxisKind::kRows;
  }
  std::vector<std::string> inputs = call.leading, tensors;
  for (const TensorSpec& input : call.inputs) inputs.push_back(input.graph_name);
  for (const TensorSpec& output : outputs) {
    tensors.push_back(output.graph_name);
    dtypes.push_back(static_cast<int64_t>(output.dtype));
    shapes.push_back(ShapeText(output));
    Declare(output);
  }
  std::vector<OpAttribute> attributes;
  if (call.has_target) attributes.push_back({"target", member.member->model});
  attributes.push_back({"signature", member.member->signature});
  if (call.has_target && member.member->pinned) attributes.push_back({"digest", member.ingredient.digest.Hex()});
  attributes.push_back({"input_names", Names(member.theirs.inputs)});
  attributes.push_back({"output_names", output_names});
  attributes.push_back({"output_dtypes", dtypes});
  attributes.push_back({"output_shapes", shapes});
  attributes.insert(attributes.end(), call.attributes.begin(), call.attributes.end());
  if (call.row_status) attributes.push_back({"row_status", int64_t{1}});
  ops_->AddNode(call.op_type, inputs, tensors, attributes, kPorticoDomain);
  onnx::GraphProto& graph = *proto_->mutable_graph();
  graph.mutable_node(graph.node_size() - 1)->set_name(prefix.substr(0, prefix.size() - 1));
  return outputs;
}

void GraphAssembly::Declare(const TensorSpec& spec) {
  if (spec.dtype != DType::kInvalid && spec.has_rank) SetValueInfo(spec, proto_->mutable_graph()->add_value_info());
}

absl::Status GraphAssembly::NameOutputs(std::vector<TensorSpec>& outputs) {
  absl::flat_hash_set<std::string> names;
  for (const TensorSpec& output : outputs) {
    if (names.insert(output.name).second) continue;
    return composition_.ErrorAt(composition_.line,
                                absl::StrCat("outputs: got '", output.name, "' twice, want it once; rename one"));
  }
  absl::flat_hash_set<std::string> taken, computed;
  onnx::GraphProto& graph = *proto_->mutable_graph();
  for (const TensorSpec& input : inputs_) taken.insert(input.graph_name);
  for (const onnx::TensorProto& weight : graph.initializer()) taken.insert(weight.name());
  for (const onnx::NodeProto& node : graph.node()) computed.insert(node.output().begin(), node.output().end());
  absl::flat_hash_map<std::string, std::string> renamed;
  for (TensorSpec& output : outputs) {
    std::string name = output.name;
    while (taken.contains(name) || (computed.contains(name) && name != output.graph_name)) name.append("_out");
    taken.insert(name);
    // What is no tensor of its own, or goes out twice, is copied.
    if (!computed.contains(output.graph_name) || renamed.contains(output.graph_name)) {
      const auto at = renamed.find(output.graph_name);
      ops_->Add("Identity", {at == renamed.end() ? output.graph_name : at->second}, {}, name);
    } else {
      renamed.emplace(output.graph_name, name);
    }
    output.graph_name = name;
  }
  RenameTensors(graph, [&](const std::string& tensor) {
    const auto at = renamed.find(tensor);
    return at == renamed.end() ? tensor : at->second;
  });
  return absl::OkStatus();
}

absl::StatusOr<ComposedModel> GraphAssembly::Finish(std::vector<TensorSpec> outputs) && {
  RETURN_IF_ERROR(NameOutputs(outputs));
  onnx::GraphProto& graph = *proto_->mutable_graph();
  // Declared as outputs instead.
  google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> inner;
  for (onnx::ValueInfoProto& info : *graph.mutable_value_info()) {
    const auto is_it = [&](const TensorSpec& spec) { return spec.graph_name == info.name(); };
    if (absl::c_none_of(outputs, is_it)) *inner.Add() = std::move(info);
  }
  graph.mutable_value_info()->Swap(&inner);
  for (const TensorSpec& input : inputs_) SetValueInfo(input, graph.add_input());
  for (const TensorSpec& output : outputs) {
    if (output.dtype == DType::kInvalid) {
      graph.add_output()->set_name(output.graph_name);
    } else {
      SetValueInfo(output, graph.add_output());
    }
  }
  const auto import = [this](absl::string_view domain, int64_t version) {
    const auto is_it = [&](const onnx::OperatorSetIdProto& one) { return one.domain() == domain; };
    if (absl::c_any_of(proto_->opset_import(), is_it)) return;
    onnx::OperatorSetIdProto& added = *proto_->add_opset_import();
    added.set_domain(std::string(domain));
    added.set_version(version);
  };
  if (has_portals_) import(kPorticoDomain, 1);
  if (ops_->used_ml()) import("ai.onnx.ml", ops_->ml_opset());

  Signature signature{.name = std::string(kDefaultSignature), .inputs = inputs_, .outputs = std::move(outputs)};
  std::string config = ComposedConfig(composition_, signature, leading_, axes_declared_);
  absl::StatusOr<Model> model = Model::WithWeights(std::move(weights_), std::move(proto_));
  if (!model.ok()) return composition_.ErrorAt(composition_.line, model.status().message());
  const absl::StatusOr<Digest> digest = ModelDigest(*model);
  if (!digest.ok()) return composition_.ErrorAt(composition_.line, digest.status().message());
  Package package{.name = composition_.name, .model = *std::move(model)};
  package.signatures = {std::move(signature)};
  package.digest = *digest;
  package.axes_declared = axes_declared_;
  if (leading_ != nullptr) {
    package.batching = leading_->batching;
    package.intra_op_threads = leading_->intra_op_threads;
    package.max_workers = leading_->max_workers;
  }
  return ComposedModel{.package = std::move(package), .config = std::move(config)};
}

}  // namespace portico
