#pragma once

#include <cstdint>
#include <string>

namespace portico {

/// "17 B", "1.2 KiB", "3.0 GiB".
std::string ByteText(uint64_t bytes);

}  // namespace portico
