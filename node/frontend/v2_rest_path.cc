#include "node/frontend/v2_rest_path.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "node/frontend/v2_codec.h"

namespace portico {
namespace {

using Route = V2RestPath::Route;

absl::Status NoSuchPath(absl::string_view path) {
  return absl::NotFoundError(absl::StrCat("path '", path.substr(0, 256),
                                          "': nothing here; want /v2, /v2/health/live, /v2/health/ready, "
                                          "/v2/models/NAME[/versions/N][/ready|/config|/stats|/infer], "
                                          "/v2/repository/index or /v2/repository/models/NAME/load|unload"));
}

absl::StatusOr<std::string> Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const absl::string_view digits = text.substr(i + 1, 2);
    if (digits.size() != 2 || !absl::ascii_isxdigit(static_cast<unsigned char>(digits[0])) ||
        !absl::ascii_isxdigit(static_cast<unsigned char>(digits[1]))) {
      return absl::InvalidArgumentError(
          absl::StrCat("path: got '", text.substr(i, 3), "' in a model's name, want % and two hexadecimal digits"));
    }
    out += absl::HexStringToBytes(digits);
    i += 2;
  }
  return out;
}

/// NAME[/versions/N].
absl::StatusOr<ServableRef> ReadModel(absl::string_view text) {
  absl::string_view version;
  if (const size_t at = text.rfind('/'); at != absl::string_view::npos) {
    absl::string_view name = text.substr(0, at);
    if (absl::ConsumeSuffix(&name, "/versions")) {
      version = text.substr(at + 1);
      text = name;
      if (version.empty()) return absl::InvalidArgumentError("path: got no version behind /versions/, want a number");
    }
  }
  ASSIGN_OR_RETURN(const std::string name, Unescape(text));
  return RefOfV2(name, version);
}

struct Suffix {
  absl::string_view text;
  Route route;
};

}  // namespace

absl::StatusOr<V2RestPath> ParseV2RestPath(absl::string_view method, absl::string_view path) {
  const bool post = method == "POST";
  const absl::string_view whole = path;
  V2RestPath parsed;
  const auto answer = [&](Route route, bool wants_post) -> absl::StatusOr<V2RestPath> {
    if (post != wants_post) {
      return absl::InvalidArgumentError(
          absl::StrCat("path '", whole.substr(0, 256), "': got ", method, ", want ", wants_post ? "POST" : "GET"));
    }
    parsed.route = route;
    return std::move(parsed);
  };
  if (!absl::ConsumePrefix(&path, "/v2")) return NoSuchPath(whole);
  if (path.empty() || path == "/") return answer(Route::kServer, false);
  if (path == "/health/live") return answer(Route::kLive, false);
  if (path == "/health/ready") return answer(Route::kReady, false);
  if (path == "/models/stats") return answer(Route::kStats, false);
  if (path == "/repository/index") return answer(Route::kIndex, true);
  if (absl::ConsumePrefix(&path, "/repository/models/")) {
    const bool load = absl::ConsumeSuffix(&path, "/load");
    if (!load && !absl::ConsumeSuffix(&path, "/unload")) return NoSuchPath(whole);
    ASSIGN_OR_RETURN(const std::string name, Unescape(path));
    ASSIGN_OR_RETURN(parsed.ref, RefOfV2(name, ""));
    return answer(load ? Route::kLoad : Route::kUnload, true);
  }
  if (!absl::ConsumePrefix(&path, "/models/")) return NoSuchPath(whole);
  Route route = Route::kModel;
  for (const Suffix& suffix : {Suffix{"/infer", Route::kInfer}, Suffix{"/ready", Route::kModelReady},
                               Suffix{"/config", Route::kModelConfig}, Suffix{"/stats", Route::kStats}}) {
    if (absl::ConsumeSuffix(&path, suffix.text)) {
      route = suffix.route;
      break;
    }
  }
  ASSIGN_OR_RETURN(parsed.ref, ReadModel(path));
  return answer(route, route == Route::kInfer);
}

}  // namespace portico
