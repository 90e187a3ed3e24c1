#pragma once

namespace CLI {
class App;
}

namespace portico {

/// The subcommands of `portico cascade`, as in commands.h.
void AddCascadeTune(CLI::App& cascade, int& exit_code);
void AddCascadeEvaluate(CLI::App& cascade, int& exit_code);

}  // namespace portico
