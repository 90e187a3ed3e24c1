#include "tests/cli/parse_serve_flags.h"

#include <algorithm>

#include "CLI/CLI.hpp"

namespace portico {

absl::Status ParseServeFlags(absl::Span<ServeFlags* const> groups, std::vector<std::string> arguments,
                             Node::Options* options) {
  CLI::App app;
  for (ServeFlags* group : groups) group->AddTo(app);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::Error& error) {
    return absl::UnknownError(error.what());
  }
  for (ServeFlags* group : groups) {
    if (absl::Status status = group->Apply(options); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace portico
