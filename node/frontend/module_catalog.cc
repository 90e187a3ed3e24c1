#include "node/frontend/module_catalog.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
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

/// The mesh's revision or, without one, one of what this node serves.
std::shared_ptr<const Revision> ModuleCatalog::Picture() const {
  std::vector<ModelConfig> models;
  {
    MutexLock lock(&mutex_);
    if (revision_ != nullptr) return revision_;
    models = models_;
  }
  auto picture = std::make_shared<Revision>();
  const std::vector<std::shared_ptr<const Servable>> available = servables_.Available();
  for (const ModelConfig& config : models) {
    Revision::Model& model = picture->models.emplace_back();
    model.name = config.name;
    model.path = config.base_path;
    for (const std::shared_ptr<const Servable>& servable : available) {
      if (servable->name() == model.name) model.pins.push_back({servable->version(), servable->digest()});
    }
  }
  return picture;
}

std::optional<ModuleView> ModuleCatalog::View(const Revision& picture, const Revision::Model& model,
                                              const Revision::Pin& pin) const {
  const absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(model.path, "/", pin.version, "/", kManifestFile), Manifest::kMaxBytes);
  if (!text.ok()) return std::nullopt;
  absl::StatusOr<Manifest> manifest = ParseManifest(*text);
  // A manifest that is not this one's says nothing of it.
  if (!manifest.ok() || manifest->digest != pin.digest || manifest->handle.version != pin.version) return std::nullopt;
  ModuleView view;
  view.manifest = *std::move(manifest);
  view.model = model.name;
  for (const Revision::Model& other : picture.models) {
    for (const Revision::Call& call : other.calls) {
      const bool called = call.digest.empty() ? call.target == model.name : call.digest == pin.digest;
      const auto same = [&](const ModuleView::User& user) {
        return user.model == other.name && user.version == call.version;
      };
      if (called && absl::c_none_of(view.used_by, same)) view.used_by.push_back({other.name, call.version});
    }
  }
  for (const Revision::Node& node : picture.nodes) {
    if (absl::c_linear_search(node.serve, model.name)) view.served_by.push_back(node.id());
  }
  ServableRef ref;
  ref.name = model.name;
  ref.version = pin.version;
  const absl::StatusOr<std::vector<VersionStatus>> status = servables_.Status(ref);
  if (!status.ok() || status->empty()) return view;
  ModuleView::Here& here = view.here.emplace();
  here.state = status->front().state;
  here.error = std::string(status->front().status.message());
  for (const std::shared_ptr<const Servable>& servable : servables_.Available()) {
    if (servable->name() != model.name || servable->version() != pin.version) continue;
    const ServableStats::Snapshot stats = servable->stats().Read();
    here.succeeded = stats.succeeded.count;
    here.failed = stats.failed.count;
    here.rows = stats.rows;
    here.last_request = stats.last_request;
    here.servable = servable;
  }
  return view;
}

std::vector<ModuleView> ModuleCatalog::List() const {
  const std::shared_ptr<const Revision> picture = Picture();
  std::vector<ModuleView> views;
  for (const Revision::Model& model : picture->models) {
    for (const Revision::Pin& pin : model.pins) {
      if (std::optional<ModuleView> view = View(*picture, model, pin)) views.push_back(*std::move(view));
    }
  }
  std::sort(views.begin(), views.end(),
            [](const ModuleView& a, const ModuleView& b) { return a.manifest.handle < b.manifest.handle; });
  return views;
}

absl::StatusOr<ModuleView> ModuleCatalog::Find(const Handle& handle) const {
  std::vector<std::string> known;
  for (ModuleView& view : List()) {
    if (view.manifest.handle == handle) return std::move(view);
    known.push_back(view.manifest.handle.ToString());
  }
  return absl::NotFoundError(absl::StrCat(
      "handle '", handle.ToString(), "': this mesh has no such module, ",
      known.empty() ? "nor any other" : absl::StrCat("it has ", absl::StrJoin(known, ", ")), "; see /hub"));
}

}  // namespace portico
