#include "base/memory_limit.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

TEST(MemoryLimitTest, TheLeastOfAllGroupsAboveCounts) {
  const TempFolder mount;
  std::filesystem::create_directories(mount.path() + "/a/b/c");
  const auto write = [&](const std::string& group, const std::string& text) {
    std::ofstream(mount.path() + group + "/memory.max") << text << "\n";
  };
  EXPECT_EQ(CgroupMemoryLimit(mount.path(), "/a/b/c"), std::numeric_limits<uint64_t>::max());
  write("/a/b/c", "max");
  write("/a/b", "4096000");
  write("/a", "8192000");
  EXPECT_EQ(CgroupMemoryLimit(mount.path(), "/a/b/c"), 4096000u);
  EXPECT_EQ(CgroupMemoryLimit(mount.path(), "/a"), 8192000u);
  EXPECT_EQ(CgroupMemoryLimit(mount.path(), ""), std::numeric_limits<uint64_t>::max());
}

TEST(MemoryLimitTest, IsNoMoreThanTheMachineHas) {
  const auto physical = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_GT(MemoryLimit(), 0u);
  EXPECT_LE(MemoryLimit(), physical);
}

}  // namespace
}  // namespace portico
