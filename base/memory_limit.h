#pragma once

#include <cstdint>
#include <string>

namespace portico {

/// How much memory this process may take, pages of files that it reads included: the machine's, or less where a control
/// group (cgroup v2, memory.max; containers have one) says so. Reads files; as of now.
uint64_t MemoryLimit();

/// The least memory.max from `group` ("/system.slice/x") up to the root of `mount`; UINT64_MAX where none is set.
uint64_t CgroupMemoryLimit(const std::string& mount, const std::string& group);

}  // namespace portico
