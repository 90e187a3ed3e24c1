#include "router/registered_node.h"

#include "absl/strings/str_cat.h"
#include "base/json_string.h"
#include "simdjson.h"

namespace portico {
namespace {

/// etcd itself takes 1.5 MiB.
constexpr size_t kMaxBytes = size_t{2} << 20;
constexpr size_t kMaxEndpoints = 16;

std::string Text(simdjson::simdjson_result<std::string_view> from) { return std::string(from.value()); }

void AddText(absl::string_view key, absl::string_view value, std::string* out) {
  absl::StrAppend(out, "\"", key, "\":");
  AppendJsonString(value, out);
}

/// Throws simdjson_error for what is not there.
RegisteredNode Parse(const simdjson::dom::element& root) {
  RegisteredNode node;
  node.id = Text(root["id"].get_string());
  for (const simdjson::dom::element endpoint : root["endpoints"].get_array()) {
    if (node.endpoints.size() < kMaxEndpoints) node.endpoints.push_back(Text(endpoint.get_string()));
  }
  node.host = Text(root["host"].get_string());
  node.zone = Text(root["zone"].get_string());
  std::string_view process;
  if (root["process"].get_string().get(process) == simdjson::SUCCESS) node.process = std::string(process);
  if (root["ttl_s"].get_int64().get(node.ttl_s) != simdjson::SUCCESS) node.ttl_s = 0;
  for (const simdjson::dom::element from : root["models"].get_array()) {
    RegisteredNode::Model& model = node.models.emplace_back();
    model.name = Text(from["name"].get_string());
    model.version = from["version"].get_int64();
    model.digest = Text(from["digest"].get_string());
  }
  const simdjson::dom::element revisions = root["revisions"];
  node.revisions.current = revisions["current"].get_uint64();
  node.revisions.prepared = revisions["prepared"].get_uint64();
  node.revisions.oldest = revisions["oldest"].get_uint64();
  node.revisions.refused = revisions["refused"].get_uint64();
  node.revisions.why = Text(revisions["why"].get_string());
  return node;
}

}  // namespace

std::string FormatRegisteredNode(const RegisteredNode& node) {
  std::string out = "{";
  AddText("id", node.id, &out);
  out += ",\"endpoints\":[";
  for (const std::string& endpoint : node.endpoints) {
    if (out.back() != '[') out += ',';
    AppendJsonString(endpoint, &out);
  }
  out += "],";
  AddText("host", node.host, &out);
  out += ',';
  AddText("zone", node.zone, &out);
  out += ',';
  AddText("process", node.process, &out);
  absl::StrAppend(&out, ",\"ttl_s\":", node.ttl_s, ",\"models\":[");
  for (const RegisteredNode::Model& model : node.models) {
    out += out.back() == '[' ? "{" : ",{";
    AddText("name", model.name, &out);
    absl::StrAppend(&out, ",\"version\":", model.version, ",");
    AddText("digest", model.digest, &out);
    out += '}';
  }
  const RegisteredNode::Revisions& revisions = node.revisions;
  absl::StrAppend(&out, "],\"revisions\":{\"current\":", revisions.current, ",\"prepared\":", revisions.prepared,
                  ",\"oldest\":", revisions.oldest, ",\"refused\":", revisions.refused, ",");
  AddText("why", revisions.why, &out);
  out += "}}";
  return out;
}

absl::StatusOr<RegisteredNode> ParseRegisteredNode(absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("registered node: got ", text.size(), " bytes, want at most ", kMaxBytes));
  }
  try {
    simdjson::dom::parser parser;
    return Parse(parser.parse(text.data(), text.size()));
  } catch (const simdjson::simdjson_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("registered node: got ", error.what(), ", want what 'portico serve --etcd' writes"));
  }
}

}  // namespace portico
