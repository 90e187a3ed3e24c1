#pragma once

namespace CLI {
class App;
}

namespace portico {

/// Each adds one subcommand to `app`: one file per subcommand, one line in main.cc. When its command was given,
/// `exit_code` is set (0 success, 1 failure, with the error on standard error).
void AddSplitCommand(CLI::App& app, int& exit_code);
void AddShareCommand(CLI::App& app, int& exit_code);
void AddComposeCommand(CLI::App& app, int& exit_code);
void AddCascadeCommand(CLI::App& app, int& exit_code);
void AddInspectCommand(CLI::App& app, int& exit_code);
void AddServeCommand(CLI::App& app, int& exit_code);
void AddUpCommand(CLI::App& app, int& exit_code);
void AddRevisionCommand(CLI::App& app, int& exit_code);
void AddApplyCommand(CLI::App& app, int& exit_code);
void AddPredictCommand(CLI::App& app, int& exit_code);
void AddReplayCommand(CLI::App& app, int& exit_code);
void AddTraceCommand(CLI::App& app, int& exit_code);
void AddTopCommand(CLI::App& app, int& exit_code);
void AddTableCommand(CLI::App& app, int& exit_code);
void AddPlanCommand(CLI::App& app, int& exit_code);
void AddHubCommand(CLI::App& app, int& exit_code);

}  // namespace portico
