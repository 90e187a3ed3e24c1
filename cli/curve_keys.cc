#include "cli/curve_keys.h"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kZ85Bytes = 40;

bool IsZ85(absl::string_view key) {
  constexpr absl::string_view kSigns = ".-:+=^!/*?&<>()[]{}@%$#";
  return key.size() == kZ85Bytes &&
         absl::c_all_of(key, [&](char c) { return absl::ascii_isalnum(c) || absl::StrContains(kSigns, c); });
}

/// The keys of `path`, one per line; empty lines are skipped.
absl::StatusOr<std::vector<std::string>> ReadKeys(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  std::vector<std::string> keys;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    if (!IsZ85(line)) {
      // What stands there may be half a secret: its length must do.
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": key: got ", line.size(),
                                                     " characters that are no CURVE key, want ", kZ85Bytes, " of Z85"));
    }
    keys.emplace_back(line);
  }
  return keys;
}

absl::Status CheckCount(const std::string& path, const std::vector<std::string>& keys, size_t want,
                        absl::string_view what) {
  if (keys.size() == want) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("key file '", path, "': got ", keys.size(), " keys, want ", want, ": ", what));
}

absl::Status CheckPrivate(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  if ((info.st_mode & 077) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("key file '", path, "': got one that others may read, want it private; run chmod 600 '", path, "'"));
}

}  // namespace

absl::Status ReadCurveKeys(const std::string& key_file, const std::string& allow_file,
                           const std::string& server_key_file, TransportSecurity* listen, TransportSecurity* call) {
  RETURN_IF_ERROR(CheckPrivate(key_file));
  ASSIGN_OR_RETURN(const std::vector<std::string> own, ReadKeys(key_file));
  RETURN_IF_ERROR(CheckCount(key_file, own, 2, "the public key, then the secret one"));
  ASSIGN_OR_RETURN(std::vector<std::string> allowed, ReadKeys(allow_file));
  if (allowed.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("key file '", allow_file, "': got no keys, want the public key of each node that may connect"));
  }
  listen->own_public_key = call->own_public_key = own[0];
  listen->own_secret_key = call->own_secret_key = own[1];
  listen->allowed_keys = std::move(allowed);
  call->peer_public_key = own[0];
  if (!server_key_file.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> server, ReadKeys(server_key_file));
    RETURN_IF_ERROR(CheckCount(server_key_file, server, 1, "the public key of the nodes this one calls"));
    call->peer_public_key = server[0];
  }
  return absl::OkStatus();
}

}  // namespace portico
