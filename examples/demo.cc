#include "examples/demo.h"

#include <cstdio>
#include <filesystem>
#include <regex>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico::examples {

int DemoMain(int argc, char** argv, const DemoProgram& program,
             absl::FunctionRef<absl::Status(const DemoFlags&)> demo) {
  DemoFlags flags;
  // Built into one folder.
  flags.portico = (std::filesystem::absolute(argv[0]).parent_path() / "portico").string();
  flags.folder = "examples/" + program.example;
  const std::string name = absl::StrCat("portico_", program.example, "_demo");
  CLI::App app(program.description);
  app.add_option("--portico", flags.portico, "The portico command")->capture_default_str();
  app.add_option("--folder", flags.folder, "The example: models, held-out data and mesh.yaml")->capture_default_str();
  app.add_flag("--once", flags.once,
               "Exit after the answers, non-zero if anything was wrong; ports are the system's choice");
  app.footer(absl::StrCat("Example, from the root of the repository:\n  build/", name, " --once"));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = demo(flags);
  if (status.ok() || absl::IsCancelled(status)) return 0;
  std::fprintf(stderr, "%s: %s\n", name.c_str(), std::string(status.message()).c_str());
  return 1;
}

void Say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

absl::Status WriteMesh(const DemoFlags& flags, const std::string& folder) {
  ASSIGN_OR_RETURN(std::string mesh, ReadFile(flags.folder + "/mesh.yaml", 1 << 20));
  if (flags.once) mesh = std::regex_replace(mesh, std::regex("(grpc|http): [0-9]+"), "$1: 0");
  return WriteFileAtomically(folder + "/mesh.yaml", mesh);
}

absl::StatusOr<DemoFolder> DemoFolder::Create() {
  ASSIGN_OR_RETURN(std::string path, MakeTemporaryFolder("portico-demo-"));
  return DemoFolder(std::move(path));
}

absl::StatusOr<DemoFolder> DemoFolder::WithMesh(const DemoFlags& flags) {
  ASSIGN_OR_RETURN(DemoFolder folder, Create());
  std::error_code error;
  std::filesystem::copy(flags.folder + "/packages", folder.path() + "/packages",
                        std::filesystem::copy_options::recursive, error);
  if (error) {
    return absl::InternalError(absl::StrCat("models of '", flags.folder, "': got ", error.message(),
                                            " for packages/; check the files out again"));
  }
  RETURN_IF_ERROR(WriteMesh(flags, folder.path()));
  return folder;
}

DemoFolder::DemoFolder(DemoFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

DemoFolder::~DemoFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace portico::examples
