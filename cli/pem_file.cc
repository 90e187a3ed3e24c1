#include "cli/pem_file.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxPemBytes = uint64_t{1} << 20;

}  // namespace

absl::Status CheckPem(absl::string_view flag, absl::string_view path, absl::string_view text, PemKind kind) {
  // "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN TRUSTED CERTIFICATE-----".
  const bool any = absl::StrContains(text, "-----BEGIN ");
  const bool key = any && absl::StrContains(text, "PRIVATE KEY-----");
  const bool certificate = any && absl::StrContains(text, "CERTIFICATE-----");
  if (kind == PemKind::kPrivateKey ? key : certificate) return absl::OkStatus();
  const absl::string_view got = !any          ? " without PEM text"
                                : key         ? ", which holds a private key and no certificate"
                                : certificate ? ", which holds certificates and no private key"
                                              : ", which holds neither a private key nor a certificate";
  return absl::InvalidArgumentError(absl::StrCat(flag, ": got file '", path, "'", got, ", want ",
                                                 kind == PemKind::kPrivateKey
                                                     ? "a private key (-----BEGIN PRIVATE KEY-----)"
                                                     : "certificates (-----BEGIN CERTIFICATE-----)"));
}

absl::StatusOr<std::string> ReadPem(absl::string_view flag, const std::string& path, PemKind kind) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxPemBytes);
  if (!text.ok()) return WithContext(flag, text.status());
  RETURN_IF_ERROR(CheckPem(flag, path, *text, kind));
  return text;
}

}  // namespace portico
