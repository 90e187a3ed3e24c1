#include "node/frontend/module_catalog.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"

namespace portico {

const std::vector<Signature>& ModuleView::signatures() const {
  return here.has_value() && here->servable != nullptr ? here->servable->signatures() : manifest.signatures;
}

void ModuleCatalog::SetModels(const std::vector<ModelConfig>& models) {
  std::vector<ModelConfig> copy = models;
  MutexLock lock(&mutex_);
  models_.swap(copy);
}

void ModuleCatalog::SetRevision(const Revision& revision) {
  auto copy = std::make_shared<const Revision>(revision);
  MutexLock lock(&mutex_);
  revision_.swap(copy);
}

std::string ModuleCatalog::mesh() const {
  MutexLock lock(&mutex_);
  return revision_ == nullptr ? "" : revision_->mesh;
}

/// What views are made of, looked up once for all of a request's.
struct ModuleCatalog::Glance {
  /// The mesh's revision or, without one, one of what this node serves.
  std::shared_ptr<const Revision> picture;
  /// By name and version.
  std::map<std::pair<std::string, int64_t>, std::shared_ptr<const Servable>> available;
  /// Who calls what, by digest and, of portals that ask for none, by name.
  std::map<Digest, std::vector<ModuleView::User>> callers_of_digest;
  std::map<std::string, std::vector<ModuleView::User>> callers_of_name;
  /// Model → nodes.
  std::map<std::string, std::vector<std::string>> served_by;
};

ModuleCatalog::Glance ModuleCatalog::Look() const {
  Glance glance;
  for (const std::shared_ptr<const Servable>& servable : servables_.Available()) {
    glance.available[{servable->name(), servable->version()}] = servable;
  }
  std::vector<ModelConfig> models;
  {
    MutexLock lock(&mutex_);
    glance.picture = revision_;
    if (revision_ == nullptr) models = models_;
  }
  if (glance.picture == nullptr) {
    auto own = std::make_shared<Revision>();
    for (const ModelConfig& config : models) {
      Revision::Model& model = own->models.emplace_back();
      model.name = config.name;
      model.path = config.base_path;
      for (auto it = glance.available.lower_bound({model.name, 0});
           it != glance.available.end() && it->first.first == model.name; ++it) {
        model.pins.push_back({it->second->version(), it->second->digest()});
      }
    }
    glance.picture = std::move(own);
  }
  for (const Revision::Model& model : glance.picture->models) {
    for (const Revision::Call& call : model.calls) {
      (call.digest.empty() ? glance.callers_of_name[call.target] : glance.callers_of_digest[call.digest])
          .push_back({model.name, call.version});
    }
  }
  for (const Revision::Node& node : glance.picture->nodes) {
    for (const std::string& model : node.serve) glance.served_by[model].push_back(node.id());
  }
  return glance;
}

std::optional<ModuleView> ModuleCatalog::View(const Glance& glance, const Revision::Model& model,
                                              const Revision::Pin& pin) const {
  const absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(model.path, "/", pin.version, "/", kManifestFile), Manifest::kMaxBytes);
  if (!text.ok()) return std::nullopt;
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  // A manifest that is not this one's says nothing of it.
  if (!manifest.ok() || manifest->digest != pin.digest || manifest->handle.version != pin.version ||
      manifest->handle.Model() != model.name) {
    return std::nullopt;
  }
  ModuleView view;
  view.manifest = *std::move(manifest);
  if (!glance.picture->calls_left_out) {
    std::vector<ModuleView::User>& users = view.used_by.emplace();
    const auto add = [&users](const auto& callers, const auto& key) {
      if (const auto found = callers.find(key); found != callers.end()) {
        users.insert(users.end(), found->second.begin(), found->second.end());
      }
    };
    add(glance.callers_of_digest, pin.digest);
    add(glance.callers_of_name, model.name);
    std::sort(users.begin(), users.end());
    users.erase(std::unique(users.begin(), users.end()), users.end());
  }
  if (const auto nodes = glance.served_by.find(model.name); nodes != glance.served_by.end()) {
    view.served_by = nodes->second;
  }
  ServableRef ref;
  ref.name = model.name;
  ref.version = pin.version;
  const absl::StatusOr<std::vector<VersionStatus>> status = servables_.Status(ref);
  if (!status.ok() || status->empty()) return view;
  view.here = ModuleView::Here();
  ModuleView::Here& here = *view.here;
  here.state = status->front().state;
  here.error = std::string(status->front().status.message());
  const auto servable = glance.available.find({model.name, pin.version});
  if (servable == glance.available.end()) return view;
  here.servable = servable->second;
  const ServableStats::Snapshot stats = here.servable->stats().Read();
  here.succeeded = stats.succeeded.count;
  here.failed = stats.failed.count;
  here.rows = stats.rows;
  here.last_request = stats.last_request;
  return view;
}

std::vector<ModuleView> ModuleCatalog::List() const { return List(Look()); }

std::vector<ModuleView> ModuleCatalog::List(const Glance& glance) const {
  std::vector<ModuleView> views;
  for (const Revision::Model& model : glance.picture->models) {
    for (const Revision::Pin& pin : model.pins) {
      if (std::optional<ModuleView> view = View(glance, model, pin)) views.push_back(*std::move(view));
    }
  }
  std::sort(views.begin(), views.end(),
            [](const ModuleView& a, const ModuleView& b) { return a.manifest.handle < b.manifest.handle; });
  return views;
}

absl::StatusOr<ModuleView> ModuleCatalog::Find(const Handle& handle) const {
  const Glance glance = Look();
  if (const Revision::Model* model = glance.picture->FindModel(handle.Model())) {
    for (const Revision::Pin& pin : model->pins) {
      if (pin.version != handle.version) continue;
      if (std::optional<ModuleView> view = View(glance, *model, pin)) return *std::move(view);
    }
  }
  std::vector<std::string> known;
  for (const ModuleView& view : List(glance)) known.push_back(view.manifest.handle.ToString());
  return absl::NotFoundError(absl::StrCat(
      "handle '", handle.ToString(), "': this mesh has no such module, ",
      known.empty() ? "nor any other" : absl::StrCat("it has ", absl::StrJoin(known, ", ")), "; see /hub"));
}

}  // namespace portico
