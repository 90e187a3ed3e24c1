#include "deploy/mesh_portals.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/version_policy.h"
#include "deploy/mesh_tables.h"
#include "embedding/shard_map.h"
#include "hub/handle.h"
#include "models/graph/portal_spec.h"
#include "models/package/package.h"

namespace portico {
namespace {

/// What the check needs of a model.
struct ModelFacts {
  /// Those that are served, rising; at least one.
  std::vector<std::shared_ptr<const PackageFacts>> versions;
  /// What callers see of it.
  const PackageFacts& highest() const { return *versions.back(); }
};

using Facts = std::map<std::string, ModelFacts>;

/// Of all its versions: callers of an old one need what that calls.
std::vector<const PortalSpec*> PortalsOf(const ModelFacts& facts) {
  std::vector<const PortalSpec*> portals;
  for (const auto& version : facts.versions) {
    for (const PortalSpec& portal : version->portals) portals.push_back(&portal);
  }
  return portals;
}

}  // namespace

const YamlNode* ModelLine(const YamlNode& models, absl::string_view model) {
  if (const YamlNode* line = models.Find(model)) return line;
  for (const YamlEntry& entry : models.entries()) {
    const absl::StatusOr<Handle> handle = ParseHandle(entry.key);
    if (handle.ok() && handle->Model() == model) return &entry.value;
  }
  return nullptr;
}

absl::StatusOr<std::vector<VersionFolder>> ServedFolders(const Revision::Model& model) {
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(model.path));
  if (versions.empty()) {
    return absl::NotFoundError(absl::StrCat("path: got '", model.path, "' without a version folder, want one such as '",
                                            model.path,
                                            "/1' with a model.onnx; check the path or write the package there"));
  }
  std::vector<int64_t> listed;
  for (const VersionFolder& version : versions) listed.push_back(version.version);
  std::set<int64_t> served = ChooseVersions(model.versions, listed);
  if (served.empty()) {
    return absl::NotFoundError(
        absl::StrCat("versions: got none that is in '", model.path, "', want one of ", absl::StrJoin(listed, ", ")));
  }
  for (const auto& [label, version] : model.labels) served.insert(version);
  std::vector<VersionFolder> folders;
  for (const VersionFolder& version : versions) {
    if (served.contains(version.version)) folders.push_back(version);
  }
  return folders;
}

namespace {

absl::Status Pin(Revision::Model* model, PackageReader& packages) {
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> folders, ServedFolders(*model));
  model->pins.clear();
  model->calls.clear();
  for (const VersionFolder& folder : folders) {
    ASSIGN_OR_RETURN(const auto facts, packages.Read(model->name, folder));
    model->pins.push_back({folder.version, facts->digest});
    for (const PortalSpec& portal : facts->portals) {
      for (const PortalTarget& target : PortalTargets(portal)) {
        const Revision::Call call{folder.version, target.name, target.digest};
        if (absl::c_none_of(model->calls, [&](const Revision::Call& one) { return one == call; })) {
          model->calls.push_back(call);
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelFacts> ReadFacts(const Revision::Model& model, PackageReader& packages) {
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> folders, ServedFolders(model));
  ModelFacts facts;
  for (const VersionFolder& folder : folders) {
    ASSIGN_OR_RETURN(facts.versions.emplace_back(), packages.Read(model.name, folder));
  }
  return facts;
}

absl::Status ErrorAt(const Revision& revision, const MeshLines& lines, const std::string& model,
                     absl::string_view message) {
  const Revision::Table* group = GroupOf(revision, model);
  const YamlNode* line = group != nullptr ? lines.tables->Find(group->name) : ModelLine(lines.models, model);
  return line->Error(absl::StrCat("model '", model, "': ", message));
}

bool IsServed(const Revision& revision, const std::string& model) {
  return absl::c_any_of(revision.nodes,
                        [&](const Revision::Node& node) { return absl::c_linear_search(node.serve, model); });
}

/// What a target of this digest is answered by: the highest version that has it, of all where it names none. Null where
/// no version that is served has it.
const PackageFacts* FindVersion(const ModelFacts& model, const Digest& digest) {
  if (digest.empty()) return &model.highest();
  for (auto version = model.versions.rbegin(); version != model.versions.rend(); ++version) {
    if ((*version)->digest == digest) return version->get();
  }
  return nullptr;
}

/// The signature of that name; null where there is none.
const Signature* FindSignature(const PackageFacts& package, const std::string& name) {
  const auto found = absl::c_find_if(package.signatures, [&](const Signature& one) { return one.name == name; });
  return found == package.signatures.end() ? nullptr : &*found;
}

/// The same where the target is no model of the mesh.
absl::Status CheckExternal(const Revision::External& external, const PortalSpec& portal, const PortalTarget& target) {
  if (!target.digest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("got digest ", target.digest.Short(), " for external '",
                                                   external.name,
                                                   "', want none: servers of another make know of no digests; make the "
                                                   "portal without one"));
  }
  if (external.signature.empty() || external.signature == portal.signature) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("got signature '", portal.signature, "' of external '", external.name,
                                                 "', want '", external.signature, "'"));
}

/// The same of a group of tables.
absl::Status CheckGroup(const Revision& revision, const Facts& facts, const PortalSpec& portal) {
  const Revision::Table* table = revision.FindTable(portal.target);
  if (table == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("got tables '", portal.target, "', want some of this mesh; add '",
                                                   portal.target, "' to 'tables' and to the 'serve' of a node"));
  }
  return CheckTablesOf(portal, facts.at(ShardName(table->name, 0, table->shards)).highest().folder);
}

/// What the mesh calls the model of this digest; empty where it has none.
std::string NameOf(const Revision& revision, const Digest& digest) {
  if (digest.empty()) return "";
  for (const Revision::Model& model : revision.models) {
    if (absl::c_any_of(model.pins, [&](const Revision::Pin& pin) { return pin.digest == digest; })) return model.name;
  }
  return "";
}

/// What to do where the mesh has no version of `target` with its digest. `models`: the mesh file's.
std::string VersionRemedy(const YamlNode& models, const PortalTarget& target, const FindPulled& find_pulled) {
  const bool is_module = models.Find(target.name) == nullptr && ModelLine(models, target.name) != nullptr;
  if (!is_module) return "use the packages of one split, or split the model again";
  const auto module = find_pulled != nullptr ? find_pulled(target) : std::nullopt;
  if (!module.has_value() || module->Model() != target.name) {
    return absl::StrCat("add the version of the module that it was made with, which 'portico hub list ", target.name,
                        "' shows by its digest, or move the model to the mesh's version ('portico hub upgrade')");
  }
  const std::string handle = module->ToString();
  return absl::StrCat("what it calls is the hub module '", handle, "': add '", handle, ": {}' to 'models' and '",
                      handle, "' to the 'serve' of a node, or move the model to the mesh's version ('portico hub ",
                      "upgrade')");
}

/// The message of what is wrong with one target of a portal; OK when nothing is.
absl::Status CheckTarget(const Revision& revision, const Facts& facts, const YamlNode& models, const PortalSpec& portal,
                         const PortalTarget& target, const FindPulled& find_pulled) {
  if (const Revision::External* external = revision.FindExternal(target.name)) {
    return CheckExternal(*external, portal, target);
  }
  const auto found = facts.find(target.name);
  if (const std::string other = NameOf(revision, target.digest); found == facts.end() && !other.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("got target '", target.name, "', want '", other,
                                                   "', as this mesh calls what has its digest ", target.digest.Short(),
                                                   "; name the part so in the plan and split the model again"));
  }
  const auto module = found == facts.end() && find_pulled != nullptr ? find_pulled(target) : std::nullopt;
  if (module.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got target '", target.name, "', want a model of this mesh; it is the hub module '", module->ToString(),
        "': add '", module->ToString(), ": {}' to 'models' and it to the 'serve' of a node"));
  }
  if (found == facts.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got target '", target.name, "', want a model of this mesh; add '", target.name,
        "' to 'models' and to the 'serve' of a node, or to 'external' where servers of another make have it"));
  }
  if (!IsServed(revision, target.name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("got target '", target.name, "', which no node serves; add it to the 'serve' of a node"));
  }
  const PackageFacts* called = FindVersion(found->second, target.digest);
  if (called == nullptr) {
    const PackageFacts& highest = found->second.highest();
    return absl::InvalidArgumentError(absl::StrCat("got digest ", target.digest.Short(), " for target '", target.name,
                                                   "', want ", highest.digest.Short(), ", the digest of '",
                                                   highest.folder, "'; ", VersionRemedy(models, target, find_pulled)));
  }
  if (FindSignature(*called, portal.signature) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("got signature '", portal.signature, "' of target '", target.name, "', want one of ",
                     absl::StrJoin(called->signatures, ", ",
                                   [](std::string* out, const Signature& one) { out->append(one.name); })));
  }
  return absl::OkStatus();
}

/// Whether a tensor that suits one of the two can suit the other.
bool Agree(const TensorSpec& a, const TensorSpec& b) {
  if (a.dtype != b.dtype && a.dtype != DType::kInvalid && b.dtype != DType::kInvalid) return false;
  if (!a.has_rank || !b.has_rank) return true;
  if (a.dims.size() != b.dims.size()) return false;
  for (size_t d = 0; d < a.dims.size(); ++d) {
    const int64_t one = a.dims[d].extent, other = b.dims[d].extent;
    if (one >= 0 && other >= 0 && one != other) return false;
  }
  return true;
}

/// What `first` and `second`, a signature's tensors in two experts, do not have in common; empty where they agree.
std::string Difference(absl::string_view what, const std::vector<TensorSpec>& first,
                       const std::vector<TensorSpec>& second) {
  const auto names = [](const std::vector<TensorSpec>& specs) {
    return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& one) { out->append(one.name); });
  };
  for (const TensorSpec& one : first) {
    const auto other = absl::c_find_if(second, [&](const TensorSpec& spec) { return spec.name == one.name; });
    if (other == second.end() || first.size() != second.size()) {
      return absl::StrCat(what, "s ", names(first), " and ", names(second));
    }
    if (!Agree(one, *other)) {
      return absl::StrCat(what, " '", one.name, "' as ", one.ToString(), " and as ", other->ToString());
    }
  }
  return "";
}

/// One gate sends the same rows to all experts of a portal, and their answers are added up.
absl::Status CheckAlike(const Facts& facts, const PortalSpec& portal) {
  const PortalTarget* first = nullptr;
  const Signature* wanted = nullptr;
  const std::vector<PortalTarget> targets = PortalTargets(portal);
  for (const PortalTarget& target : targets) {
    const auto found = facts.find(target.name);
    if (found == facts.end()) continue;  // External: its signature is not ours to know.
    const PackageFacts* called = FindVersion(found->second, target.digest);
    const Signature* signature = called == nullptr ? nullptr : FindSignature(*called, portal.signature);
    if (signature == nullptr) continue;  // CheckTarget() says what is wrong with it.
    if (first == nullptr) {
      first = &target;
      wanted = signature;
      continue;
    }
    std::string difference = Difference("input", wanted->inputs, signature->inputs);
    if (difference.empty()) difference = Difference("output", wanted->outputs, signature->outputs);
    if (difference.empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat("got experts '", first->name, "' and '", target.name,
                                                   "' whose signature '", portal.signature, "' differs: ", difference,
                                                   "; want experts that take and give the same"));
  }
  return absl::OkStatus();
}

/// The message of what is wrong with one portal; OK when nothing is.
absl::Status CheckPortal(const Revision& revision, const Facts& facts, const YamlNode& models, const PortalSpec& portal,
                         const FindPulled& find_pulled) {
  if (portal.embedding.has_value()) return CheckGroup(revision, facts, portal);
  for (const PortalTarget& target : PortalTargets(portal)) {
    RETURN_IF_ERROR(CheckTarget(revision, facts, models, portal, target, find_pulled));
  }
  return CheckAlike(facts, portal);
}

/// Depth-first search for a chain of portals that comes back.
class CycleSearch {
 public:
  explicit CycleSearch(const Facts& facts) : facts_(facts) {}

  /// "a → b → a" when a cycle can be reached from `model`, else empty.
  std::string From(const std::string& model) {
    const auto on_path = absl::c_find(path_, model);
    if (on_path != path_.end()) {
      std::vector<std::string> cycle(on_path, path_.end());
      cycle.push_back(model);
      return absl::StrJoin(cycle, " → ");
    }
    if (!visited_.emplace(model, true).second) return "";
    path_.push_back(model);
    for (const PortalSpec* portal : PortalsOf(facts_.at(model))) {
      for (const PortalTarget& target : PortalTargets(*portal)) {
        if (!facts_.contains(target.name)) continue;  // External: what it calls is not ours to know.
        if (std::string cycle = From(target.name); !cycle.empty()) return cycle;
      }
    }
    path_.pop_back();
    return "";
  }

 private:
  const Facts& facts_;
  std::map<std::string, bool> visited_;
  std::vector<std::string> path_;
};

}  // namespace

absl::Status PinVersions(Revision* revision, const MeshLines& lines, PackageReader& packages) {
  for (Revision::Model& model : revision->models) {
    const absl::Status status = Pin(&model, packages);
    if (!status.ok()) return ErrorAt(*revision, lines, model.name, status.message());
  }
  return absl::OkStatus();
}

absl::Status CheckPortals(const Revision& revision, const MeshLines& lines, PackageReader& packages,
                          const FindPulled& find_pulled) {
  Facts facts;
  for (const Revision::Model& model : revision.models) {
    absl::StatusOr<ModelFacts> read = ReadFacts(model, packages);
    if (!read.ok()) return ErrorAt(revision, lines, model.name, read.status().message());
    facts.emplace(model.name, *std::move(read));
  }
  for (const Revision::Model& model : revision.models) {
    for (const PortalSpec* portal : PortalsOf(facts.at(model.name))) {
      if (absl::Status status = CheckPortal(revision, facts, lines.models, *portal, find_pulled); !status.ok()) {
        return ErrorAt(revision, lines, model.name,
                       absl::StrCat("portal '", portal->node_name, "': ", status.message()));
      }
    }
  }
  CycleSearch search(facts);
  for (const Revision::Model& model : revision.models) {
    if (const std::string cycle = search.From(model.name); !cycle.empty()) {
      return ErrorAt(revision, lines, model.name,
                     absl::StrCat("got portals that call in a circle, ", cycle,
                                  ", want none that come back; split so that no part calls its caller"));
    }
  }
  return absl::OkStatus();
}

}  // namespace portico
