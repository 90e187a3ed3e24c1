#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// What a PEM file is given for.
enum class PemKind { kPrivateKey, kCertificates };

/// Whether `text`, of the file `path` that `flag` names, holds what it is given for, as far as its headings say:
/// INVALID_ARGUMENT "--flag: got file 'server.key', which holds a private key and no certificate, …".
absl::Status CheckPem(absl::string_view flag, absl::string_view path, absl::string_view text, PemKind kind);

/// The file's text, checked so. NOT_FOUND and the like where it can't be read; 1 MiB at most.
absl::StatusOr<std::string> ReadPem(absl::string_view flag, const std::string& path, PemKind kind);

}  // namespace portico
