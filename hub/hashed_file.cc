#include "hub/hashed_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/atomic_file.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

absl::StatusOr<FileContent> ReadThrough(const std::string& path, const OnBytes& on_bytes,
                                        absl::FunctionRef<absl::Status(absl::string_view)> sink) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ELOOP) {
    return absl::InvalidArgumentError(
        absl::StrCat("file '", path, "': got a symbolic link, want a plain file; put what it leads to in its place"));
  }
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat("file '", path, "': got no plain file"));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  PORTICO_CHECK(EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) == 1);
  FileContent content;
  std::string piece(kPieceBytes, '\0');
  while (true) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read", path);
    if (got == 0) break;
    const absl::string_view bytes(piece.data(), static_cast<size_t>(got));
    EVP_DigestUpdate(hash.get(), bytes.data(), bytes.size());
    RETURN_IF_ERROR(sink(bytes));
    content.bytes += bytes.size();
    if (on_bytes) on_bytes(bytes.size());
  }
  PORTICO_CHECK(EVP_DigestFinal_ex(hash.get(), content.sha256.bytes.data(), nullptr) == 1);
  return content;
}

}  // namespace

absl::StatusOr<FileContent> HashFile(const std::string& path, const OnBytes& on_bytes) {
  return ReadThrough(path, on_bytes, [](absl::string_view) { return absl::OkStatus(); });
}

absl::StatusOr<FileContent> CopyHashed(const std::string& path, const std::string& to, const OnBytes& on_bytes) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(to));
  ASSIGN_OR_RETURN(const FileContent content,
                   ReadThrough(path, on_bytes, [&](absl::string_view bytes) { return file.Append(bytes); }));
  RETURN_IF_ERROR(file.Commit());
  return content;
}

}  // namespace portico
