#include "node/servables/folder_state.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/match.h"

namespace portico {
namespace {

constexpr size_t kMaxFiles = 10'000;

void AddFile(const struct stat& info, Hasher& hasher) {
  hasher.Add(static_cast<uint64_t>(info.st_size)).Add(static_cast<uint64_t>(info.st_ino));
  hasher.Add(static_cast<uint64_t>(info.st_mtim.tv_sec)).Add(static_cast<uint64_t>(info.st_mtim.tv_nsec));
}

}  // namespace

Digest LookAtModel(const std::string& folder) {
  struct stat info {};
  if (stat((std::filesystem::path(folder) / "model.onnx").c_str(), &info) != 0) return Digest();
  Hasher hasher;
  AddFile(info, hasher);
  return hasher.Finish();
}

FolderState LookAtFolder(const std::string& folder) {
  FolderState state;
  std::error_code error;
  std::vector<std::string> paths;
  const auto options = std::filesystem::directory_options::skip_permission_denied;
  std::filesystem::recursive_directory_iterator entry(folder, options, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator() && paths.size() < kMaxFiles;
       entry.increment(error)) {
    paths.push_back(entry->path().string());
  }
  if (error && paths.empty()) return state;
  std::sort(paths.begin(), paths.end());
  Hasher hasher;
  for (const std::string& path : paths) {
    struct stat info {};
    hasher.Add(path);
    if (stat(path.c_str(), &info) != 0) continue;
    AddFile(info, hasher);
    if (S_ISREG(info.st_mode) && !absl::EndsWith(path, ".shard")) state.bytes += static_cast<uint64_t>(info.st_size);
  }
  state.fingerprint = hasher.Finish();
  // Last: whoever compares what was here before and after a read finds a change in between.
  state.model = LookAtModel(folder);
  return state;
}

}  // namespace portico
