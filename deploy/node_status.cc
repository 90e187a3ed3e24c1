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
ArmCounts ParseArm(const simdjson::dom::element& from) {
  ArmCounts arm;
  arm.model = Text(from["model"].get_string());
  arm.arm = Text(from["arm"].get_string());
  arm.requests = from["requests"].get_uint64();
  arm.errors = from["errors"].get_uint64();
  arm.compared = from["compared"].get_uint64();
  arm.disagreed = from["disagreed"].get_uint64();
  for (const simdjson::dom::element pair : from["latencies"].get_array()) {
    const uint64_t bucket = pair.at(0).get_uint64(), count = pair.at(1).get_uint64();
    if (bucket < LatencyQuantile::kBuckets) arm.latencies[bucket] = count;
  }
  return arm;
}

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
  simdjson::dom::array traffic;
  if (root["traffic"].get_array().get(traffic) == simdjson::SUCCESS) {
    for (const simdjson::dom::element from : traffic) status.traffic.push_back(ParseArm(from));
  }
  return status;
}

void WriteArm(JsonWriter& out, const ArmCounts& arm) {
  out.StartObject();
  WriteText(out, "model", arm.model);
  WriteText(out, "arm", arm.arm);
  for (const auto& [key, number] : {std::pair("requests", arm.requests),
                                    {"errors", arm.errors},
                                    {"compared", arm.compared},
                                    {"disagreed", arm.disagreed}}) {
    out.Key(key);
    out.Uint64(number);
  }
  out.Key("latencies");
  out.StartArray();
  for (const auto& [bucket, count] : arm.latencies) {
    out.StartArray();
    out.Uint64(bucket);
    out.Uint64(count);
    out.EndArray();
  }
  out.EndArray();
  out.EndObject();
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
  if (!status.traffic.empty()) {
    out.Key("traffic");
    out.StartArray();
    for (const ArmCounts& arm : status.traffic) WriteArm(out, arm);
    out.EndArray();
  }
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
