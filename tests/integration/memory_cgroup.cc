#include "tests/integration/memory_cgroup.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace portico {
namespace {

constexpr char kFirst[] = "/sys/fs/cgroup/memory";
constexpr char kSecond[] = "/sys/fs/cgroup";

/// The number behind `key` in a file of lines "key number"; of a file with a number alone with "".
int64_t NumberIn(const std::string& path, const std::string& key = "") {
  std::ifstream in(path);
  std::string word;
  int64_t number = 0;
  while (!key.empty() && in >> word && word != key) in >> number;
  number = 0;
  in >> number;
  return number;
}

bool WriteTo(const std::string& path, int64_t number) {
  std::ofstream out(path);
  out << number << std::endl;
  return out.good();
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryCgroup>> MemoryCgroup::Create(int64_t limit_bytes) {
  static std::atomic<int> next{0};
  const bool first = access(absl::StrCat(kFirst, "/memory.limit_in_bytes").c_str(), F_OK) == 0;
  const std::string root = first ? kFirst : kSecond;
  if (!first && access(absl::StrCat(kSecond, "/cgroup.subtree_control").c_str(), F_OK) != 0) {
    return absl::UnimplementedError(absl::StrCat("got neither '", kFirst, "' nor cgroups of version 2 in '", kSecond,
                                                 "', want a kernel with memory cgroups, mounted"));
  }
  std::string path = absl::StrCat(root, "/portico-test-", getpid(), "-", next.fetch_add(1));
  if (mkdir(path.c_str(), 0755) != 0) {
    return absl::PermissionDeniedError(absl::StrCat("'", path, "' cannot be made: ", strerror(errno)));
  }
  auto made = absl::WrapUnique(new MemoryCgroup(std::move(path), first));
  if (!WriteTo(made->path_ + (first ? "/memory.limit_in_bytes" : "/memory.max"), limit_bytes)) {
    return absl::PermissionDeniedError(
        absl::StrCat("no limit can be set in '", made->path_, "'; of version 2 '", root,
                     "/cgroup.subtree_control' must have 'memory', and writing takes root"));
  }
  return made;
}

MemoryCgroup::~MemoryCgroup() {
  // The kernel lets go of processes that have ended a moment later.
  for (int i = 0; i < 200 && rmdir(path_.c_str()) != 0 && errno == EBUSY; ++i) absl::SleepFor(absl::Milliseconds(10));
}

std::vector<std::string> MemoryCgroup::prefix() const {
  return {"/bin/sh", "-c", absl::StrCat("echo $$ > ", path_, "/cgroup.procs && exec \"$@\""), "sh"};
}

int64_t MemoryCgroup::used_bytes() const {
  return NumberIn(path_ + (first_version_ ? "/memory.usage_in_bytes" : "/memory.current"));
}

int64_t MemoryCgroup::times_full() const {
  return first_version_ ? NumberIn(path_ + "/memory.failcnt") : NumberIn(path_ + "/memory.events", "max");
}

}  // namespace portico
