#include "deploy/address.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

bool IsHostName(absl::string_view host) {
  return !host.empty() &&
         absl::c_all_of(host, [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; });
}

bool IsIpv6(absl::string_view host) {
  return absl::StrContains(host, ':') &&
         absl::c_all_of(host, [](char c) { return absl::ascii_isxdigit(c) || c == ':' || c == '.'; });
}

bool MeansAll(absl::string_view host) { return host == "0.0.0.0" || host == "::"; }

absl::string_view Canonical(absl::string_view host) { return host == "localhost" ? "127.0.0.1" : host; }

}  // namespace

std::string Address::ToString() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

bool Address::ClashesWith(const Address& other) const {
  if (port == 0 || port != other.port) return false;
  return Canonical(host) == Canonical(other.host) || MeansAll(host) || MeansAll(other.host);
}

absl::StatusOr<Address> ParseAddress(absl::string_view text) {
  Address address;
  absl::string_view port = text;
  bool fits = true;
  if (const size_t colon = text.rfind(':'); colon != absl::string_view::npos) {
    absl::string_view host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (absl::ConsumePrefix(&host, "[")) {
      fits = absl::ConsumeSuffix(&host, "]") && IsIpv6(host);
    } else {
      fits = IsHostName(host);
    }
    address.host = std::string(host);
  } else {
    address.host = "127.0.0.1";
  }
  const bool digits = !port.empty() && absl::c_all_of(port, [](char c) { return absl::ascii_isdigit(c); });
  if (!fits || !digits || !absl::SimpleAtoi(port, &address.port) || address.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", text, "', want a port from 0 to 65535, or HOST:PORT such as 127.0.0.1:8500"));
  }
  return address;
}

}  // namespace portico
