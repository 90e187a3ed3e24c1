#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "deploy/package_reader.h"
#include "models/compose/compose.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Makes the models of a mesh file that are made of others (`cascade:`, `experts:`, `sequence:`, `ensemble:`), of the
/// highest versions that are served of those, which may be such models themselves. For one reading of the file and one
/// thread; borrows `packages`.
class MeshComposer {
 public:
  MeshComposer(std::string file, PackageReader& packages) : file_(std::move(file)), packages_(packages) {}

  /// Reads what model `name` is made of. INVALID_ARGUMENT with file and line.
  absl::Status Read(const std::string& name, const YamlNode& from);
  bool Has(const std::string& name) const { return compositions_.contains(name); }

  /// The composition `name` of models of `revision`, made once. INVALID_ARGUMENT with file and line, for compositions
  /// that are made of each other too.
  absl::StatusOr<std::shared_ptr<const ComposedModel>> Make(const std::string& name, const Revision& revision);

  /// What was read of it; null: no composition of that name was.
  const Composition* Get(const std::string& name) const;
  /// Names of all, sorted.
  std::vector<std::string> Names() const;

  /// A model as one that compositions are made of: of `revision`, or a composition itself, which is made first.
  absl::StatusOr<Ingredient> FindMember(const std::string& model, bool whole, const Revision& revision);

  /// Makes all, and writes each below its path in `revision`, where the highest version there is another one, as the
  /// next version. What is there already stays, for revisions that serve it.
  absl::Status WriteAll(const Revision& revision);

 private:
  absl::StatusOr<Ingredient> Find(const std::string& model, bool whole, const Revision& revision);
  absl::Status Write(const ComposedModel& made, const std::string& base);

  const std::string file_;
  PackageReader& packages_;
  std::map<std::string, Composition> compositions_;
  std::map<std::string, std::shared_ptr<const ComposedModel>> made_;
  /// Being made: who is met again is made of itself.
  std::set<std::string> making_;
};

}  // namespace portico
