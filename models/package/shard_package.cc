#include "models/package/shard_package.h"

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "embedding/shard_file.h"
#include "models/package/model.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr absl::string_view kDomain = "ai.portico";
constexpr absl::string_view kFileAttribute = "file";
constexpr absl::string_view kContentAttribute = "content";
constexpr absl::string_view kDeltasAttribute = "deltas";
constexpr absl::string_view kDeltaContentsAttribute = "delta_contents";
constexpr absl::string_view kSourceAttribute = "source";

/// "N": an extent of that name; a number: that.
struct Extent {
  absl::string_view symbol;
  int64_t number = -1;
};

void Declare(onnx::ValueInfoProto& value, absl::string_view name, DType dtype, std::initializer_list<Extent> shape) {
  value.set_name(std::string(name));
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int>(dtype));
  for (const Extent& extent : shape) {
    onnx::TensorShapeProto::Dimension& dim = *type.mutable_shape()->add_dim();
    if (extent.symbol.empty()) {
      dim.set_dim_value(extent.number);
    } else {
      dim.set_dim_param(std::string(extent.symbol));
    }
  }
}

void SetAttribute(onnx::NodeProto& node, absl::string_view name, std::string value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(std::string(name));
  attribute.set_type(onnx::AttributeProto::STRING);
  attribute.set_s(std::move(value));
}

void SetAttribute(onnx::NodeProto& node, absl::string_view name, const std::vector<std::string>& values) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(std::string(name));
  attribute.set_type(onnx::AttributeProto::STRINGS);
  for (const std::string& value : values) attribute.add_strings(value);
}

std::unique_ptr<onnx::ModelProto> MakeModel(absl::string_view file, const Digest& content,
                                            const std::vector<TableLookupSpec::Delta>& deltas, const Digest& source) {
  auto model = std::make_unique<onnx::ModelProto>();
  model->set_ir_version(8);
  model->set_producer_name("portico");
  onnx::OperatorSetIdProto& onnx_opset = *model->add_opset_import();
  onnx_opset.set_domain("");
  onnx_opset.set_version(17);
  onnx::OperatorSetIdProto& opset = *model->add_opset_import();
  opset.set_domain(std::string(kDomain));
  opset.set_version(1);

  onnx::GraphProto& graph = *model->mutable_graph();
  graph.set_name(std::string(LookupCall::kSignature));
  onnx::NodeProto& node = *graph.add_node();
  node.set_name(std::string(LookupCall::kSignature));
  node.set_op_type(std::string(LookupCall::kOp));
  node.set_domain(std::string(kDomain));
  for (const absl::string_view name : LookupCall::kInputNames) node.add_input(std::string(name));
  for (const absl::string_view name : LookupCall::kOutputNames) node.add_output(std::string(name));
  SetAttribute(node, kFileAttribute, std::string(file));
  SetAttribute(node, kContentAttribute, content.Hex());
  if (!deltas.empty()) {
    std::vector<std::string> files, contents;
    for (const TableLookupSpec::Delta& delta : deltas) {
      files.push_back(delta.file);
      contents.push_back(delta.content.Hex());
    }
    SetAttribute(node, kDeltasAttribute, files);
    SetAttribute(node, kDeltaContentsAttribute, contents);
  }
  if (!source.empty()) SetAttribute(node, kSourceAttribute, source.Hex());

  const auto input = [&](LookupCall::Input which, DType dtype, std::initializer_list<Extent> shape) {
    Declare(*graph.add_input(), LookupCall::kInputNames[which], dtype, shape);
  };
  const auto output = [&](LookupCall::Output which, DType dtype, std::initializer_list<Extent> shape) {
    Declare(*graph.add_output(), LookupCall::kOutputNames[which], dtype, shape);
  };
  input(LookupCall::kTables, DType::kString, {{"K"}});
  input(LookupCall::kEntries, DType::kInt32, {{"K"}, {"", LookupCall::kEntryColumns}});
  input(LookupCall::kIds, DType::kInt64, {{"T"}});
  input(LookupCall::kStrings, DType::kString, {{"S"}});
  input(LookupCall::kLengths, DType::kInt32, {{"B"}});
  input(LookupCall::kWeights, DType::kFloat, {{"W"}});
  output(LookupCall::kRows, DType::kUint8, {{"bytes"}});
  output(LookupCall::kFound, DType::kInt64, {{"K"}, {"", LookupCall::kFoundColumns}});
  return model;
}

/// Empty where there is none, or it is no string.
absl::string_view Attribute(const onnx::NodeProto& node, absl::string_view name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return attribute.s();
  }
  return "";
}

std::vector<std::string> Strings(const onnx::NodeProto& node, absl::string_view name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return {attribute.strings().begin(), attribute.strings().end()};
  }
  return {};
}

/// No folder in it: nothing that could lead out of the package.
bool IsPlainName(absl::string_view file) {
  return !file.empty() && file != "." && file != ".." && file.size() <= 255 &&
         file.find_first_of(absl::string_view("/\\\0", 3)) == absl::string_view::npos;
}

absl::Status CheckFileName(absl::string_view file, absl::string_view attribute = kFileAttribute) {
  if (IsPlainName(file)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("attribute '", attribute, "': got '", file, "', want the name of a file beside the model"));
}

absl::StatusOr<std::string> Resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) return ErrnoStatus(errno, "open shard file", path);
  return std::string(resolved.get());
}

absl::StatusOr<Digest> ReadContent(absl::string_view attribute, absl::string_view hex) {
  absl::StatusOr<Digest> digest = Digest::FromHex(hex);
  if (!digest.ok()) return WithContext(absl::StrCat("attribute '", attribute, "'"), digest.status());
  return digest;
}

absl::Status ReadDeltas(const onnx::NodeProto& node, TableLookupSpec& spec) {
  const std::vector<std::string> files = Strings(node, kDeltasAttribute);
  const std::vector<std::string> contents = Strings(node, kDeltaContentsAttribute);
  if (files.size() != contents.size()) {
    return absl::InvalidArgumentError(absl::StrCat("attribute '", kDeltaContentsAttribute, "': got ", contents.size(),
                                                   ", want ", files.size(), ", one for each of '", kDeltasAttribute,
                                                   "'"));
  }
  for (size_t i = 0; i < files.size(); ++i) {
    RETURN_IF_ERROR(CheckFileName(files[i], kDeltasAttribute));
    ASSIGN_OR_RETURN(const Digest content, ReadContent(kDeltaContentsAttribute, contents[i]));
    spec.deltas.push_back({files[i], content});
  }
  return absl::OkStatus();
}

absl::StatusOr<TableLookupSpec> Read(const onnx::NodeProto& node) {
  TableLookupSpec spec;
  spec.node_name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
  spec.file = std::string(Attribute(node, kFileAttribute));
  RETURN_IF_ERROR(CheckFileName(spec.file));
  ASSIGN_OR_RETURN(spec.content, ReadContent(kContentAttribute, Attribute(node, kContentAttribute)));
  RETURN_IF_ERROR(ReadDeltas(node, spec));
  if (const absl::string_view source = Attribute(node, kSourceAttribute); !source.empty()) {
    ASSIGN_OR_RETURN(spec.source, ReadContent(kSourceAttribute, source));
  }
  if (node.input_size() != LookupCall::kInputs || node.output_size() != LookupCall::kOutputs) {
    return absl::InvalidArgumentError(absl::StrCat("got ", node.input_size(), " inputs and ", node.output_size(),
                                                   " outputs, want ", int{LookupCall::kInputs}, " and ",
                                                   int{LookupCall::kOutputs}, " as a call of a shard has them"));
  }
  for (int i = 0; i < node.input_size(); ++i) {
    if (node.input(i).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", i, ": got none, want '", LookupCall::kInputNames[i], "'"));
    }
  }
  const auto output = [&](LookupCall::Output which, DType dtype, std::vector<Dim> dims) {
    TensorSpec spec;
    spec.name = std::string(LookupCall::kOutputNames[which]);
    spec.graph_name = node.output(which);
    spec.dtype = dtype;
    spec.dims = std::move(dims);
    return spec;
  };
  spec.outputs = {output(LookupCall::kRows, DType::kUint8, {Dim()}),
                  output(LookupCall::kFound, DType::kInt64, {Dim(), Dim{LookupCall::kFoundColumns, ""}})};
  return spec;
}

}  // namespace

absl::StatusOr<TableLookupSpec> ReadTableLookup(const onnx::NodeProto& node) {
  absl::StatusOr<TableLookupSpec> spec = Read(node);
  if (!spec.ok()) return WithContext(absl::StrCat("node '", node.name(), "' (", node.op_type(), ")"), spec.status());
  return spec;
}

absl::Status WriteShardPackage(const std::string& folder, absl::string_view file,
                               const std::vector<TableLookupSpec::Delta>& deltas, const Digest& source) {
  RETURN_IF_ERROR(CheckFileName(file));
  ASSIGN_OR_RETURN(const std::unique_ptr<ShardFile> shard, ShardFile::Open(absl::StrCat(folder, "/", file)));
  WeightStore none;
  ASSIGN_OR_RETURN(const Model model,
                   Model::FromProto(MakeModel(file, shard->layout().content, deltas, source), "", none));
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/servable.yaml"),
                                      absl::StrCat("signatures: {", LookupCall::kSignature, ": {}}\n")));
  return model.Save(folder);
}

absl::StatusOr<TableLookupSpec> ReadShardPackage(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/model.onnx");
  WeightStore none;
  ASSIGN_OR_RETURN(const Model model, Model::Load(path, none));
  const onnx::GraphProto& graph = model.proto().graph();
  if (graph.node_size() != 1 || graph.node(0).domain() != kDomain || graph.node(0).op_type() != LookupCall::kOp) {
    return absl::InvalidArgumentError(absl::StrCat("model '", path, "': got no package of a shard, want one node ",
                                                   LookupCall::kOp, "; 'portico table build --shards' writes them"));
  }
  absl::StatusOr<TableLookupSpec> spec = ReadTableLookup(graph.node(0));
  if (!spec.ok()) return WithContext(absl::StrCat("model '", path, "'"), spec.status());
  return spec;
}

namespace {

absl::StatusOr<std::string> PathInside(const std::string& folder, const std::string& file) {
  ASSIGN_OR_RETURN(const std::string inside, Resolved(folder));
  ASSIGN_OR_RETURN(std::string path, Resolved(absl::StrCat(inside, "/", file)));
  const size_t slash = path.rfind('/');
  if (path.substr(0, slash) == (inside == "/" ? "" : inside)) return path;
  return absl::InvalidArgumentError(
      absl::StrCat("shard file '", file, "': got a link to '", path, "', want the file itself in '", folder, "'"));
}

}  // namespace

absl::StatusOr<std::string> ShardPath(const std::string& folder, const TableLookupSpec& spec) {
  RETURN_IF_ERROR(CheckFileName(spec.file));
  return PathInside(folder, spec.file);
}

absl::StatusOr<ShardParts> ShardPartsOf(const std::string& folder, const TableLookupSpec& spec) {
  ShardParts parts;
  ASSIGN_OR_RETURN(parts.base_path, ShardPath(folder, spec));
  parts.content = spec.content;
  for (const TableLookupSpec::Delta& delta : spec.deltas) {
    RETURN_IF_ERROR(CheckFileName(delta.file, kDeltasAttribute));
    ASSIGN_OR_RETURN(std::string path, PathInside(folder, delta.file));
    parts.deltas.push_back({std::move(path), delta.content});
  }
  return parts;
}

absl::StatusOr<ShardParts> ReadShardParts(const std::string& folder) {
  ASSIGN_OR_RETURN(const TableLookupSpec spec, ReadShardPackage(folder));
  return ShardPartsOf(folder, spec);
}

absl::StatusOr<std::shared_ptr<const ShardVersion>> OpenShardVersion(const std::string& folder, ShardStore& store) {
  ASSIGN_OR_RETURN(const ShardParts parts, ReadShardParts(folder));
  return store.Open(parts);
}

}  // namespace portico
