#include "deploy/mesh.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "deploy/address.h"
#include "deploy/composition_reader.h"
#include "deploy/mesh_composer.h"
#include "deploy/mesh_portals.h"
#include "deploy/mesh_tables.h"
#include "deploy/mesh_traffic.h"
#include "deploy/table_defaults.h"
#include "hub/store.h"
#include "router/revision_external.h"
#include "router/revision_model.h"
#include "router/revision_placement.h"
#include "router/yaml_node.h"

namespace portico {
namespace {

constexpr int kMaxReplicas = 256;
constexpr int kMaxWorkers = 4096;
constexpr int kMaxHttpThreads = 256;
constexpr size_t kMaxNameBytes = 64;

/// Names go into file names, URLs and metrics.
bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] != '.' && name[0] != '-' &&
         absl::c_all_of(name, [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; });
}

/// `name` or `publisher/name`.
bool IsModelName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  return parts.size() <= 2 && absl::c_all_of(parts, IsName);
}

/// Reads one mesh file: a method per section, in the file's order.
class MeshReader {
 public:
  MeshReader(const std::string& path, PackageReader& packages, const std::string& composed_folder,
             FindModule find_module)
      : folder_(std::filesystem::path(path).parent_path()),
        packages_(packages),
        composed_folder_(composed_folder),
        find_module_(std::move(find_module)),
        composer_(path, packages) {}

  absl::StatusOr<Revision> Read(const YamlNode& root, const FindPulled& find_pulled) {
    RETURN_IF_ERROR(
        root.CheckMap("mesh file", {"mesh", "hub", "models", "external", "tables", "nodes", "policies", "traffic"}));
    for (const absl::string_view key : {"mesh", "models", "nodes"}) {
      if (root.Find(key) == nullptr) {
        return root.Error(
            absl::StrCat("mesh file: got no '", key, "', want the keys mesh, models and nodes; add '", key, ":'"));
      }
    }
    ASSIGN_OR_RETURN(revision_.mesh, root.Find("mesh")->Text("mesh"));
    RETURN_IF_ERROR(ReadHub(root));
    RETURN_IF_ERROR(ReadModels(*root.Find("models")));
    RETURN_IF_ERROR(CheckProducts(*root.Find("models")));
    if (const YamlNode* external = root.Find("external")) RETURN_IF_ERROR(ReadExternals(*external, &revision_));
    const YamlNode* const tables = root.Find("tables");
    if (tables != nullptr) RETURN_IF_ERROR(ReadTables(*tables));
    RETURN_IF_ERROR(ReadNodes(*root.Find("nodes")));
    if (tables != nullptr) RETURN_IF_ERROR(CheckServed(revision_, *tables));
    if (const YamlNode* policies = root.Find("policies")) RETURN_IF_ERROR(ReadPolicies(*policies));
    RETURN_IF_ERROR(composer_.WriteAll(revision_));
    RETURN_IF_ERROR(PinVersions(&revision_, {*root.Find("models"), tables}, packages_));
    if (const YamlNode* traffic = root.Find("traffic")) {
      RETURN_IF_ERROR(ReadTrafficSplits(*traffic, packages_, &revision_));
    }
    RETURN_IF_ERROR(CheckPortals(revision_, {*root.Find("models"), tables}, packages_, find_pulled));
    LimitCalls(&revision_);
    return std::move(revision_);
  }

  /// The composition `model`, or all of them where it is empty.
  absl::StatusOr<std::vector<std::shared_ptr<const ComposedModel>>> Compose(const YamlNode& root,
                                                                            const std::string& model) {
    RETURN_IF_ERROR(ReadModelsAlone(root));
    std::vector<std::shared_ptr<const ComposedModel>> made;
    for (const Revision::Model& one : revision_.models) {
      if (!composer_.Has(one.name) || (!model.empty() && one.name != model)) continue;
      ASSIGN_OR_RETURN(made.emplace_back(), composer_.Make(one.name, revision_));
    }
    if (!made.empty()) return made;
    return root.Find("models")->Error(absl::StrCat("models: got no composition",
                                                   model.empty() ? "" : absl::StrCat(" '", model, "'"),
                                                   ", want a model with cascade, experts, sequence or ensemble"));
  }

  /// Reads `models`, of which cascade() and Find() know then.
  absl::Status ReadModelsAlone(const YamlNode& root) {
    const YamlNode* models = root.Find("models");
    if (models == nullptr) return root.Error("mesh file: got no 'models', want it; add 'models:'");
    RETURN_IF_ERROR(ReadHub(root));
    RETURN_IF_ERROR(ReadModels(*models));
    if (const YamlNode* external = root.Find("external")) return ReadExternals(*external, &revision_);
    return absl::OkStatus();
  }

  /// Cascade `model`, or the only one where it is empty.
  absl::StatusOr<Composition> Cascade(const YamlNode& root, const std::string& model) const {
    std::vector<std::string> names;
    for (const std::string& name : composer_.Names()) {
      if (composer_.Get(name)->kind != Composition::Kind::kCascade) continue;
      if (name == model) return *composer_.Get(name);
      names.push_back(name);
    }
    if (names.size() == 1 && model.empty()) return *composer_.Get(names[0]);
    return root.Find("models")->Error(
        absl::StrCat("models: got ", model.empty() ? "no name of a cascade" : absl::StrCat("'", model, "'"),
                     ", want a model with 'cascade': ", names.empty() ? "there is none" : absl::StrJoin(names, ", ")));
  }

  absl::StatusOr<Ingredient> Find(const std::string& model, bool whole) {
    return composer_.FindMember(model, whole, revision_);
  }

 private:
  /// A listener that the file asks for, and who asks for it.
  struct Claim {
    Address address;
    std::string who;
    int line;
  };

  /// Where hub modules come from that do not say it themselves.
  absl::Status ReadHub(const YamlNode& root) {
    const YamlNode* hub = root.Find("hub");
    if (hub == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(hub_, StoreOf(*hub, "hub"));
    return absl::OkStatus();
  }

  /// A folder is meant from the mesh file's.
  absl::StatusOr<std::string> StoreOf(const YamlNode& from, absl::string_view subject) const {
    ASSIGN_OR_RETURN(std::string text, from.Text(subject));
    if (absl::StrContains(text, "://") || absl::StartsWith(text, "/")) return text;
    return (folder_ / text).string();
  }

  absl::Status ReadModels(const YamlNode& models) {
    RETURN_IF_ERROR(models.CheckMap("models", {}));
    for (const YamlEntry& entry : models.entries()) RETURN_IF_ERROR(ReadModel(entry.key, entry.value));
    return absl::OkStatus();
  }

  /// A hub module, named by its handle: its folder takes the place of `path`, its version that of `versions`. Several
  /// versions of one are one model.
  absl::Status ReadModule(const std::string& name, const YamlNode& from) {
    const std::string subject = absl::StrCat("model '", name, "'");
    const absl::StatusOr<Handle> handle = ParseHandle(name);
    if (!handle.ok()) return from.Error(handle.status().message());
    std::string store = hub_;
    Revision::Model model;
    if (const YamlNode* path = from.Find("path")) {
      return path->Error(absl::StrCat(subject, ": got 'path' beside a handle, want one of them; a module comes from ",
                                      "its store: remove 'path', or call the folder's model '", handle->Model(), "'"));
    }
    if (from.kind() != YamlNode::Kind::kNothing) {
      RETURN_IF_ERROR(from.CheckMap(
          subject, {"hub", "resource_preserving", "on_demand", "result_cache_mib", "shares", "providers"}));
      RETURN_IF_ERROR(ReadServedVersions(from, subject, &model));
      if (const YamlNode* hub = from.Find("hub")) {
        ASSIGN_OR_RETURN(store, StoreOf(*hub, absl::StrCat(subject, ": hub")));
      }
    }
    if (store.empty()) {
      return from.Error(absl::StrCat(subject,
                                     ": got no store, want where it was published; add {hub: FOLDER or URL}, or 'hub:' "
                                     "above 'models:'"));
    }
    if (find_module_ == nullptr) {
      return from.Error(
          absl::StrCat(subject, ": got a hub module, want 'path' here; 'portico hub pull ", name, "' says the folder"));
    }
    absl::StatusOr<std::string> path = find_module_(store, *handle);
    if (!path.ok()) {
      const absl::Status error = from.Error(absl::StrCat(subject, ": ", path.status().message()));
      // The file is right: the same text may be read later.
      return MayPass(path.status()) ? absl::Status(path.status().code(), error.message()) : error;
    }
    model.name = handle->Model();
    model.path = *std::move(path);
    model.versions.kind = VersionPolicy::Kind::kSpecific;
    model.versions.versions = {handle->version};
    for (Revision::Model& other : revision_.models) {
      if (other.name != model.name) continue;
      if (!modules_.contains(other.name)) return from.Error(ClashOf(name, other.name));
      RETURN_IF_ERROR(TakeSame(from, subject, "providers", model.providers, &other.providers));
      RETURN_IF_ERROR(TakeSame(from, subject, "result_cache_mib", model.result_cache_mib, &other.result_cache_mib));
      RETURN_IF_ERROR(TakeSame(from, subject, "shares", model.shares, &other.shares));
      other.versions.versions.push_back(handle->version);
      absl::c_sort(other.versions.versions);
      other.resource_preserving |= model.resource_preserving;
      other.on_demand |= model.on_demand;
      return absl::OkStatus();
    }
    modules_.insert(model.name);
    revision_.models.push_back(std::move(model));
    return absl::OkStatus();
  }

  /// Into `other` what one version of a module says: it holds for the model, which is all of them. Unset where it is
  /// T().
  template <typename T>
  static absl::Status TakeSame(const YamlNode& from, absl::string_view subject, absl::string_view key, const T& one,
                               T* other) {
    if (one == T()) return absl::OkStatus();
    if (*other != T() && *other != one) {
      return from.Error(absl::StrCat(subject, ": ", key,
                                     ": got another than another version of the module has, want the same or none; the "
                                     "versions are one model"));
    }
    *other = one;
    return absl::OkStatus();
  }

  static std::string ClashOf(absl::string_view handle, absl::string_view model) {
    return absl::StrCat("model '", model, "': got it as hub module '", handle,
                        "' and with a path of its own, want one of them; rename or remove one");
  }

  /// A hub module whose handle is none: acme/encoder@3, or acme/encoder with a store or beside one of its versions,
  /// and without a folder.
  bool IsMeantAsModule(const std::string& name, const YamlNode& from) const {
    if (!absl::StrContains(name, '/')) return false;
    if (name.find_first_of("@:\\") != std::string::npos) return true;
    const bool has_store = from.Find("hub") != nullptr || modules_.contains(name);
    return has_store && from.Find("path") == nullptr && !IsComposition(from);
  }

  absl::Status ReadModel(const std::string& name, const YamlNode& from) {
    if (LooksLikeHandle(name) && (ParseHandle(name).ok() || from.Find("path") == nullptr))
      return ReadModule(name, from);
    const std::string subject = absl::StrCat("model '", name, "'");
    if (IsMeantAsModule(name, from)) return from.Error(ParseHandle(name).status().message());
    if (modules_.contains(name)) return from.Error(ClashOf(absl::StrCat(name, "/VERSION"), name));
    if (!IsModelName(name) || name == "default") {
      return from.Error(
          absl::StrCat(subject,
                       ": got a name that is no good, want NAME or PUBLISHER/NAME of letters, digits, _, - "
                       "and ., at most 64 each, and not 'default'; rename it"));
    }
    RETURN_IF_ERROR(
        from.CheckMap(subject, {"path", "versions", "labels", "resource_preserving", "on_demand", "result_cache_mib",
                                "shares", "providers", "cascade", "experts", "sequence", "ensemble"}));
    const YamlNode* path = from.Find("path");
    if (IsComposition(from)) return ReadComposed(name, subject, from);
    if (path == nullptr) {
      const std::string handle = absl::StrContains(name, '/')
                                     ? absl::StrCat(", or name a hub module with its version, '", name, "/1: {}' say")
                                     : "";
      return from.Error(absl::StrCat(
          subject, ": got no 'path', want the folder with its version folders; add {path: FOLDER}", handle));
    }
    ASSIGN_OR_RETURN(const std::string text, path->Text(absl::StrCat(subject, ": path")));
    std::error_code error;
    const auto absolute = std::filesystem::absolute(folder_ / text, error).lexically_normal();
    if (error || !std::filesystem::is_directory(absolute, error)) {
      return path->Error(absl::StrCat(subject, ": path: got '", text,
                                      "', which is no folder, want the folder with version folders (",
                                      absolute.string(), "/1/model.onnx); relative paths start at the mesh file"));
    }
    Revision::Model model;
    model.name = name;
    model.path = absolute.string();
    RETURN_IF_ERROR(ReadServedVersions(from, subject, &model));
    revision_.models.push_back(std::move(model));
    return absl::OkStatus();
  }

  absl::Status ReadComposed(const std::string& name, const std::string& subject, const YamlNode& from) {
    if (const YamlNode* path = from.Find("path")) {
      return path->Error(absl::StrCat(subject, ": got 'path' beside what it is made of, want one of them; remove one"));
    }
    RETURN_IF_ERROR(composer_.Read(name, from));
    if (composed_folder_.empty()) {
      return from.Error(absl::StrCat(subject,
                                     ": got a composition, want 'path' here, where packages must be in place; write it "
                                     "with 'portico compose' and name its folder"));
    }
    Revision::Model model;
    model.name = name;
    model.path = (std::filesystem::path(composed_folder_) / name).string();
    RETURN_IF_ERROR(ReadServedVersions(from, subject, &model));
    revision_.models.push_back(std::move(model));
    return absl::OkStatus();
  }

  /// Products that have shares are models that clients may ask for.
  absl::Status CheckProducts(const YamlNode& models) const {
    for (const YamlEntry& entry : models.entries()) {
      const YamlNode* shares = entry.value.Find("shares");
      if (shares == nullptr) continue;
      for (const YamlEntry& share : shares->entries()) {
        if (revision_.FindModel(share.key) != nullptr) continue;
        return share.value.Error(absl::StrCat(
            "model '", entry.key, "': shares: got product '", share.key,
            "', which is no model of the mesh, want one of ",
            absl::StrJoin(revision_.models, ", ",
                          [](std::string* out, const Revision::Model& model) { out->append(model.name); })));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadTables(const YamlNode& tables) {
    RETURN_IF_ERROR(tables.CheckMap("tables", {}));
    for (const YamlEntry& entry : tables.entries()) {
      if (!IsModelName(entry.key) || entry.key == "default") {
        return entry.value.Error(absl::StrCat("tables '", entry.key,
                                              "': got a name that is no good, want NAME or PUBLISHER/NAME of letters, "
                                              "digits, _, - and ., at most 64 each, and not 'default'; rename it"));
      }
      RETURN_IF_ERROR(ReadTableGroup(entry.key, entry.value, folder_, &revision_));
    }
    return absl::OkStatus();
  }

  absl::Status ReadNodes(const YamlNode& nodes) {
    RETURN_IF_ERROR(nodes.CheckMap("nodes", {}));
    if (nodes.entries().empty()) return nodes.Error("nodes: got none, want at least one");
    for (const YamlEntry& entry : nodes.entries()) RETURN_IF_ERROR(ReadNode(entry.key, entry.value));
    return absl::OkStatus();
  }

  absl::Status ReadNode(const std::string& name, const YamlNode& from) {
    const std::string subject = absl::StrCat("node '", name, "'");
    if (!IsName(name)) {
      return from.Error(absl::StrCat(
          subject, ": got a name that is no good, want letters, digits, _, - and ., at most 64; rename it"));
    }
    RETURN_IF_ERROR(
        from.CheckMap(subject, {"serve", "replicas", "grpc", "http", "peer", "workers", "http_threads",
                                "huge_pages_mib", "cpus", "providers", "zone", "security", "tls", "tenants"}));
    Revision::Node node;
    node.name = name;
    RETURN_IF_ERROR(ReadServe(subject, from, &node));
    int64_t replicas = 1;
    if (const YamlNode* value = from.Find("replicas")) {
      ASSIGN_OR_RETURN(replicas, value->Integer(absl::StrCat(subject, ": replicas"), 1, kMaxReplicas));
    }
    if (const YamlNode* value = from.Find("workers")) {
      ASSIGN_OR_RETURN(node.workers, value->Integer(absl::StrCat(subject, ": workers"), 0, kMaxWorkers));
    }
    if (const YamlNode* value = from.Find("http_threads")) {
      ASSIGN_OR_RETURN(node.http_threads, value->Integer(absl::StrCat(subject, ": http_threads"), 0, kMaxHttpThreads));
    }
    if (const YamlNode* value = from.Find("huge_pages_mib")) {
      ASSIGN_OR_RETURN(node.huge_pages_mib,
                       value->Integer(absl::StrCat(subject, ": huge_pages_mib"), 0, Revision::Node::kMaxHugePagesMib));
    }
    RETURN_IF_ERROR(ReadPlacement(from, subject, &node));
    RETURN_IF_ERROR(ReadNodeKeys(from, subject, folder_, &node.keys));
    if (const YamlNode* value = from.Find("zone")) {
      ASSIGN_OR_RETURN(node.zone, value->Text(absl::StrCat(subject, ": zone")));
    }
    ASSIGN_OR_RETURN(node.grpc, ReadListener(subject, "grpc", from, replicas));
    ASSIGN_OR_RETURN(node.http, ReadListener(subject, "http", from, replicas));
    ASSIGN_OR_RETURN(node.peer, ReadPeer(subject, from, replicas));
    for (; node.replica < replicas; ++node.replica) revision_.nodes.push_back(node);
    return absl::OkStatus();
  }

  absl::Status ReadServe(const std::string& subject, const YamlNode& from, Revision::Node* node) {
    const YamlNode* serve = from.Find("serve");
    if (serve == nullptr) {
      return from.Error(absl::StrCat(subject, ": got no 'serve', want the models it serves; add serve: [MODEL]"));
    }
    RETURN_IF_ERROR(serve->CheckList(absl::StrCat(subject, ": serve")));
    if (serve->items().empty()) {
      return serve->Error(
          absl::StrCat(subject, ": serve: got an empty list, want at least one model; name one or remove the node"));
    }
    for (const YamlNode& item : serve->items()) {
      ASSIGN_OR_RETURN(std::string name, item.Text(absl::StrCat(subject, ": serve")));
      // A hub module's versions are one model, whichever of them is named.
      if (LooksLikeHandle(name)) {
        const absl::StatusOr<Handle> handle = ParseHandle(name);
        if (!handle.ok()) return item.Error(absl::StrCat(subject, ": serve: ", handle.status().message()));
        if (!Has(*handle)) {
          return item.Error(absl::StrCat(subject, ": serve: got '", name, "', want one of 'models' (", ModelNames(),
                                         "); add '", name, ": {}' there or mend the name"));
        }
        name = handle->Model();
      }
      for (std::string& model : ServedNames(revision_, name)) {
        if (revision_.FindModel(model) == nullptr) {
          return item.Error(absl::StrCat(subject, ": serve: got '", model, "', want one of 'models'",
                                         revision_.tables.empty() ? "" : ", a group of 'tables' or a shard of one",
                                         " (", ModelNames(), "); add it there or mend the name"));
        }
        if (absl::c_linear_search(node->serve, model) && modules_.contains(model)) continue;
        if (absl::c_linear_search(node->serve, model)) {
          return item.Error(absl::StrCat(subject, ": serve: got '", model, "' twice, want it once; remove one"));
        }
        node->serve.push_back(std::move(model));
      }
    }
    return absl::OkStatus();
  }

  /// The mesh has that version of the hub module.
  bool Has(const Handle& handle) const {
    const Revision::Model* model = revision_.FindModel(handle.Model());
    return model != nullptr && modules_.contains(model->name) &&
           absl::c_linear_search(model->versions.versions, handle.version);
  }

  /// Address of the client listener `key`; empty where the node has none.
  absl::StatusOr<std::string> ReadListener(const std::string& node, absl::string_view key, const YamlNode& from,
                                           int64_t replicas) {
    const YamlNode* value = from.Find(key);
    if (value == nullptr) return std::string();
    const std::string subject = absl::StrCat(node, ": ", key);
    ASSIGN_OR_RETURN(const std::string text, value->Text(subject));
    const absl::StatusOr<Address> address = ParseAddress(text);
    if (!address.ok()) return value->Error(absl::StrCat(subject, ": ", address.status().message()));
    if (replicas > 1 && address->port != 0) {
      return value->Error(
          absl::StrCat(subject, ": got port ", address->port, " for ", replicas,
                       " replicas, which can't share it, want 0; the system then chooses one for each"));
    }
    RETURN_IF_ERROR(ClaimAddress(*value, subject, *address));
    return address->ToString();
  }

  /// The peer endpoint as it stands; empty where `portico up` is to choose.
  absl::StatusOr<std::string> ReadPeer(const std::string& node, const YamlNode& from, int64_t replicas) {
    const YamlNode* value = from.Find("peer");
    if (value == nullptr) return std::string();
    const std::string subject = absl::StrCat(node, ": peer");
    ASSIGN_OR_RETURN(const std::string text, value->Text(subject));
    if (replicas > 1) {
      return value->Error(
          absl::StrCat(subject, ": got '", text, "' for ", replicas,
                       " replicas, which can't share it, want none; leave it out and each gets its own"));
    }
    absl::string_view rest = text;
    if ((absl::ConsumePrefix(&rest, "unix://") || absl::ConsumePrefix(&rest, "shm://") ||
         absl::ConsumePrefix(&rest, "zmq+ipc://")) &&
        absl::StartsWith(rest, "/")) {
      if (!absl::c_linear_search(ipc_peers_, text)) {
        ipc_peers_.push_back(text);
        return text;
      }
      return value->Error(
          absl::StrCat(subject, ": got '", text, "', which another node has, want one of its own; change either"));
    }
    if (absl::ConsumePrefix(&rest, "tcp://") || absl::ConsumePrefix(&rest, "zmq+tcp://") ||
        absl::ConsumePrefix(&rest, "grpc://")) {
      const absl::StatusOr<Address> address = ParseAddress(rest);
      if (address.ok() && address->port != 0 && absl::StrContains(rest, ':')) {
        RETURN_IF_ERROR(ClaimAddress(*value, subject, *address));
        return text;
      }
    }
    return value->Error(
        absl::StrCat(subject, ": got '", text,
                     "', want tcp://HOST:PORT, unix:///PATH, shm:///PATH, zmq+tcp://HOST:PORT, "
                     "zmq+ipc:///PATH or grpc://HOST:PORT with a fixed port; or leave it out and one is chosen"));
  }

  absl::Status ClaimAddress(const YamlNode& where, const std::string& who, const Address& address) {
    for (const Claim& claim : claims_) {
      if (!claim.address.ClashesWith(address)) continue;
      return where.Error(absl::StrCat(who, ": got ", address.ToString(), ", which clashes with ",
                                      claim.address.ToString(), " of ", claim.who, " in line ", claim.line,
                                      "; want a free port, or 0 to let the system choose"));
    }
    claims_.push_back({address, who, where.line()});
    return absl::OkStatus();
  }

  /// What a target's policy leaves out is as in `default`, wherever that stands in the file.
  absl::Status ReadPolicies(const YamlNode& policies) {
    RETURN_IF_ERROR(policies.CheckMap("policies", {}));
    if (const YamlNode* value = policies.Find("default")) {
      ASSIGN_OR_RETURN(revision_.default_policy, ReadRoutePolicy(*value, "policy 'default'", RoutePolicy()));
    }
    for (const YamlEntry& entry : policies.entries()) {
      if (entry.key == "default") continue;
      const std::string subject = absl::StrCat("policy '", entry.key, "'");
      if (revision_.FindModel(entry.key) == nullptr && revision_.FindExternal(entry.key) == nullptr &&
          revision_.FindTable(entry.key) == nullptr) {
        return entry.value.Error(
            absl::StrCat(subject, ": got a target that is no model, want 'default' or one of 'models' (", ModelNames(),
                         revision_.tables.empty() ? ")" : "), of 'tables'", " or of 'external'; mend the name"));
      }
      ASSIGN_OR_RETURN(const RoutePolicy policy, ReadRoutePolicy(entry.value, subject, revision_.default_policy));
      const Revision::Table* const table = revision_.FindTable(entry.key);
      const Revision::Table* const group = table != nullptr ? table : GroupOf(revision_, entry.key);
      if (group != nullptr) RETURN_IF_ERROR(CheckTablePolicy(revision_, *group, entry.value, subject));
      if (table != nullptr && table->cache_bytes == 0 && policy.on_error.kind == OnErrorPolicy::Kind::kLastKnown) {
        return entry.value.Error(absl::StrCat(subject,
                                              ": on_error: got last_known of tables of which no rows are kept, ",
                                              "want a cache of them; give '", entry.key, "' a cache_mib in 'tables'"));
      }
      revision_.policies[entry.key] = policy;
    }
    SpreadPolicies(&revision_);
    return absl::OkStatus();
  }

  std::string ModelNames() const {
    if (revision_.models.empty()) return "none";
    return absl::StrJoin(revision_.models, ", ",
                         [](std::string* out, const Revision::Model& model) { out->append(model.name); });
  }

  const std::filesystem::path folder_;
  PackageReader& packages_;
  const std::string composed_folder_;
  const FindModule find_module_;
  /// Where hub modules come from; may be empty.
  std::string hub_;
  /// Models that are hub modules.
  std::set<std::string> modules_;
  MeshComposer composer_;
  Revision revision_;
  std::vector<Claim> claims_;
  std::vector<std::string> ipc_peers_;
};

}  // namespace

absl::StatusOr<MeshFile> ReadMeshFile(const std::string& path, PackageReader* packages,
                                      const std::string& composed_folder, const FindModule& find_module,
                                      const FindPulled& find_pulled) {
  PackageReader own;
  ASSIGN_OR_RETURN(const YamlNode root, ReadYaml(path));
  MeshFile mesh;
  mesh.path = path;
  ASSIGN_OR_RETURN(
      mesh.revision,
      MeshReader(path, packages == nullptr ? own : *packages, composed_folder, find_module).Read(root, find_pulled));
  return mesh;
}

absl::StatusOr<std::vector<std::shared_ptr<const ComposedModel>>> ComposeModels(const std::string& path,
                                                                                const std::string& model,
                                                                                const FindModule& find_module) {
  PackageReader packages;
  ASSIGN_OR_RETURN(const YamlNode root, ReadYaml(path));
  // Nothing is written: the folder stands for where it would be.
  return MeshReader(path, packages, "composed", find_module).Compose(root, model);
}

namespace {

/// What a CascadeSource shares.
struct CascadeFile {
  CascadeFile(const std::string& path, const FindModule& find_module)
      : reader(path, packages, "composed", find_module) {}
  PackageReader packages;
  MeshReader reader;
};

}  // namespace

absl::StatusOr<CascadeSource> ReadCascade(const std::string& path, const std::string& model,
                                          const FindModule& find_module) {
  const auto file = std::make_shared<CascadeFile>(path, find_module);
  ASSIGN_OR_RETURN(const YamlNode root, ReadYaml(path));
  RETURN_IF_ERROR(file->reader.ReadModelsAlone(root));
  ASSIGN_OR_RETURN(Composition cascade, file->reader.Cascade(root, model));
  return CascadeSource{std::make_shared<const Composition>(std::move(cascade)),
                       [file](const std::string& name, bool whole) { return file->reader.Find(name, whole); }};
}

}  // namespace portico
