#include "cli/inspection.h"

#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "cli/hub_text.h"
#include "cli/json_writer.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/runtime/declared_axes.h"
#include "models/runtime/row_check.h"
#include "models/runtime/session.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Bytes of all weights of the segment, those inside its protobuf too.
uint64_t WeightBytes(const SegmentSpec& spec, const Model& model) {
  onnx::ModelProto proto;
  if (!proto.ParseFromString(spec.model)) return 0;
  uint64_t bytes = 0;
  for (const auto& weight : proto.graph().initializer()) {
    const auto it = model.initializers().find(weight.name());
    if (it != model.initializers().end()) bytes += it->second.tensor.bytes().size();
  }
  return bytes;
}

absl::StatusOr<Inspection::Segment> ViewSegment(const SegmentSpec& spec, const Model& model,
                                                const DeclaredRows& declared) {
  Inspection::Segment segment;
  segment.name = spec.name;
  segment.nodes = spec.num_nodes;
  segment.inputs = spec.inputs;
  segment.outputs = spec.outputs;
  segment.weight_bytes = WeightBytes(spec, model);
  Session::Options options;
  options.name = spec.name;
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Create(spec.model, spec.weights, options));
  const RowAxes axes = SegmentRowAxes(*session, declared);
  segment.rows_joined = axes.joinable;
  segment.reason = axes.reason;
  return segment;
}

Inspection::Portal ViewPortal(const PlanStep& step, const std::vector<std::string>& slots) {
  const PortalSpec& spec = *step.portal;
  Inspection::Portal portal;
  portal.node = spec.node_name;
  portal.op = spec.op_type;
  portal.targets = PortalTargets(spec);
  portal.signature = spec.signature;
  for (const int slot : step.inputs) portal.inputs.push_back(slots[slot]);
  portal.outputs = spec.outputs;
  return portal;
}

absl::StatusOr<Inspection::SignatureView> ViewSignature(const Model& model, const Signature& signature,
                                                        bool axes_declared) {
  ASSIGN_OR_RETURN(const GraphPlan plan, Partition(model, signature));
  Inspection::SignatureView view;
  view.signature = signature;
  const DeclaredRows declared = axes_declared ? DeclaredRows::Of(signature) : DeclaredRows();
  bool joined = true;
  for (const PlanStep& step : plan.steps) {
    if (step.portal != nullptr) {
      view.portals.push_back(ViewPortal(step, plan.slots));
      continue;
    }
    if (step.table != nullptr) {
      view.lookups.push_back({step.table->node_name, step.table->file, step.table->content});
      joined = false;
      continue;
    }
    ASSIGN_OR_RETURN(Inspection::Segment segment, ViewSegment(*step.segment, model, declared));
    joined &= segment.rows_joined;
    view.segments.push_back(std::move(segment));
  }
  // As a node does: rows where every segment joins them.
  if (!axes_declared && joined && !view.segments.empty()) {
    for (std::vector<TensorSpec>* specs : {&view.signature.inputs, &view.signature.outputs}) {
      for (TensorSpec& spec : *specs) {
        if (!spec.dims.empty() && !spec.dims[0].symbol.empty()) spec.axis = AxisKind::kRows;
      }
    }
  }
  return view;
}

void AppendTensors(absl::string_view what, const std::vector<TensorSpec>& specs, bool declared, std::string* text) {
  for (const TensorSpec& spec : specs) {
    absl::StrAppend(text, "  ", what, " ", spec.name, " ", spec.ToString(), "  ", AxisKindName(spec.axis),
                    declared ? " (declared)" : " (inferred)");
    if (spec.partition != RowPartition::kNone) {
      absl::StrAppend(text, "  ", RowPartitionName(spec.partition), " ", spec.partition_input);
    }
    if (spec.graph_name != spec.name) absl::StrAppend(text, "  tensor ", spec.graph_name);
    absl::StrAppend(text, "\n");
  }
}

void WriteTensors(absl::string_view key, const std::vector<TensorSpec>& specs, bool with_axis, JsonWriter& json) {
  json.BeginArray(key);
  for (const TensorSpec& spec : specs) {
    json.BeginObject();
    json.String("name", spec.name);
    json.String("tensor", spec.graph_name);
    json.String("dtype", DTypeName(spec.dtype));
    if (spec.has_rank) {
      json.BeginArray("shape");
      for (const Dim& dim : spec.dims) {
        if (dim.extent >= 0) {
          json.Number(dim.extent);
        } else {
          json.String(dim.symbol.empty() ? "?" : dim.symbol);
        }
      }
      json.EndArray();
    }
    if (with_axis) json.String("axis", AxisKindName(spec.axis));
    if (spec.partition != RowPartition::kNone) json.String(RowPartitionName(spec.partition), spec.partition_input);
    json.EndObject();
  }
  json.EndArray();
}

/// "digest 4f…"; "no digest" where no target has one.
std::string DigestsText(const std::vector<PortalTarget>& targets) {
  if (absl::c_all_of(targets, [](const PortalTarget& one) { return one.digest.empty(); })) return "no digest";
  return absl::StrCat("digest ", absl::StrJoin(targets, ", ", [](std::string* out, const PortalTarget& one) {
                        out->append(one.digest.empty() ? "none" : one.digest.Hex());
                      }));
}

/// "target" and "digest"; of experts the lists of both.
void WriteTargets(const Inspection::Portal& portal, JsonWriter& json) {
  if (portal.op != "Experts") {
    json.String("target", portal.targets[0].name);
    if (!portal.targets[0].digest.empty()) json.String("digest", portal.targets[0].digest.Hex());
    return;
  }
  std::vector<std::string> names, digests;
  for (const PortalTarget& target : portal.targets) {
    names.push_back(target.name);
    digests.push_back(target.digest.empty() ? "" : target.digest.Hex());
  }
  json.Strings("targets", names);
  json.Strings("digests", digests);
}

}  // namespace

absl::Status AddModel(const Model& model, const std::vector<Signature>& signatures, bool axes_declared,
                      Inspection& inspection) {
  inspection.nodes = model.proto().graph().node_size();
  inspection.weight_bytes = model.weight_bytes();
  inspection.axes_declared = axes_declared;
  inspection.provenance = ReadProvenance(model);
  for (const Signature& signature : signatures) {
    absl::StatusOr<Inspection::SignatureView> view = ViewSignature(model, signature, axes_declared);
    if (!view.ok()) return WithContext(absl::StrCat("signature '", signature.name, "'"), view.status());
    inspection.signatures.push_back(*std::move(view));
  }
  return absl::OkStatus();
}

std::string ToText(const Inspection& inspection) {
  std::string text =
      absl::StrCat(inspection.name, inspection.version > 0 ? absl::StrCat(" version ", inspection.version) : "", " (",
                   inspection.path, ")\n");
  if (inspection.versions.size() > 1)
    absl::StrAppend(&text, "versions ", absl::StrJoin(inspection.versions, ", "), "\n");
  absl::StrAppend(&text, "digest ", inspection.digest.Hex(), "\n", inspection.nodes, " nodes, ",
                  ByteText(inspection.weight_bytes), " of weights\n", ProvenanceText(inspection.provenance, ""));
  for (const Inspection::SignatureView& view : inspection.signatures) {
    absl::StrAppend(&text, "signature ", view.signature.name, "\n");
    AppendTensors("in ", view.signature.inputs, inspection.axes_declared, &text);
    AppendTensors("out", view.signature.outputs, inspection.axes_declared, &text);
    for (const Inspection::Segment& segment : view.segments) {
      absl::StrAppend(&text, "  segment ", segment.name, ": ", segment.nodes, " nodes, ",
                      ByteText(segment.weight_bytes), " of weights, ", absl::StrJoin(segment.inputs, ", "), " -> ",
                      absl::StrJoin(segment.outputs, ", "),
                      segment.rows_joined ? "; rows of requests are joined"
                                          : absl::StrCat("; rows of requests are not joined: ", segment.reason),
                      "\n");
    }
    for (const Inspection::Portal& portal : view.portals) {
      absl::StrAppend(
          &text, "  portal ", portal.node, " (", portal.op, ") to ",
          absl::StrJoin(portal.targets, ", ", [](std::string* out, const PortalTarget& one) { out->append(one.name); }),
          ", signature ", portal.signature, ", ", DigestsText(portal.targets), "\n    ",
          absl::StrJoin(portal.inputs, ", "), " -> ",
          absl::StrJoin(
              portal.outputs, ", ",
              [](std::string* out, const TensorSpec& spec) { absl::StrAppend(out, spec.name, " ", spec.ToString()); }),
          "\n");
    }
    for (const Inspection::Lookup& lookup : view.lookups) {
      absl::StrAppend(&text, "  lookup ", lookup.node, " in ", lookup.file,
                      " ('portico table inspect' shows it), content ", lookup.content.Hex(), "\n");
    }
  }
  return text;
}

std::string ToJson(const Inspection& inspection) {
  JsonWriter json;
  json.BeginObject();
  json.String("name", inspection.name);
  json.String("path", inspection.path);
  if (inspection.version > 0) json.Number("version", inspection.version);
  if (!inspection.versions.empty()) {
    json.BeginArray("versions");
    for (const int64_t version : inspection.versions) json.Number(version);
    json.EndArray();
  }
  json.String("digest", inspection.digest.Hex());
  json.Number("nodes", inspection.nodes);
  json.Number("weight_bytes", static_cast<int64_t>(inspection.weight_bytes));
  json.Bool("axes_declared", inspection.axes_declared);
  if (!inspection.provenance.empty()) {
    json.BeginObject("provenance");
    json.String("source_digest", inspection.provenance.source.Hex());
    json.String("tool", inspection.provenance.tool);
    json.String("plan", inspection.provenance.plan);
    json.EndObject();
  }
  json.BeginArray("signatures");
  for (const Inspection::SignatureView& view : inspection.signatures) {
    json.BeginObject();
    json.String("name", view.signature.name);
    WriteTensors("inputs", view.signature.inputs, /*with_axis=*/true, json);
    WriteTensors("outputs", view.signature.outputs, /*with_axis=*/true, json);
    json.BeginArray("segments");
    for (const Inspection::Segment& segment : view.segments) {
      json.BeginObject();
      json.String("name", segment.name);
      json.Number("nodes", segment.nodes);
      json.Number("weight_bytes", static_cast<int64_t>(segment.weight_bytes));
      json.Strings("inputs", segment.inputs);
      json.Strings("outputs", segment.outputs);
      json.Bool("rows_joined", segment.rows_joined);
      if (!segment.reason.empty()) json.String("reason", segment.reason);
      json.EndObject();
    }
    json.EndArray();
    json.BeginArray("portals");
    for (const Inspection::Portal& portal : view.portals) {
      json.BeginObject();
      json.String("node", portal.node);
      json.String("op", portal.op);
      WriteTargets(portal, json);
      json.String("signature", portal.signature);
      json.Strings("inputs", portal.inputs);
      WriteTensors("outputs", portal.outputs, /*with_axis=*/false, json);
      json.EndObject();
    }
    json.EndArray();
    if (!view.lookups.empty()) {
      json.BeginArray("lookups");
      for (const Inspection::Lookup& lookup : view.lookups) {
        json.BeginObject();
        json.String("node", lookup.node);
        json.String("file", lookup.file);
        json.String("content", lookup.content.Hex());
        json.EndObject();
      }
      json.EndArray();
    }
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return json.Take() + "\n";
}

}  // namespace portico
