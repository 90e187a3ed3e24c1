#include "node/frontend/tenants_file.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/yaml_node.h"

namespace portico {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 20;

absl::StatusOr<Digest> ParseHash(const YamlNode& node, const std::string& subject) {
  ASSIGN_OR_RETURN(const std::string text, node.Text(subject));
  const absl::StatusOr<Digest> digest = Digest::FromHex(absl::AsciiStrToLower(text));
  if (!digest.ok()) {
    return node.Error(
        absl::StrCat(subject, ": got something else, want the 64 hexadecimal digits of a token's SHA-256"));
  }
  return *digest;
}

absl::Status ParseLimits(const YamlNode& node, const std::string& subject, TenantLimits* limits) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  RETURN_IF_ERROR(node.CheckMap(subject, {"max_requests", "max_bytes", "requests_per_second"}));
  if (const YamlNode* value = node.Find("max_requests")) {
    ASSIGN_OR_RETURN(limits->max_requests, value->Integer(absl::StrCat(subject, ": max_requests"), 0, kMax));
  }
  if (const YamlNode* value = node.Find("max_bytes")) {
    ASSIGN_OR_RETURN(limits->max_bytes, value->Integer(absl::StrCat(subject, ": max_bytes"), 0, kMax));
  }
  if (const YamlNode* value = node.Find("requests_per_second")) {
    ASSIGN_OR_RETURN(const int64_t rate,
                     value->Integer(absl::StrCat(subject, ": requests_per_second"), 0, 1'000'000'000));
    limits->requests_per_second = static_cast<double>(rate);
  }
  return absl::OkStatus();
}

absl::Status ParseRoles(const YamlNode& node, const std::string& subject, Tenant* tenant) {
  RETURN_IF_ERROR(node.CheckList(subject));
  for (const YamlNode& role : node.items()) {
    ASSIGN_OR_RETURN(const std::string name, role.Text(subject));
    if (name != "admin") return role.Error(absl::StrCat(subject, ": got '", name, "', want admin"));
    tenant->admin = true;
  }
  return absl::OkStatus();
}

absl::Status ParseTenant(const YamlEntry& entry, TenantTable* table) {
  const std::string subject = absl::StrCat("tenant '", entry.key, "'");
  const YamlNode& node = entry.value;
  RETURN_IF_ERROR(node.CheckMap(subject, {"token_sha256", "priority", "limits", "roles"}));
  Tenant tenant;
  tenant.name = entry.key;
  if (const YamlNode* value = node.Find("priority")) {
    ASSIGN_OR_RETURN(const int64_t priority, value->Integer(absl::StrCat(subject, ": priority"), -1000, 1000));
    tenant.priority = static_cast<int32_t>(priority);
  }
  if (const YamlNode* value = node.Find("limits")) {
    RETURN_IF_ERROR(ParseLimits(*value, absl::StrCat(subject, ": limits"), &tenant.limits));
  }
  if (const YamlNode* value = node.Find("roles")) {
    RETURN_IF_ERROR(ParseRoles(*value, absl::StrCat(subject, ": roles"), &tenant));
  }
  const YamlNode* const tokens = node.Find("token_sha256");
  if (tokens == nullptr) {
    return node.Error(
        absl::StrCat(subject, ": token_sha256: got none, want a list of hashes; an empty one shuts it out"));
  }
  RETURN_IF_ERROR(tokens->CheckList(absl::StrCat(subject, ": token_sha256")));
  for (const YamlNode& token : tokens->items()) {
    ASSIGN_OR_RETURN(const Digest hash, ParseHash(token, absl::StrCat(subject, ": token_sha256")));
    for (const auto& [known, index] : table->tokens) {
      if (known != hash) continue;
      return token.Error(absl::StrCat(subject, ": token_sha256: got a hash that is there twice, want each token once"));
    }
    table->tokens.emplace_back(hash, table->tenants.size());
  }
  table->tenants.push_back(std::move(tenant));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TenantTable> ParseTenants(const std::string& text, const std::string& file) {
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, file));
  RETURN_IF_ERROR(root.CheckMap("tenants file", {"tenants"}));
  const YamlNode* const tenants = root.Find("tenants");
  if (tenants == nullptr) return root.Error("tenants file: got no 'tenants', want a map of names");
  RETURN_IF_ERROR(tenants->CheckMap("tenants", {}));
  TenantTable table;
  for (const YamlEntry& entry : tenants->entries()) RETURN_IF_ERROR(ParseTenant(entry, &table));
  return table;
}

TenantsFile::TenantsFile(const Options& options, OnChange on_change)
    : follower_({.subject = "tenants file",
                 .paths = options.path.empty() ? std::vector<std::string>() : std::vector<std::string>{options.path},
                 .period = options.period,
                 .max_bytes = kMaxBytes},
                [path = options.path, on_change = std::move(on_change)](const std::vector<std::string>& texts) {
                  ASSIGN_OR_RETURN(const TenantTable table, ParseTenants(texts.front(), path));
                  on_change(table);
                  return absl::OkStatus();
                }) {}

}  // namespace portico
