#pragma once

#include <string>

namespace portico {

/// "portico 0.1.0 (commit 1a2b3c4d5e6f)"; "-dirty" behind the commit where files had been changed.
std::string VersionText();

}  // namespace portico
