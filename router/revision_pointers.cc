#include "router/revision_pointers.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// N of a link to revisions/N.yaml; 0 where it is none.
uint64_t NumberOf(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  uint64_t number = 0;
  const bool document = !error && target.extension() == ".yaml" && target.parent_path().filename() == "revisions";
  return document && absl::SimpleAtoi(target.stem().string(), &number) ? number : 0;
}

}  // namespace

std::string RevisionDocument(absl::string_view run_folder, uint64_t number) {
  return absl::StrCat(run_folder, "/revisions/", number, ".yaml");
}

absl::Status MoveRevisionPointer(absl::string_view run_folder, absl::string_view pointer, uint64_t number) {
  const std::string path = absl::StrCat(run_folder, "/", pointer), link = path + ".new";
  unlink(link.c_str());
  if (symlink(absl::StrCat("revisions/", number, ".yaml").c_str(), link.c_str()) != 0) {
    return ErrnoStatus(errno, "make link", link);
  }
  if (rename(link.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "rename to", path);
  return absl::OkStatus();
}

void RemoveRevisionPointer(absl::string_view run_folder, absl::string_view pointer) {
  unlink(absl::StrCat(run_folder, "/", pointer).c_str());
}

absl::StatusOr<RevisionPointers> ReadRevisionPointers(const std::string& current) {
  const fs::path folder = fs::path(current).parent_path();
  RevisionPointers pointers;
  // What `next` says is believed only with the `current` that was there before and after: it moves first.
  do {
    pointers.current = NumberOf(current);
    pointers.next = NumberOf(folder / "next");
    pointers.oldest = NumberOf(folder / "oldest");
  } while (pointers.current != NumberOf(current));
  if (pointers.current == 0) {
    return absl::NotFoundError(
        absl::StrCat("pointer '", current, "': got no symbolic link to revisions/N.yaml, want one"));
  }
  return pointers;
}

}  // namespace portico
