#include "cli/serve_flags.h"

#include "cli/serve_observe_flags.h"
#include "cli/serve_peer_flags.h"
#include "cli/serve_placement_flags.h"
#include "cli/serve_request_log_flags.h"
#include "cli/serve_security_flags.h"
#include "cli/serve_versions_flags.h"
#include "cli/tfs_flags.h"

namespace portico {

std::vector<std::unique_ptr<ServeFlags>> AllServeFlags() {
  std::vector<std::unique_ptr<ServeFlags>> groups;
  groups.push_back(NewTfsModelFlags());
  groups.push_back(NewTfsServerFlags());
  groups.push_back(NewTfsForeignFlags());
  groups.push_back(NewVersionsFlags());
  groups.push_back(NewPlacementFlags());
  groups.push_back(NewObserveFlags());
  groups.push_back(NewSecurityFlags());
  groups.push_back(NewRequestLogFlags());
  groups.push_back(NewPeerFlags());
  return groups;
}

}  // namespace portico
