#include "router/revision.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/policies/policy.h"
#include "router/revision_external.h"
#include "router/revision_model.h"
#include "router/revision_placement.h"
#include "router/revision_table.h"
#include "router/traffic_document.h"
#include "router/yaml_node.h"
#include "yaml-cpp/yaml.h"

namespace portico {
namespace {

constexpr int64_t kMaxReplica = 65535;
constexpr int64_t kMaxWorkers = 65535;
constexpr int64_t kMaxHttpThreads = 256;
constexpr int64_t kMaxRetries = 10;
constexpr int64_t kMaxEjectAfter = 1000000;
constexpr int64_t kMaxEjectSlower = 1000000;
constexpr int64_t kMaxInFlight = 1000000;

void EmitPolicy(YAML::Emitter& out, const RoutePolicy& policy) {
  out << YAML::Flow << YAML::BeginMap;
  out << YAML::Key << "timeout" << YAML::Value << absl::FormatDuration(policy.timeout);
  out << YAML::Key << "balance" << YAML::Value << policy.balance;
  out << YAML::Key << "retries" << YAML::Value << policy.retries;
  out << YAML::Key << "retry_percent" << YAML::Value << policy.retry_percent;
  Emit(policy.hedge, out);
  out << YAML::Key << "max_in_flight" << YAML::Value << policy.max_in_flight;
  Emit(policy.on_error, out);
  out << YAML::Key << "eject_after" << YAML::Value << policy.eject_after;
  out << YAML::Key << "eject_for" << YAML::Value << absl::FormatDuration(policy.eject_for);
  out << YAML::Key << "eject_error_percent" << YAML::Value << policy.eject_error_percent;
  out << YAML::Key << "eject_slower" << YAML::Value << policy.eject_slower;
  out << YAML::Key << "slow_start" << YAML::Value << absl::FormatDuration(policy.slow_start) << YAML::EndMap;
}

/// Text where the key is there, else empty.
absl::StatusOr<std::string> OptionalText(const YamlNode& map, absl::string_view key, absl::string_view subject) {
  const YamlNode* value = map.Find(key);
  if (value == nullptr) return std::string();
  return value->Text(absl::StrCat(subject, ": ", key));
}

absl::StatusOr<std::string> RequiredText(const YamlNode& map, absl::string_view key, absl::string_view subject) {
  const YamlNode* value = map.Find(key);
  if (value == nullptr) return map.Error(absl::StrCat(subject, ": got no '", key, "', want one"));
  return value->Text(absl::StrCat(subject, ": ", key));
}

/// A number from 0 to `max` where the key is there.
absl::Status ReadCount(const YamlNode& map, absl::string_view key, absl::string_view subject, int64_t max, int* value) {
  const YamlNode* node = map.Find(key);
  if (node == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t number, node->Integer(absl::StrCat(subject, ": ", key), 0, max));
  *value = static_cast<int>(number);
  return absl::OkStatus();
}

absl::StatusOr<Revision::Model> ReadModel(const YamlNode& from) {
  RETURN_IF_ERROR(from.CheckMap("model", {"name", "path", "versions", "labels", "resource_preserving", "on_demand",
                                          "result_cache_mib", "shares", "providers", "pins", "calls"}));
  Revision::Model model;
  ASSIGN_OR_RETURN(model.name, RequiredText(from, "name", "model"));
  const std::string subject = absl::StrCat("model '", model.name, "'");
  ASSIGN_OR_RETURN(model.path, RequiredText(from, "path", subject));
  if (model.path[0] != '/') {
    return from.Error(absl::StrCat(subject, ": path: got '", model.path, "', want an absolute path"));
  }
  RETURN_IF_ERROR(ReadServedVersions(from, subject, &model));
  if (const YamlNode* pins = from.Find("pins")) RETURN_IF_ERROR(ReadPins(*pins, subject, &model));
  if (const YamlNode* calls = from.Find("calls")) RETURN_IF_ERROR(ReadCalls(*calls, subject, &model));
  return model;
}

absl::StatusOr<Revision::Node> ReadNode(const YamlNode& from) {
  RETURN_IF_ERROR(from.CheckMap("node", {"name", "replica", "serve", "peer", "grpc", "http", "workers", "http_threads",
                                         "huge_pages_mib", "cpus", "providers", "zone", "security", "tls", "tenants"}));
  Revision::Node node;
  ASSIGN_OR_RETURN(node.name, RequiredText(from, "name", "node"));
  const std::string subject = absl::StrCat("node '", node.name, "'");
  if (const YamlNode* replica = from.Find("replica")) {
    ASSIGN_OR_RETURN(node.replica, replica->Integer(absl::StrCat(subject, ": replica"), 0, kMaxReplica));
  }
  if (const YamlNode* workers = from.Find("workers")) {
    ASSIGN_OR_RETURN(node.workers, workers->Integer(absl::StrCat(subject, ": workers"), 0, kMaxWorkers));
  }
  RETURN_IF_ERROR(ReadCount(from, "http_threads", subject, kMaxHttpThreads, &node.http_threads));
  RETURN_IF_ERROR(ReadCount(from, "huge_pages_mib", subject, Revision::Node::kMaxHugePagesMib, &node.huge_pages_mib));
  RETURN_IF_ERROR(ReadPlacement(from, subject, &node));
  RETURN_IF_ERROR(ReadNodeKeys(from, subject, "/", &node.keys));
  if (const YamlNode* serve = from.Find("serve")) {
    RETURN_IF_ERROR(serve->CheckList(absl::StrCat(subject, ": serve")));
    for (const YamlNode& item : serve->items()) {
      ASSIGN_OR_RETURN(std::string model, item.Text(absl::StrCat(subject, ": serve")));
      node.serve.push_back(std::move(model));
    }
  }
  ASSIGN_OR_RETURN(node.peer, OptionalText(from, "peer", subject));
  ASSIGN_OR_RETURN(node.grpc, OptionalText(from, "grpc", subject));
  ASSIGN_OR_RETURN(node.http, OptionalText(from, "http", subject));
  ASSIGN_OR_RETURN(node.zone, OptionalText(from, "zone", subject));
  return node;
}

/// Nodes are there once, and serve models that are there.
absl::Status CheckNodes(const YamlNode& from, const Revision& revision) {
  std::set<std::string> ids;
  for (size_t i = 0; i < revision.nodes.size(); ++i) {
    const Revision::Node& node = revision.nodes[i];
    const YamlNode& where = from.items()[i];
    if (!ids.insert(node.id()).second) {
      return where.Error(absl::StrCat("node '", node.id(), "': is there twice"));
    }
    for (const std::string& model : node.serve) {
      if (revision.FindModel(model) != nullptr) continue;
      return where.Error(
          absl::StrCat("node '", node.id(), "': got model '", model, "' to serve, want one of 'models'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

static absl::StatusOr<Revision> RevisionOf(const YamlNode& root);

std::string Revision::Node::id() const { return absl::StrCat(name, "/", replica); }

const Revision::Model* Revision::FindModel(absl::string_view name) const {
  for (const Model& model : models) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

const Revision::Node* Revision::FindNode(absl::string_view name, int replica) const {
  for (const Node& node : nodes) {
    if (node.name == name && node.replica == replica) return &node;
  }
  return nullptr;
}

const Revision::External* Revision::FindExternal(absl::string_view name) const {
  for (const External& external : externals) {
    if (external.name == name) return &external;
  }
  return nullptr;
}

const Revision::Table* Revision::FindTable(absl::string_view name) const {
  for (const Table& table : tables) {
    if (table.name == name) return &table;
  }
  return nullptr;
}

const RoutePolicy& Revision::PolicyFor(const std::string& target) const {
  const auto found = policies.find(target);
  return found == policies.end() ? default_policy : found->second;
}

bool Revision::SaysTheSameAs(const Revision& other) const {
  Revision left = *this, right = other;
  left.number = right.number = 0;
  left.reason = right.reason = "";
  return FormatRevision(left) == FormatRevision(right);
}

absl::StatusOr<RoutePolicy> ReadRoutePolicy(const YamlNode& from, absl::string_view subject, RoutePolicy base) {
  RETURN_IF_ERROR(from.CheckMap(
      subject, {"timeout", "balance", "retries", "retry_percent", "hedge_after", "hedge_percent", "max_in_flight",
                "on_error", "eject_after", "eject_for", "eject_error_percent", "eject_slower", "slow_start"}));
  if (const YamlNode* timeout = from.Find("timeout")) {
    ASSIGN_OR_RETURN(base.timeout, timeout->Duration(absl::StrCat(subject, ": timeout")));
  }
  if (const YamlNode* balance = from.Find("balance")) {
    ASSIGN_OR_RETURN(base.balance, balance->Text(absl::StrCat(subject, ": balance")));
    if (const auto policy = NewBalancePolicy(base.balance); !policy.ok()) {
      return balance->Error(absl::StrCat(subject, ": balance: ", policy.status().message()));
    }
  }
  RETURN_IF_ERROR(ReadCount(from, "retries", subject, kMaxRetries, &base.retries));
  RETURN_IF_ERROR(ReadCount(from, "retry_percent", subject, 100, &base.retry_percent));
  RETURN_IF_ERROR(ReadHedgePolicy(from, subject, &base.hedge));
  RETURN_IF_ERROR(ReadCount(from, "max_in_flight", subject, kMaxInFlight, &base.max_in_flight));
  RETURN_IF_ERROR(ReadOnErrorPolicy(from, subject, &base.on_error));
  RETURN_IF_ERROR(ReadCount(from, "eject_after", subject, kMaxEjectAfter, &base.eject_after));
  if (const YamlNode* eject_for = from.Find("eject_for")) {
    ASSIGN_OR_RETURN(base.eject_for, eject_for->Duration(absl::StrCat(subject, ": eject_for")));
  }
  RETURN_IF_ERROR(ReadCount(from, "eject_error_percent", subject, 100, &base.eject_error_percent));
  RETURN_IF_ERROR(ReadCount(from, "eject_slower", subject, kMaxEjectSlower, &base.eject_slower));
  if (const YamlNode* slow_start = from.Find("slow_start")) {
    ASSIGN_OR_RETURN(base.slow_start, slow_start->Duration(absl::StrCat(subject, ": slow_start")));
  }
  return base;
}

std::string FormatRevision(const Revision& revision) {
  YAML::Emitter out;
  out << YAML::Comment("One immutable picture of a mesh, written for its nodes; change mesh.yaml instead.");
  out << YAML::BeginMap;
  out << YAML::Key << "revision" << YAML::Value << revision.number;
  if (!revision.mesh.empty()) out << YAML::Key << "mesh" << YAML::Value << revision.mesh;
  if (!revision.reason.empty()) out << YAML::Key << "reason" << YAML::Value << revision.reason;
  out << YAML::Key << "models" << YAML::Value << YAML::BeginSeq;
  for (const Revision::Model& model : revision.models) {
    out << YAML::Flow << YAML::BeginMap << YAML::Key << "name" << YAML::Value << model.name;
    out << YAML::Key << "path" << YAML::Value << model.path;
    EmitServedVersions(model, out);
    EmitPins(model, out);
    EmitCalls(model, out);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
  if (revision.calls_left_out) out << YAML::Key << "calls_left_out" << YAML::Value << true;
  out << YAML::Key << "nodes" << YAML::Value << YAML::BeginSeq;
  for (const Revision::Node& node : revision.nodes) {
    out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << node.name;
    out << YAML::Key << "replica" << YAML::Value << node.replica;
    out << YAML::Key << "serve" << YAML::Value << YAML::Flow << node.serve;
    if (!node.peer.empty()) out << YAML::Key << "peer" << YAML::Value << node.peer;
    if (!node.grpc.empty()) out << YAML::Key << "grpc" << YAML::Value << node.grpc;
    if (!node.http.empty()) out << YAML::Key << "http" << YAML::Value << node.http;
    if (!node.zone.empty()) out << YAML::Key << "zone" << YAML::Value << node.zone;
    if (node.workers != 0) out << YAML::Key << "workers" << YAML::Value << node.workers;
    if (node.http_threads != 0) out << YAML::Key << "http_threads" << YAML::Value << node.http_threads;
    if (node.huge_pages_mib != 0) out << YAML::Key << "huge_pages_mib" << YAML::Value << node.huge_pages_mib;
    EmitPlacement(node, out);
    Emit(node.keys, out);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
  if (!revision.externals.empty()) {
    out << YAML::Key << "external" << YAML::Value;
    EmitExternals(revision.externals, out);
  }
  if (!revision.tables.empty()) {
    out << YAML::Key << "tables" << YAML::Value;
    EmitTables(revision.tables, out);
  }
  out << YAML::Key << "default_policy" << YAML::Value;
  EmitPolicy(out, revision.default_policy);
  out << YAML::Key << "policies" << YAML::Value << YAML::BeginMap;
  for (const auto& [target, policy] : revision.policies) {
    out << YAML::Key << target << YAML::Value;
    EmitPolicy(out, policy);
  }
  out << YAML::EndMap;
  if (!revision.traffic.empty()) {
    out << YAML::Key << "traffic" << YAML::Value << YAML::BeginMap;
    for (const auto& [model, split] : revision.traffic) {
      out << YAML::Key << model << YAML::Value;
      EmitTraffic(split, out);
    }
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

void LimitCalls(Revision* revision, size_t max_bytes) {
  const bool has_calls =
      absl::c_any_of(revision->models, [](const Revision::Model& one) { return !one.calls.empty(); });
  if (!has_calls || FormatRevision(*revision).size() <= max_bytes) return;
  for (Revision::Model& model : revision->models) model.calls.clear();
  revision->calls_left_out = true;
}

absl::StatusOr<Revision> ReadRevision(const std::string& path) {
  ASSIGN_OR_RETURN(const YamlNode root, ReadYaml(path));
  return RevisionOf(root);
}

absl::StatusOr<Revision> ParseRevision(const std::string& text, const std::string& name) {
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, name));
  return RevisionOf(root);
}

static absl::StatusOr<Revision> RevisionOf(const YamlNode& root) {
  RETURN_IF_ERROR(root.CheckMap("revision", {"revision", "mesh", "reason", "models", "nodes", "external", "tables",
                                             "default_policy", "policies", "traffic", "calls_left_out"}));
  Revision revision;
  const YamlNode* number = root.Find("revision");
  const YamlNode* models = root.Find("models");
  const YamlNode* nodes = root.Find("nodes");
  if (number == nullptr || models == nullptr || nodes == nullptr) {
    return root.Error("revision: got no 'revision', 'models' or 'nodes', want all three");
  }
  ASSIGN_OR_RETURN(revision.number, number->Integer("revision", 0, INT64_MAX));
  ASSIGN_OR_RETURN(revision.mesh, OptionalText(root, "mesh", "revision"));
  ASSIGN_OR_RETURN(revision.reason, OptionalText(root, "reason", "revision"));
  if (const YamlNode* left_out = root.Find("calls_left_out")) {
    ASSIGN_OR_RETURN(const std::string text, left_out->Text("calls_left_out"));
    if (text != "true") return left_out->Error(absl::StrCat("calls_left_out: got '", text, "', want true"));
    revision.calls_left_out = true;
  }
  RETURN_IF_ERROR(models->CheckList("models"));
  for (const YamlNode& item : models->items()) {
    ASSIGN_OR_RETURN(Revision::Model model, ReadModel(item));
    if (revision.FindModel(model.name) != nullptr) {
      return item.Error(absl::StrCat("model '", model.name, "': is there twice"));
    }
    revision.models.push_back(std::move(model));
  }
  RETURN_IF_ERROR(nodes->CheckList("nodes"));
  for (const YamlNode& item : nodes->items()) {
    ASSIGN_OR_RETURN(Revision::Node node, ReadNode(item));
    revision.nodes.push_back(std::move(node));
  }
  RETURN_IF_ERROR(CheckNodes(*nodes, revision));
  if (const YamlNode* external = root.Find("external")) RETURN_IF_ERROR(ReadExternals(*external, &revision));
  if (const YamlNode* tables = root.Find("tables")) RETURN_IF_ERROR(ReadTables(*tables, &revision));
  if (const YamlNode* policy = root.Find("default_policy")) {
    ASSIGN_OR_RETURN(revision.default_policy, ReadRoutePolicy(*policy, "default_policy", RoutePolicy()));
  }
  if (const YamlNode* policies = root.Find("policies")) {
    RETURN_IF_ERROR(policies->CheckMap("policies", {}));
    for (const YamlEntry& entry : policies->entries()) {
      ASSIGN_OR_RETURN(RoutePolicy policy,
                       ReadRoutePolicy(entry.value, absl::StrCat("policy '", entry.key, "'"), revision.default_policy));
      revision.policies.emplace(entry.key, std::move(policy));
    }
  }
  if (const YamlNode* traffic = root.Find("traffic")) {
    RETURN_IF_ERROR(traffic->CheckMap("traffic", {}));
    for (const YamlEntry& entry : traffic->entries()) {
      ASSIGN_OR_RETURN(TrafficSplit split, ReadTraffic(entry.value, absl::StrCat("traffic '", entry.key, "'")));
      revision.traffic.emplace(entry.key, std::move(split));
    }
  }
  return revision;
}

}  // namespace portico
