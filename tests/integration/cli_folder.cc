#include "tests/integration/cli_folder.h"

#include <sys/wait.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace portico {

CliFolder::Result CliFolder::Portico(const std::string& arguments) {
  const std::string command = absl::StrCat("cd '", folder_.path(), "' && '", PORTICO_BINARY_DIR, "/portico' ",
                                           arguments, " > stdout.txt 2> stderr.txt");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, folder_.Read("stdout.txt"), folder_.Read("stderr.txt")};
}

}  // namespace portico
