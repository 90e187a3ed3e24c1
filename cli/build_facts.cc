#include "cli/build_facts.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/version.h"

namespace portico {
namespace {

/// Of a file, whose digest is compared.
constexpr size_t kHeadBytes = 1 << 20;

absl::StatusOr<std::string> LookOf(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  struct stat info {};
  if (file == nullptr || fstat(fileno(file.get()), &info) != 0) return ErrnoStatus(errno, "look at", path);
  std::string head(kHeadBytes, '\0');
  head.resize(std::fread(head.data(), 1, head.size(), file.get()));
  if (std::ferror(file.get()) != 0) return ErrnoStatus(errno, "read", path);
  // A time of change may be set to what it was; the system's own, and the number of the file, may not.
  return absl::StrCat(info.st_size, " bytes, changed ", absl::FormatTime(absl::TimeFromTimespec(info.st_mtim)), " (",
                      absl::FormatTime(absl::TimeFromTimespec(info.st_ctim)), "), inode ", info.st_ino, ", beginning ",
                      Sha256(head).Short());
}

}  // namespace

absl::StatusOr<std::vector<BuildCheckpoint::Fact>> FactsOf(const TableBuild& build) {
  std::vector<BuildCheckpoint::Fact> facts = {{"portico", VersionText()},
                                              {"--package", build.package ? "yes" : "no"},
                                              {"--shards", absl::StrCat(build.shards)},
                                              {"--version", absl::StrCat(build.version)},
                                              {"--name", build.name},
                                              {"--raw", build.raw},
                                              {"--text", build.text},
                                              {"--id-kind", build.id_kind},
                                              {"--dim", absl::StrCat(build.dim)},
                                              {"--type", build.type},
                                              {"--unknown", build.unknown}};
  const std::pair<const char*, const std::string*> files[] = {{"--rows", &build.rows},
                                                              {"--ids", &build.ids},
                                                              {"--string-ids", &build.string_ids},
                                                              {"--default-row", &build.default_row}};
  for (const auto& [option, path] : files) {
    facts.push_back({option, *path});
    if (path->empty()) continue;
    ASSIGN_OR_RETURN(std::string look, LookOf(*path));
    facts.push_back({absl::StrCat("file '", *path, "'"), std::move(look)});
  }
  return facts;
}

std::string DifferenceOf(const std::vector<BuildCheckpoint::Fact>& before,
                         const std::vector<BuildCheckpoint::Fact>& now) {
  const auto [was, is] = std::mismatch(before.begin(), before.end(), now.begin(), now.end());
  if (is == now.end() && was == before.end()) return "";
  if (was == before.end() || is == now.end() || was->what != is->what) return "got other files than before";
  const auto shown = [](const std::string& value) { return value.empty() ? std::string("none") : value; };
  return absl::StrCat(is->what, ": got ", shown(is->value), ", was ", shown(was->value));
}

}  // namespace portico
