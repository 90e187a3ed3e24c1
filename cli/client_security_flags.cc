#include "cli/client_security_flags.h"

#include <algorithm>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/pem_file.h"
#include "cli/serve_security_flags.h"

namespace portico {
namespace {

constexpr uint64_t kMaxTokenBytes = uint64_t{1} << 20;

/// Nothing for no path.
absl::StatusOr<std::string> PemOf(const char* flag, const std::string& path, PemKind kind) {
  if (path.empty()) return "";
  return ReadPem(flag, path, kind);
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return "";
  absl::StatusOr<std::string> text = ReadFile(path, kMaxTokenBytes);
  if (!text.ok()) return WithContext("--token-file", text.status());
  absl::StripAsciiWhitespace(&*text);
  if (!text->empty() && std::all_of(text->begin(), text->end(), [](char c) { return absl::ascii_isprint(c); })) {
    return text;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--token-file: got file '", path, "' without a token, want one line of printable ASCII"));
}

}  // namespace

void ClientSecurityFlags::AddTo(CLI::App& command) {
  constexpr char kGroup[] = "Security";
  const auto file = [&](const char* flag, std::string* value, const char* what) {
    return command.add_option(flag, *value, what)->type_name("FILE")->group(kGroup);
  };
  command.add_flag("--tls", tls_, "Speak TLS; the other --tls flags imply it")->group(kGroup);
  file("--tls-ca", &roots_, "PEM roots of the server's certificate; else the system's");
  file("--tls-key", &key_, "PEM private key of this client, for a server that wants clients' certificates")
      ->group(kGroup);
  file("--tls-cert", &cert_, "PEM certificate of this client, then its chain");
  command.add_option("--tls-server-name", server_name_, "Name in the server's certificate; else the target's host")
      ->type_name("NAME")
      ->group(kGroup);
  file("--token-file", &token_, "Bearer token of a tenant, sent with every request")->envname("PORTICO_TOKEN_FILE");
  command.add_flag("--insecure", insecure_, "Send a token beyond this machine without TLS, and know it")->group(kGroup);
}

absl::StatusOr<ClientSecurity> ClientSecurityFlags::Read(const std::string& address) const {
  ClientSecurity security;
  if (key_.empty() != cert_.empty()) {
    return absl::InvalidArgumentError("--tls-key, --tls-cert: got one of them, want both");
  }
  ASSIGN_OR_RETURN(security.roots, PemOf("--tls-ca", roots_, PemKind::kCertificates));
  ASSIGN_OR_RETURN(security.private_key, PemOf("--tls-key", key_, PemKind::kPrivateKey));
  ASSIGN_OR_RETURN(security.certificates, PemOf("--tls-cert", cert_, PemKind::kCertificates));
  ASSIGN_OR_RETURN(security.token, ReadToken(token_));
  security.server_name = server_name_;
  security.tls = tls_ || !roots_.empty() || !key_.empty() || !server_name_.empty();
  if (!security.token.empty() && !security.tls && !insecure_ && !IsLoopbackAddress(address)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token-file: got a token for '", address,
                     "', which other machines are on the way to, without TLS; give --tls or --tls-ca, or say "
                     "--insecure"));
  }
  return security;
}

}  // namespace portico
