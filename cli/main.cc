#include "CLI/CLI.hpp"
#include "cli/commands.h"
#include "cli/parse_failure.h"
#include "cli/version.h"

int main(int argc, char** argv) {
  CLI::App app(
      "Portico: a serving mesh. Cuts a model into parts, serves each part by its own process, and answers through "
      "portals.");
  app.name("portico");
  app.require_subcommand(1);
  app.failure_message(portico::ParseFailure);
  app.set_version_flag("--version", portico::VersionText());
  app.footer(
      "Example:\n"
      "  portico split digit.onnx --plan digit.plan.yaml --out packages\n"
      "  portico up mesh.yaml\n"
      "  portico predict --grpc 127.0.0.1:8500 digit --input image=@image.npy\n"
      "'portico COMMAND --help' shows a command's options and an example.");
  int exit_code = 0;
  portico::AddSplitCommand(app, exit_code);
  portico::AddShareCommand(app, exit_code);
  portico::AddComposeCommand(app, exit_code);
  portico::AddCascadeCommand(app, exit_code);
  portico::AddInspectCommand(app, exit_code);
  portico::AddServeCommand(app, exit_code);
  portico::AddUpCommand(app, exit_code);
  portico::AddRevisionCommand(app, exit_code);
  portico::AddApplyCommand(app, exit_code);
  portico::AddPredictCommand(app, exit_code);
  portico::AddReplayCommand(app, exit_code);
  portico::AddTraceCommand(app, exit_code);
  portico::AddTopCommand(app, exit_code);
  portico::AddTableCommand(app, exit_code);
  portico::AddPlanCommand(app, exit_code);
  portico::AddHubCommand(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
