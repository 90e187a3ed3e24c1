#include "transport/foreign_endpoint.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr size_t kMaxModels = 64;

bool IsLoopback(absl::string_view address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]:");
}

bool IsAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  return colon != 0 && colon != absl::string_view::npos && absl::SimpleAtoi(address.substr(colon + 1), &port) &&
         port > 0 && port <= 65535 && !absl::StrContains(address, '/');
}

absl::Status SetOption(absl::string_view key, absl::string_view value, ForeignEndpoint* out) {
  if (value.empty()) return absl::InvalidArgumentError(absl::StrCat("got '", key, "' without a value, want one"));
  if (key == "model") {
    if (out->models.size() == kMaxModels) {
      return absl::InvalidArgumentError(absl::StrCat("got over ", kMaxModels, " models, want at most that"));
    }
    out->models.emplace_back(value);
  } else if (key == "token_file") {
    if (!out->tls && !IsLoopback(out->address)) {
      return absl::InvalidArgumentError(
          "got a token for a plain connection off loopback, want TLS; use grpcs or https");
    }
    out->token_file = std::string(value);
  } else if (key == "target") {
    out->target = std::string(value);
  } else if (key == "version") {
    if (!absl::SimpleAtoi(value, &out->version) || out->version < 0) {
      return absl::InvalidArgumentError(absl::StrCat("got version '", value, "', want a number"));
    }
  } else if (key == "ca_file") {
    if (!out->tls) {
      return absl::InvalidArgumentError("got root certificates for a plain connection, want TLS; use grpcs or https");
    }
    out->ca_file = std::string(value);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("got key '", key, "', want one of model, target, version, token_file, ca_file"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ForeignEndpoint> ForeignEndpoint::Parse(const std::string& endpoint) {
  const std::string subject = absl::StrCat("endpoint '", endpoint, "'");
  ForeignEndpoint parsed;
  absl::string_view rest = endpoint;
  parsed.api = absl::StartsWith(rest, "tfs+") ? Api::kTfs : Api::kV2;
  bool known = absl::ConsumePrefix(&rest, "tfs+") || absl::ConsumePrefix(&rest, "v2+");
  const absl::string_view wire = rest.substr(0, rest.find("://"));
  parsed.tls = wire == "grpcs" || wire == "https";
  parsed.wire = wire == "http" || wire == "https" ? Wire::kRest : Wire::kGrpc;
  known = known && (parsed.wire == Wire::kRest || wire == "grpc" || wire == "grpcs") &&
          absl::ConsumePrefix(&rest, absl::StrCat(wire, "://"));
  const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(rest, absl::MaxSplits('?', 1));
  parsed.address = std::string(absl::StripSuffix(halves.first, "/"));
  if (!known || !IsAddress(parsed.address)) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject,
                     ": got another form, want tfs+grpc://HOST:PORT, v2+grpc://HOST:PORT, tfs+http://HOST:PORT or "
                     "v2+http://HOST:PORT (grpcs, https: TLS)"));
  }
  for (const absl::string_view option : absl::StrSplit(halves.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(option, absl::MaxSplits('=', 1));
    RETURN_IF_ERROR(WithContext(subject, SetOption(pair.first, pair.second, &parsed)));
  }
  if ((!parsed.target.empty() || parsed.version >= 0) && parsed.models.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(subject, ": got 'target' or 'version' for ", parsed.models.size(),
                                                   " models, want them for one; add model=NAME"));
  }
  return parsed;
}

bool ForeignEndpoint::IsForeign(absl::string_view endpoint) {
  return absl::StartsWith(endpoint, "tfs+") || absl::StartsWith(endpoint, "v2+");
}

}  // namespace portico
