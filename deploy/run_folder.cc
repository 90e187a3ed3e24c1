#include "deploy/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// With the 0 at its end, sun_path holds 108.
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

/// Sockets and pointers of a process that runs: where the system keeps such things, if it does.
absl::StatusOr<std::string> NewTemporaryFolder() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::error_code error;
  const bool usable = runtime != nullptr && fs::is_directory(runtime, error) && access(runtime, W_OK) == 0;
  // Not TMPDIR: the path of a socket has to be short.
  return MakeUniqueFolder(absl::StrCat(usable ? runtime : "/tmp", "/portico-"));
}

/// `*made`: it was not there.
absl::StatusOr<std::string> GivenFolder(const std::string& path, bool* made) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (!error) fs::create_directories(absolute.parent_path(), error);
  if (error) return ErrnoStatus(error.value(), "make run folder", path);
  *made = mkdir(absolute.c_str(), 0700) == 0;
  if (!*made && errno != EEXIST) return ErrnoStatus(errno, "make run folder", path);
  return absolute.string();
}

/// The highest N of N.yaml in `folder`; 0 where there is none.
uint64_t HighestRevision(const std::string& folder) {
  uint64_t highest = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    uint64_t number = 0;
    // N.yaml and N.refused.yaml.
    const fs::path stem = entry.path().stem();
    if (entry.path().extension() == ".yaml" && absl::SimpleAtoi(stem.stem().string(), &number)) {
      highest = std::max(highest, number);
    }
  }
  return highest;
}

std::string FileStem(const Revision::Node& node) { return absl::StrCat(node.name, "-", node.replica); }

}  // namespace

absl::StatusOr<std::unique_ptr<RunFolder>> RunFolder::Open(const std::string& path) {
  bool made = true;
  ASSIGN_OR_RETURN(std::string absolute, path.empty() ? NewTemporaryFolder() : GivenFolder(path, &made));
  std::unique_ptr<RunFolder> folder(new RunFolder(std::move(absolute), path.empty()));
  RETURN_IF_ERROR(folder->Lock());
  folder->remove_ = made;
  for (const char* inner : {"/revisions", "/status"}) {
    const std::string made = folder->path_ + inner;
    if (mkdir(made.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(errno, "make folder", made);
  }
  return folder;
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (remove_) fs::remove_all(path_, ignored);
  if (lock_ >= 0) close(lock_);
}

absl::Status RunFolder::Lock() {
  const std::string file = path_ + "/lock";
  lock_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) return ErrnoStatus(errno, "open", file);
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "run folder '", path_, "': got one that a running mesh holds; stop that 'portico up', or name another folder"));
}

std::string RunFolder::StatusFile(const Revision::Node& node) const {
  return absl::StrCat(status_folder(), "/", FileStem(node), ".json");
}

absl::Status RunFolder::AssignPeers(Revision* revision) const {
  for (Revision::Node& node : revision->nodes) {
    if (!node.peer.empty()) continue;
    const std::string socket = absl::StrCat(path_, "/", FileStem(node), ".sock");
    if (socket.size() > kMaxSocketPath) {
      return absl::InvalidArgumentError(absl::StrCat("run folder '", path_, "': got ", socket.size(),
                                                     " bytes for socket '", socket, "', want at most ", kMaxSocketPath,
                                                     "; give a shorter --run-folder"));
    }
    node.peer = absl::StrCat("unix://", socket);
  }
  return absl::OkStatus();
}

absl::Status RunFolder::Write(Revision* revision) const {
  revision->number = HighestRevision(path_ + "/revisions") + 1;
  return WriteFileAtomically(RevisionDocument(path_, revision->number), FormatRevision(*revision));
}

absl::Status RunFolder::Publish(Revision* revision) {
  RETURN_IF_ERROR(Write(revision));
  remove_ = temporary_;
  Unpoint("next");
  Unpoint("wanted");
  RETURN_IF_ERROR(Point("oldest", revision->number));
  return Point("current", revision->number);
}

absl::Status RunFolder::Point(absl::string_view pointer, uint64_t number) const {
  return MoveRevisionPointer(path_, pointer, number);
}

void RunFolder::Unpoint(absl::string_view pointer) const { RemoveRevisionPointer(path_, pointer); }

absl::Status RunFolder::Refuse(Revision revision, absl::string_view why) const {
  revision.reason = absl::StrCat("refused: ", why);
  const std::string path = absl::StrCat(path_, "/revisions/", revision.number, ".refused.yaml");
  RETURN_IF_ERROR(WriteFileAtomically(path, FormatRevision(revision)));
  unlink(RevisionDocument(path_, revision.number).c_str());
  return absl::OkStatus();
}

uint64_t RunFolder::TakeWanted() const {
  const std::string path = path_ + "/wanted";
  const absl::StatusOr<std::string> text = ReadFile(path, 64);
  uint64_t number = 0;
  if (!text.ok()) return 0;
  unlink(path.c_str());
  return absl::SimpleAtoi(*text, &number) ? number : 0;
}

}  // namespace portico
