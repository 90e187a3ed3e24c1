#include "cli/serve_flags.h"

namespace portico {

std::vector<std::unique_ptr<ServeFlags>> AllServeFlags() {
  std::vector<std::unique_ptr<ServeFlags>> groups;
  return groups;
}

}  // namespace portico
