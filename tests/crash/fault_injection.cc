#include "tests/crash/fault_injection.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "base/check.h"

namespace portico {
namespace {

FaultPlan active;
/// Shared with the parent; null outside of RunWithFaults().
long* calls_made = nullptr;

/// Whether a call goes on to the C library. `needs_room`: a full disk refuses it.
bool Pass(bool needs_room) {
  if (calls_made == nullptr) return true;
  const long call = ++*calls_made;
  if (active.kind == FaultPlan::Kind::kDie && call == active.at) _exit(kDiedByPlan);
  if (active.kind == FaultPlan::Kind::kDiskFull && call >= active.at && needs_room) {
    errno = ENOSPC;
    return false;
  }
  return true;
}

template <typename Function>
Function* Next(const char* name) {
  auto* const function = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  PORTICO_CHECK(function != nullptr);
  return function;
}

}  // namespace

int RunWithFaults(const FaultPlan& plan, const std::function<int()>& work, long* calls) {
  void* const shared = mmap(nullptr, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PORTICO_CHECK(shared != MAP_FAILED);
  std::fflush(nullptr);
  const pid_t child = fork();
  PORTICO_CHECK(child >= 0);
  if (child == 0) {
    active = plan;
    calls_made = static_cast<long*>(shared);
    const int code = work();
    _exit(code);
  }
  int status = 0;
  PORTICO_CHECK(waitpid(child, &status, 0) == child);
  if (calls != nullptr) *calls = *static_cast<long*>(shared);
  munmap(shared, sizeof(long));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace portico

using portico::Next;
using portico::Pass;

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* const next = Next<ssize_t(int, const void*, size_t)>("write");
  // Standard output and error are no files that anybody reads back.
  return fd <= 2 || Pass(true) ? next(fd, bytes, count) : -1;
}
ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static auto* const next = Next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return Pass(true) ? next(fd, bytes, count, offset) : -1;
}
ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  static auto* const next = Next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return Pass(true) ? next(fd, bytes, count, offset) : -1;
}
int open(const char* path, int flags, ...) {
  static auto* const next = Next<int(const char*, int, ...)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  const mode_t mode = makes ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return !makes || Pass(true) ? next(path, flags, mode) : -1;
}
int fsync(int fd) {
  static auto* const next = Next<int(int)>("fsync");
  return Pass(true) ? next(fd) : -1;
}
int rename(const char* from, const char* to) noexcept {
  static auto* const next = Next<int(const char*, const char*)>("rename");
  return Pass(true) ? next(from, to) : -1;
}
int link(const char* from, const char* to) noexcept {
  static auto* const next = Next<int(const char*, const char*)>("link");
  return Pass(true) ? next(from, to) : -1;
}
int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const next = Next<int(const char*, mode_t)>("mkdir");
  return Pass(true) ? next(path, mode) : -1;
}
char* mkdtemp(char* path) noexcept {
  static auto* const next = Next<char*(char*)>("mkdtemp");
  return Pass(true) ? next(path) : nullptr;
}
int unlink(const char* path) noexcept {
  static auto* const next = Next<int(const char*)>("unlink");
  return Pass(false) ? next(path) : -1;
}
int unlinkat(int fd, const char* path, int flags) noexcept {
  static auto* const next = Next<int(int, const char*, int)>("unlinkat");
  return Pass(false) ? next(fd, path, flags) : -1;
}
int rmdir(const char* path) noexcept {
  static auto* const next = Next<int(const char*)>("rmdir");
  return Pass(false) ? next(path) : -1;
}
int remove(const char* path) noexcept {
  static auto* const next = Next<int(const char*)>("remove");
  return Pass(false) ? next(path) : -1;
}
int ftruncate(int fd, off_t length) noexcept {
  static auto* const next = Next<int(int, off_t)>("ftruncate");
  return Pass(true) ? next(fd, length) : -1;
}

}  // extern "C"
