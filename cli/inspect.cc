#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/inspection.h"
#include "cli/report_error.h"
#include "models/package/package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

struct InspectFlags {
  std::string path;
  bool json = false;
};

/// A model file by itself: what its graph says, no servable.yaml.
absl::StatusOr<Inspection> InspectFile(const std::string& path) {
  WeightStore store;
  ASSIGN_OR_RETURN(const Model model, Model::Load(path, store));
  ASSIGN_OR_RETURN(Signature signature, GraphSignature(model));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
  Inspection inspection;
  inspection.name = fs::path(path).stem().string();
  inspection.path = path;
  inspection.digest = digest;
  RETURN_IF_ERROR(AddModel(model, {std::move(signature)}, /*axes_declared=*/false, inspection));
  return inspection;
}

absl::StatusOr<Inspection> InspectFolder(const std::string& name, const std::string& folder) {
  WeightStore store;
  ASSIGN_OR_RETURN(const Package package, LoadPackage(name, folder, store));
  Inspection inspection;
  inspection.name = package.name;
  inspection.path = package.folder;
  inspection.version = package.version;
  inspection.digest = package.digest;
  RETURN_IF_ERROR(AddModel(package.model, package.signatures, package.axes_declared, inspection));
  return inspection;
}

absl::StatusOr<Inspection> Inspect(const std::string& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return InspectFile(path);
  // "digit/", "." and such have no last part to go by.
  const fs::path folder = fs::weakly_canonical(fs::absolute(path, error), error);
  int64_t version = 0;
  if (absl::SimpleAtoi(folder.filename().string(), &version)) {
    return InspectFolder(folder.parent_path().filename().string(), folder.string());
  }
  ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(path));
  if (versions.empty()) {
    return absl::NotFoundError(absl::StrCat("'", path,
                                            "': got no version folder such as '1' in it, want a model file, a "
                                            "version folder, or a folder of versions"));
  }
  ASSIGN_OR_RETURN(Inspection inspection, InspectFolder(folder.filename().string(), versions.back().folder));
  for (const VersionFolder& found : versions) inspection.versions.push_back(found.version);
  return inspection;
}

absl::Status RunInspect(const InspectFlags& flags) {
  // Finding out axis kinds tries inputs that a model may refuse; ONNX Runtime would log that.
  SetLogLevel("off");
  ASSIGN_OR_RETURN(const Inspection inspection, Inspect(flags.path));
  std::fputs((flags.json ? ToJson(inspection) : ToText(inspection)).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show signatures, axis kinds, segments, portals, bytes and digest of a package");
  command
      ->add_option("path", flags->path,
                   "A model file, a version folder, or a folder of versions (the highest is shown)")
      ->required()
      ->type_name("PATH");
  command->add_flag("--json", flags->json, "One JSON object, for programs");
  command->footer(
      "Axis kinds that servable.yaml does not declare are found out by running each segment a few times.\n"
      "Example:\n"
      "  portico inspect packages/digit\n"
      "  portico inspect packages/digit/1 --json");
  command->callback([flags, &exit_code] { exit_code = ReportError("inspect", RunInspect(*flags)); });
}

}  // namespace portico
