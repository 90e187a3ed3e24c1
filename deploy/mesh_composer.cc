#include "deploy/mesh_composer.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "deploy/composition_reader.h"
#include "deploy/mesh_portals.h"

namespace portico {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

}  // namespace

absl::Status MeshComposer::Read(const std::string& name, const YamlNode& from) {
  ASSIGN_OR_RETURN(Composition composition, ReadComposition(name, from, file_));
  compositions_.emplace(name, std::move(composition));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const ComposedModel>> MeshComposer::Make(const std::string& name,
                                                                        const Revision& revision) {
  if (const auto made = made_.find(name); made != made_.end()) return made->second;
  const Composition& composition = compositions_.at(name);
  if (!making_.insert(name).second) {
    return composition.ErrorAt(composition.line,
                               "got a model that is made of itself, through others or not, want none");
  }
  // First, so that what is wrong with them is said of them.
  std::vector<const CompositionMember*> members;
  for (const CompositionMember& member : composition.members) members.push_back(&member);
  if (composition.kind == Composition::Kind::kExperts) members.push_back(&composition.experts.gate);
  for (const CompositionMember* member : members) {
    if (Has(member->model)) RETURN_IF_ERROR(Make(member->model, revision).status());
  }
  ASSIGN_OR_RETURN(ComposedModel made, Compose(composition, [&](const std::string& model, bool whole) {
                     return Find(model, whole, revision);
                   }));
  making_.erase(name);
  return made_[name] = std::make_shared<const ComposedModel>(std::move(made));
}

absl::StatusOr<Ingredient> MeshComposer::Find(const std::string& model, bool whole, const Revision& revision) {
  Ingredient ingredient;
  if (const auto made = made_.find(model); made != made_.end()) {
    const Package& package = made->second->package;
    ingredient.digest = package.digest;
    ingredient.signatures = package.signatures;
    ingredient.axes_declared = package.axes_declared;
    ingredient.package = std::shared_ptr<const Package>(made->second, &package);
    return ingredient;
  }
  const Revision::Model* known = revision.FindModel(model);
  if (known == nullptr) {
    if (revision.FindExternal(model) != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("got '", model,
                       "', which is external, want a model of this mesh; nothing is known "
                       "of the others' signatures"));
    }
    std::vector<std::string> names;
    for (const Revision::Model& one : revision.models) names.push_back(one.name);
    return absl::InvalidArgumentError(
        absl::StrCat("got '", model, "', which is no model, want one of 'models': ", absl::StrJoin(names, ", ")));
  }
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> folders, ServedFolders(*known));
  ASSIGN_OR_RETURN(const auto facts, packages_.Read(model, folders.back()));
  ingredient.digest = facts->digest;
  ingredient.signatures = facts->signatures;
  ingredient.axes_declared = facts->axes_declared;
  if (whole) {
    WeightStore store;
    ASSIGN_OR_RETURN(Package package, LoadPackage(model, folders.back().folder, store));
    ingredient.package = std::make_shared<const Package>(std::move(package));
  }
  return ingredient;
}

const Composition* MeshComposer::Get(const std::string& name) const {
  const auto found = compositions_.find(name);
  return found == compositions_.end() ? nullptr : &found->second;
}

std::vector<std::string> MeshComposer::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, composition] : compositions_) names.push_back(name);
  return names;
}

absl::StatusOr<Ingredient> MeshComposer::FindMember(const std::string& model, bool whole, const Revision& revision) {
  if (Has(model)) RETURN_IF_ERROR(Make(model, revision).status());
  return Find(model, whole, revision);
}

absl::Status MeshComposer::WriteAll(const Revision& revision) {
  for (const auto& [name, composition] : compositions_) {
    ASSIGN_OR_RETURN(const auto made, Make(name, revision));
    const absl::Status written = Write(*made, revision.FindModel(name)->path);
    if (!written.ok()) return WithContext(absl::StrCat("model '", name, "'"), written);
  }
  return absl::OkStatus();
}

absl::Status MeshComposer::Write(const ComposedModel& made, const std::string& base) {
  std::error_code error;
  std::filesystem::create_directories(base, error);
  if (error) return ErrnoStatus(error.value(), "make folder", base);
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(base));
  int64_t version = 1;
  if (!versions.empty()) {
    const VersionFolder& highest = versions.back();
    const auto facts = packages_.Read(made.package.name, highest);
    const auto config = ReadFile(absl::StrCat(highest.folder, "/servable.yaml"), kMaxConfigBytes);
    if (facts.ok() && (*facts)->digest == made.package.digest && config.ok() && *config == made.config) {
      return absl::OkStatus();
    }
    version = highest.version + 1;
  }
  return WriteComposed(made, absl::StrCat(base, "/", version));
}

}  // namespace portico
