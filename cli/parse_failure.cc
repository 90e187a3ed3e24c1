#include "cli/parse_failure.h"

#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/edit_distance.h"
#include "cli/terminal_text.h"

namespace portico {

std::string ParseFailure(const CLI::App* app, const CLI::Error& error) {
  const std::string plain = CLI::FailureMessage::simple(app, error);
  if (error.get_name() != "RequiredError") return plain;
  const std::vector<std::string> words = app->remaining(/*recurse=*/true);
  std::string path = app->get_name();
  const CLI::App* at = app;
  for (std::vector<CLI::App*> parsed = at->get_subcommands(); !parsed.empty(); parsed = at->get_subcommands()) {
    at = parsed.front();
    absl::StrAppend(&path, " ", at->get_name());
  }
  if (at->get_require_subcommand_min() == 0) return plain;
  std::vector<std::string> commands;
  for (const CLI::App* command : at->get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
  }
  std::string got = "no command", meant;
  if (!words.empty() && !absl::StartsWith(words.front(), "-")) {
    got = absl::StrCat("'", ForTerminal(words.front()), "'");
    for (const std::string& command : commands) {
      if (EditDistance(command, words.front()) <= command.size() / 3)
        meant = absl::StrCat("; '", command, "', if that was meant");
    }
  }
  return absl::StrCat(path, ": got ", got, ", want one of ", absl::StrJoin(commands, ", "), meant, "\nRun '", path,
                      " --help' for what they do.\n");
}

}  // namespace portico
