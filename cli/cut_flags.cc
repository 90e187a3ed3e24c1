#include "cli/cut_flags.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "hub/cache.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// packages/hub/encoder/1/model.onnx lies this deep in packages.
constexpr int kLevelsAround = 4;

}  // namespace

CLI::Option* CutFlags::AddOut(CLI::App& command, const std::string& without) {
  return command
      .add_option("--out", out, absl::StrCat("Folder for the packages, each DIR/NAME/VERSION/model.onnx", without))
      ->type_name("DIR");
}

void CutFlags::AddOthers(CLI::App& command, const std::string& samples_folder) {
  command.add_option("--version", version, "Version of the packages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--samples", samples,
                  absl::StrCat("Recorded inputs to compare with instead of generated ones: ", samples_folder))
      ->type_name("DIR");
  command
      .add_option(
          "--package", packages,
          "Where what portals call is, by its servable name, or a folder of such packages (a store of modules); "
          "may be repeated. Packages beside the models and pulled modules are found without")
      ->type_name("[NAME=]DIR");
}

absl::StatusOr<std::vector<CalledModels::Place>> CutFlags::Places(
    const std::vector<CalledModels::Place>& models) const {
  std::vector<CalledModels::Place> places;
  std::error_code error;
  for (const std::string& package : packages) {
    // NAME=PATH, unless that is what the folder is called.
    const size_t equals = package.find('=');
    const bool named = equals != std::string::npos && !fs::exists(package, error);
    const CalledModels::Place place = {named ? package.substr(0, equals) : "",
                                       named ? package.substr(equals + 1) : package};
    if (!fs::exists(place.path, error)) {
      return absl::NotFoundError(absl::StrCat("--package '", package, "': got nothing at '", place.path,
                                              "', want a package, or a folder of packages"));
    }
    places.push_back(place);
  }
  places.insert(places.end(), models.begin(), models.end());
  const auto add_root = [&](const fs::path& root) {
    const auto is_it = [&](const CalledModels::Place& one) { return one.name.empty() && one.path == root.string(); };
    if (std::none_of(places.begin(), places.end(), is_it)) places.push_back({"", root.string()});
  };
  if (!out.empty()) add_root(fs::absolute(out, error).lexically_normal());
  for (const CalledModels::Place& model : models) {
    fs::path folder = fs::absolute(model.path, error).lexically_normal();
    for (int level = 0; level < kLevelsAround && folder.has_relative_path(); ++level) {
      folder = folder.parent_path();
      add_root(folder);
    }
  }
  if (const auto cache = HubCache::DefaultFolder(); cache.ok()) add_root(fs::path(*cache) / "modules");
  return places;
}

std::string CutFlags::FolderOf(const std::string& name) const {
  return (fs::path(out) / name / absl::StrCat(version)).string();
}

std::string VerifiedText(const std::string& subject, const std::string& original, const VerifyReport& report) {
  std::string text =
      absl::StrCat("verified: ", subject, report.rounds, report.rounds == 1 ? " run" : " runs", " equal to ", original,
                   "; with graph optimisation on, the largest difference is ", report.optimized_max_difference, "\n");
  for (const std::string& skipped : report.skipped) {
    absl::StrAppend(&text, "not compared, as ", original, " refuses it: ", skipped, "\n");
  }
  return text;
}

}  // namespace portico
