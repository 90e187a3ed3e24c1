#include "cli/version.h"

// Made at every build by cmake/PorticoVersion.cmake.
#include "cli/version_stamp.h"

namespace portico {

std::string VersionText() { return "portico " PORTICO_VERSION " (commit " PORTICO_COMMIT ")"; }

}  // namespace portico
