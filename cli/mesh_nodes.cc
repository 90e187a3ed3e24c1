#include "cli/mesh_nodes.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "deploy/node_status.h"

namespace portico {
namespace {

constexpr char kDefaultHttp[] = "127.0.0.1:8501";

absl::StatusOr<std::vector<MeshNode>> NodesOfRunFolder(const std::string& run_folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(run_folder) / "status", error)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("run folder '", run_folder, "': got ", error.message(),
                                            ", want the --run-folder of a 'portico up'"));
  }
  std::sort(files.begin(), files.end());
  std::vector<MeshNode> nodes;
  for (const std::string& file : files) {
    // One that is being written or is damaged is a node that does not answer.
    const absl::StatusOr<NodeStatus> status = ReadNodeStatus(file);
    if (status.ok() && !status->http.empty()) {
      nodes.push_back({absl::StrCat(status->node, "/", status->replica), status->http});
    }
  }
  if (nodes.empty()) {
    return absl::NotFoundError(absl::StrCat("run folder '", run_folder, "': got ", files.size(),
                                            " status files and no HTTP address in them, want one; give a node 'http'"));
  }
  return nodes;
}

}  // namespace

void MeshNodesFlags::AddTo(CLI::App& command) {
  command.add_option("--http", http, absl::StrCat("HTTP address of a node; repeatable; default: ", kDefaultHttp))
      ->type_name("HOST:PORT");
  command.add_option("--run-folder", run_folder, "The --run-folder of a 'portico up': all its nodes with HTTP")
      ->type_name("DIR");
  security.AddTo(command);
}

absl::StatusOr<std::vector<MeshNode>> FindNodes(const MeshNodesFlags& flags) {
  if (flags.http.empty() && !flags.run_folder.empty()) return NodesOfRunFolder(flags.run_folder);
  std::vector<MeshNode> nodes;
  for (const std::string& http : flags.http) nodes.push_back({"", http});
  if (nodes.empty()) nodes.push_back({"", kDefaultHttp});
  return nodes;
}

absl::StatusOr<HttpCall> CallOf(const MeshNodesFlags& flags, const MeshNode& node, std::string target) {
  HttpCall call;
  call.target = std::move(target);
  call.timeout = absl::Seconds(5);
  ASSIGN_OR_RETURN(call.security, flags.security.Read(node.http));
  return call;
}

absl::StatusOr<std::string> AskNode(const MeshNode& node, const HttpCall& call) {
  ASSIGN_OR_RETURN(HttpAnswer answer, CallHttp(node.http, call));
  if (answer.code == 200) return std::move(answer.body);
  const std::string got = absl::StrCat("node '", node.http, "': got HTTP ", answer.code, " for ", call.target);
  if (answer.code == 401 || answer.code == 403) {
    return absl::PermissionDeniedError(absl::StrCat(got, ", want 200; give an admin's --token-file"));
  }
  return absl::UnavailableError(absl::StrCat(got, ", want 200; is it the HTTP address of a node?"));
}

}  // namespace portico
