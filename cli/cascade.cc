#include "CLI/CLI.hpp"
#include "cli/cascade_commands.h"
#include "cli/commands.h"

namespace portico {

void AddCascadeCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("cascade", "Tune and judge cascades: which rows go on to the full model");
  command->require_subcommand(1);
  command->footer(
      "Example:\n"
      "  portico cascade tune mesh.yaml --model digit --data calibration.npz --min-agreement 99.5% --write\n"
      "'portico cascade tune --help' shows its options.");
  AddCascadeTune(*command, exit_code);
  AddCascadeEvaluate(*command, exit_code);
}

}  // namespace portico
