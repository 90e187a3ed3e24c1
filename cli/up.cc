#include <memory>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/report_error.h"
#include "deploy/supervisor.h"

namespace portico {

void AddUpCommand(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<SupervisorOptions>();
  auto ready_timeout_s = std::make_shared<double>(absl::ToDoubleSeconds(options->ready_timeout));
  auto prepare_timeout_s = std::make_shared<double>(absl::ToDoubleSeconds(options->prepare_timeout));
  CLI::App* command = app.add_subcommand("up", "Start every node of a mesh file as a process here, until Ctrl-C");
  command->add_option("mesh", options->mesh_file, "The mesh file (docs/mesh_yaml.md)")
      ->required()
      ->type_name("MESH.YAML");
  command
      ->add_option("--run-folder", options->run_folder,
                   "Sockets, status files and revisions; a new temporary one by default")
      ->type_name("DIR");
  command->add_option("--ready-timeout", *ready_timeout_s, "Seconds within which all nodes must be ready")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  command
      ->add_option("--prepare-timeout", *prepare_timeout_s,
                   "Seconds within which all nodes must have prepared a new revision")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  command->footer(
      "Example:\n  portico up mesh.yaml --run-folder run\n"
      "What changes in mesh.yaml while it runs is rolled out ('portico revision' shows that).");
  command->callback([options, ready_timeout_s, prepare_timeout_s, &exit_code] {
    options->prepare_timeout = absl::Seconds(*prepare_timeout_s);
    options->ready_timeout = absl::Seconds(*ready_timeout_s);
    exit_code = ReportError("up", RunSupervisor(*options));
  });
}

}  // namespace portico
