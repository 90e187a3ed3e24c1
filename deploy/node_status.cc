#include "deploy/node_status.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "rapidjson/stringbuffer.h"
#include "rapidjson/writer.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr uint64_t kMaxFileBytes = 16 << 20;

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

void WriteText(JsonWriter& out, const std::string& value) {
  out.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void WriteText(JsonWriter& out, const char* key, const std::string& value) {
  out.Key(key);
  WriteText(out, value);
}

std::string Text(std::string_view text) { return std::string(text); }

/// Throws simdjson_error for what is not there.
NodeStatus Parse(const simdjson::dom::element& root) {
  NodeStatus status;
  status.node = Text(root["node"].get_string());
  status.replica = static_cast<int>(int64_t{root["replica"].get_int64()});
  status.pid = root["pid"].get_int64();
  status.ready = root["ready"].get_bool();
  status.grpc = Text(root["grpc"].get_string());
  status.http = Text(root["http"].get_string());
  status.peer = Text(root["peer"].get_string());
  for (const simdjson::dom::element from : root["models"].get_array()) {
    NodeStatus::Model& model = status.models.emplace_back();
    model.name = Text(from["name"].get_string());
    model.version = from["version"].get_int64();
    model.state = Text(from["state"].get_string());
    model.error = Text(from["error"].get_string());
  }
  simdjson::dom::object revisions;
  if (root["revisions"].get_object().get(revisions) == simdjson::SUCCESS) {
    status.revisions.current = revisions["current"].get_uint64();
    status.revisions.prepared = revisions["prepared"].get_uint64();
    status.revisions.oldest = revisions["oldest"].get_uint64();
    status.revisions.refused = revisions["refused"].get_uint64();
    status.revisions.why = Text(revisions["why"].get_string());
  }
  for (const simdjson::dom::element from : root["degraded"].get_array()) {
    status.degraded.push_back(Text(from.get_string()));
  }
  return status;
}

}  // namespace

std::string FormatNodeStatus(const NodeStatus& status) {
  rapidjson::StringBuffer buffer;
  JsonWriter out(buffer);
  out.StartObject();
  WriteText(out, "node", status.node);
  out.Key("replica");
  out.Int(status.replica);
  out.Key("pid");
  out.Int64(status.pid);
  out.Key("ready");
  out.Bool(status.ready);
  WriteText(out, "grpc", status.grpc);
  WriteText(out, "http", status.http);
  WriteText(out, "peer", status.peer);
  out.Key("models");
  out.StartArray();
  for (const NodeStatus::Model& model : status.models) {
    out.StartObject();
    WriteText(out, "name", model.name);
    out.Key("version");
    out.Int64(model.version);
    WriteText(out, "state", model.state);
    WriteText(out, "error", model.error);
    out.EndObject();
  }
  out.EndArray();
  out.Key("revisions");
  out.StartObject();
  for (const auto& [key, number] : {std::pair("current", status.revisions.current),
                                    {"prepared", status.revisions.prepared},
                                    {"oldest", status.revisions.oldest},
                                    {"refused", status.revisions.refused}}) {
    out.Key(key);
    out.Uint64(number);
  }
  WriteText(out, "why", status.revisions.why);
  out.EndObject();
  out.Key("degraded");
  out.StartArray();
  for (const std::string& portal : status.degraded) WriteText(out, portal);
  out.EndArray();
  out.EndObject();
  return absl::StrCat(buffer.GetString(), "\n");
}

absl::StatusOr<NodeStatus> ReadNodeStatus(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  try {
    simdjson::dom::parser parser;
    return Parse(parser.parse(text));
  } catch (const simdjson::simdjson_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("status file '", path, "': got ", error.what(),
                                                   ", want what 'portico serve --status-file' writes; remove it"));
  }
}

}  // namespace portico
