#include "hub/url.h"

#include <arpa/inet.h>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr size_t kMaxBytes = 8192;

absl::Status Wrong(absl::string_view text, absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(
      absl::StrCat("URL '", absl::CHexEscape(text.substr(0, 200)), "': got ", got, ", want ", want));
}

}  // namespace

std::string Url::Authority() const {
  const std::string name = absl::StrContains(host, ':') ? absl::StrCat("[", host, "]") : host;
  return port == (tls ? 443 : 80) ? name : absl::StrCat(name, ":", port);
}

std::string Url::ToString() const { return absl::StrCat(tls ? "https://" : "http://", Authority(), target); }

bool Url::IsLoopback() const {
  if (host == "localhost" || host == "::1") return true;
  // A name may begin as an address does: 127.example.com.
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

absl::StatusOr<Url> ParseUrl(absl::string_view text) {
  Url url;
  absl::string_view rest = text;
  if (text.size() > kMaxBytes) return Wrong(text, "too long a one", absl::StrCat("at most ", kMaxBytes, " bytes"));
  if (absl::ConsumePrefix(&rest, "https://")) {
    url.tls = true;
    url.port = 443;
  } else if (!absl::ConsumePrefix(&rest, "http://")) {
    return Wrong(text, "another scheme", "http://HOST:PORT/PATH or https://");
  }
  const auto plain = [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7F; };
  if (!absl::c_all_of(rest, plain)) return Wrong(text, "a blank or control character", "%20 and such in its place");
  rest = rest.substr(0, rest.find('#'));
  absl::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  rest.remove_prefix(authority.size());
  if (absl::StrContains(authority, '@')) {
    return Wrong(absl::StrCat(url.tls ? "https://…@" : "http://…@", authority.substr(authority.rfind('@') + 1)),
                 "a user's name in it", "none; a token goes into PORTICO_HUB_TOKEN");
  }
  size_t colon = authority.rfind(':');
  if (absl::StartsWith(authority, "[")) {
    const size_t end = authority.find(']');
    if (end == absl::string_view::npos) return Wrong(text, "no ']'", "[ADDRESS]:PORT");
    url.host = std::string(authority.substr(1, end - 1));
    if (colon != absl::string_view::npos && colon < end) colon = absl::string_view::npos;
  } else {
    url.host = std::string(authority.substr(0, colon));
  }
  absl::AsciiStrToLower(&url.host);
  if (url.host.empty()) return Wrong(text, "no host", "http://HOST:PORT/PATH");
  if (colon != absl::string_view::npos) {
    uint32_t port = 0;
    if (!absl::SimpleAtoi(authority.substr(colon + 1), &port) || port == 0 || port > 65535) {
      return Wrong(text, absl::StrCat("port '", authority.substr(colon + 1), "'"), "1 to 65535");
    }
    url.port = static_cast<uint16_t>(port);
  }
  url.target = absl::StrCat(absl::StartsWith(rest, "/") ? "" : "/", rest);
  return url;
}

absl::StatusOr<Url> ResolveUrl(const Url& from, absl::string_view location) {
  if (absl::StrContains(location, "://")) return ParseUrl(location);
  Url base = from;
  base.target.clear();
  if (absl::StartsWith(location, "//")) return ParseUrl(absl::StrCat(from.tls ? "https:" : "http:", location));
  std::string root = base.ToString();
  if (absl::StartsWith(location, "/")) return ParseUrl(absl::StrCat(root, location));
  const absl::string_view path = absl::string_view(from.target).substr(0, from.target.find('?'));
  return ParseUrl(absl::StrCat(root, path.substr(0, path.rfind('/') + 1), location));
}

std::string PercentEncode(absl::string_view text, bool keep_slashes) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slashes)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return out;
}

}  // namespace portico
