#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/report_error.h"
#include "cli/signature_lines.h"
#include "deploy/hub_modules.h"
#include "deploy/mesh.h"
#include "models/compose/compose.h"

namespace portico {
namespace {

struct Flags {
  std::string mesh_file;
  std::string model;
  std::string out;
  int64_t version = 1;
};

/// Writes it unless the same stands there.
absl::Status Write(const ComposedModel& made, const std::string& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder, error)) {
    WeightStore store;
    const absl::StatusOr<Package> there = LoadPackage(made.package.name, folder, store);
    if (there.ok() && there->digest == made.package.digest) return absl::OkStatus();
  }
  return WriteComposed(made, folder);
}

absl::Status RunCompose(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto composed, ComposeModels(flags.mesh_file, flags.model, PullModules()));
  for (const std::shared_ptr<const ComposedModel>& made : composed) {
    const std::string folder =
        (std::filesystem::path(flags.out) / made->package.name / absl::StrCat(flags.version)).string();
    RETURN_IF_ERROR(Write(*made, folder));
    const std::string text = absl::StrCat(made->package.name, "  digest ", made->package.digest.Short(), "\n",
                                          SignatureLines(made->package.signatures[0]), "  at   ", folder, "\n");
    std::fputs(text.c_str(), stdout);
  }
  return absl::OkStatus();
}

}  // namespace

void AddComposeCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "compose", "Write what a mesh file composes (cascades, experts, sequences, ensembles) as packages of ONNX");
  command->add_option("mesh", flags->mesh_file, "The mesh file (docs/composition.md)")
      ->required()
      ->type_name("MESH.YAML");
  command->add_option("--model", flags->model, "Only this model; otherwise all that are composed")->type_name("NAME");
  command->add_option("--out", flags->out, "Folder for the packages, each DIR/NAME/VERSION/model.onnx")
      ->required()
      ->type_name("DIR");
  command->add_option("--version", flags->version, "Version of the packages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command->footer(
      "In the mesh file:\n"
      "  models:\n"
      "    spam-trigger: {path: packages/spam-trigger}\n"
      "    spam-full: {path: packages/spam-full}\n"
      "    spam: {cascade: {stages: [spam-trigger, {model: spam-full, when: \"score > 0.1 && score < 0.9\"}]}}\n"
      "'portico up' composes by itself; this is for looking at what it makes, and for nodes elsewhere.\n"
      "Example:\n"
      "  portico compose mesh.yaml --model spam --out packages");
  command->callback([flags, &exit_code] { exit_code = ReportError("compose", RunCompose(*flags)); });
}

}  // namespace portico
