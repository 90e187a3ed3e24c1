#include "cli/version.h"

// Made at every build by cmake/PorticoVersion.cmake.
#if __has_include("cli/version_stamp.h")
#include "cli/version_stamp.h"
#else
#define PORTICO_VERSION "unknown"
#define PORTICO_COMMIT "unknown"
#endif

namespace portico {

std::string VersionText() { return "portico " PORTICO_VERSION " (commit " PORTICO_COMMIT ")"; }

}  // namespace portico
