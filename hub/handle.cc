#include "hub/handle.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr char kForm[] = "PUBLISHER/NAME/VERSION, acme/encoder/3 say";
constexpr size_t kMaxShownBytes = 160;

bool IsDigits(absl::string_view text) { return !text.empty() && absl::c_all_of(text, absl::ascii_isdigit); }
bool Fits(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; }

/// `part` with what may not be in it replaced: what somebody who wrote it may have meant.
std::string NearestPart(absl::string_view part) {
  std::string fixed;
  for (const char c : part) {
    const char next = Fits(c) ? c : '-';
    if (next == '-' && (fixed.empty() || fixed.back() == '-')) continue;
    if (fixed.empty() && !absl::ascii_isalnum(next)) continue;
    fixed += next;
  }
  fixed.resize(std::min(fixed.size(), Handle::kMaxPartBytes));
  while (!fixed.empty() && fixed.back() == '-') fixed.pop_back();
  return fixed;
}

/// The same of a version: its first number. "VERSION" where it has none.
std::string NearestVersion(absl::string_view text) {
  const auto first = absl::c_find_if(text, absl::ascii_isdigit);
  const auto last = std::find_if_not(first, text.end(), absl::ascii_isdigit);
  absl::string_view digits = text.substr(static_cast<size_t>(first - text.begin()), static_cast<size_t>(last - first));
  while (absl::ConsumePrefix(&digits, "0")) {
  }
  int64_t number = 0;
  return absl::SimpleAtoi(digits, &number) ? absl::StrCat(number) : "VERSION";
}

std::string NearestName(absl::string_view part) {
  std::string fixed = NearestPart(part);
  if (IsDigits(fixed)) fixed = absl::StrCat("model-", fixed).substr(0, Handle::kMaxPartBytes);
  return fixed.empty() ? "NAME" : fixed;
}

std::string NearestPublisher(absl::string_view part) {
  std::string fixed = NearestPart(part);
  return fixed.empty() ? "PUBLISHER" : fixed;
}

/// "'acme/encoder/3'" of the last three parts; those that are missing as words.
std::string Nearest(std::vector<absl::string_view> parts) {
  parts.erase(std::remove(parts.begin(), parts.end(), absl::string_view()), parts.end());
  if (parts.size() > 3) parts.erase(parts.begin(), parts.end() - 3);
  if (parts.size() < 3) return kForm;
  return absl::StrCat("'", NearestPublisher(parts[0]), "/", NearestName(parts[1]), "/", NearestVersion(parts[2]), "'");
}

class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  absl::StatusOr<Handle> Run() const {
    RETURN_IF_ERROR(CheckForm());
    const std::vector<absl::string_view> parts = absl::StrSplit(text_, '/');
    RETURN_IF_ERROR(CheckParts(parts));
    RETURN_IF_ERROR(CheckName("publisher", parts[0], parts));
    RETURN_IF_ERROR(CheckName("name", parts[1], parts));
    if (IsDigits(parts[1])) {
      return Error(absl::StrCat("name '", parts[1], "', which looks like a version"),
                   absl::StrCat(Nearest(parts), " or another name with a letter in it"));
    }
    Handle handle{std::string(parts[0]), std::string(parts[1]), 0};
    ASSIGN_OR_RETURN(handle.version, Version(parts[2], handle));
    return handle;
  }

 private:
  absl::Status Error(absl::string_view got, absl::string_view want) const {
    const bool cut = text_.size() > kMaxShownBytes;
    return absl::InvalidArgumentError(absl::StrCat("handle '", absl::CHexEscape(text_.substr(0, kMaxShownBytes)),
                                                   cut ? "…" : "", "': got ", got, ", want ", want));
  }

  /// What is no handle at all, but a URL, a path or another tool's way to write it.
  absl::Status CheckForm() const {
    if (text_.empty()) return Error("nothing", kForm);
    const absl::string_view inner = absl::StripAsciiWhitespace(text_);
    if (inner.empty()) return Error("blanks alone", kForm);
    if (inner.size() != text_.size()) {
      return Error("blanks around it", absl::StrCat(Nearest(absl::StrSplit(inner, '/')), " without them"));
    }
    if (const size_t scheme = text_.find("://"); scheme != absl::string_view::npos) {
      return Error("a URL", absl::StrCat("the handle alone, ", Nearest(absl::StrSplit(text_.substr(scheme + 3), '/')),
                                         ", and where it is as --store"));
    }
    for (const absl::string_view begin : {"/", "./", "../", "~"}) {
      if (!absl::StartsWith(text_, begin)) continue;
      return Error("a path", absl::StrCat(Nearest(absl::StrSplit(text_, '/')),
                                          " without anything in front, and its folder as --store"));
    }
    // acme/encoder:3, acme/encoder@3 and acme\encoder\3, as elsewhere.
    for (const char separator : {':', '@', '\\'}) {
      if (!absl::StrContains(text_, separator)) continue;
      return Error(absl::StrCat("'", std::string(1, separator), "' in it"),
                   absl::StrCat(Nearest(absl::StrSplit(text_, absl::ByAnyChar("/:@\\"))), ", parts between slashes"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckParts(const std::vector<absl::string_view>& parts) const {
    if (absl::c_linear_search(parts, "")) {
      return Error(absl::EndsWith(text_, "/") ? "a slash at its end" : "two slashes in a row", Nearest(parts));
    }
    if (parts.size() == 1) {
      return Error("a name alone", absl::StrCat("PUBLISHER/", NearestName(parts[0]),
                                                "/VERSION; 'portico hub list' shows what there is"));
    }
    if (parts.size() == 2 && IsDigits(parts[1])) {
      return Error("no publisher", absl::StrCat("'PUBLISHER/", NearestName(parts[0]), "/", NearestVersion(parts[1]),
                                                "'; 'portico hub list' shows who published it"));
    }
    if (parts.size() == 2) {
      const std::string model = absl::StrCat(NearestPublisher(parts[0]), "/", NearestName(parts[1]));
      return Error("no version", absl::StrCat("'", model, "/VERSION', '", model, "/1' say; 'portico hub list ", model,
                                              "' shows its versions"));
    }
    if (parts.size() > 3) {
      return Error(absl::StrCat(parts.size(), " parts"),
                   absl::StrCat("three, PUBLISHER/NAME/VERSION, ", Nearest(parts), " say"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckName(absl::string_view what, absl::string_view part,
                         const std::vector<absl::string_view>& parts) const {
    const std::string nearest = Nearest(parts);
    if (part.size() > Handle::kMaxPartBytes) {
      return Error(absl::StrCat("a ", what, " of ", part.size(), " bytes"),
                   absl::StrCat("at most ", Handle::kMaxPartBytes, ", ", nearest, " say"));
    }
    if (const auto bad = absl::c_find_if_not(part, Fits); bad != part.end()) {
      return Error(absl::StrCat("'", absl::CHexEscape(std::string(1, *bad)), "' in the ", what),
                   absl::StrCat("letters, digits, '_', '-' and '.', ", nearest, " say"));
    }
    if (!part.empty() && !absl::ascii_isalnum(part[0])) {
      return Error(absl::StrCat("a ", what, " that begins with '", part.substr(0, 1), "'"),
                   absl::StrCat("a letter or digit first, ", nearest, " say"));
    }
    if (absl::StrContains(part, "--")) {
      return Error(absl::StrCat("'--' in the ", what, ", which stands for the slash over REST"),
                   absl::StrCat("single ones, ", nearest, " say"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Version(absl::string_view text, const Handle& handle) const {
    const std::string nearest = absl::StrCat("'", handle.Model(), "/", NearestVersion(text), "'");
    const std::string list = absl::StrCat("; 'portico hub list ", handle.Model(), "' shows its versions");
    if (absl::EqualsIgnoreCase(text, "latest") || text == "*") {
      return Error(absl::StrCat("version '", text, "', which would mean something else tomorrow"),
                   absl::StrCat("a number, ", nearest, list));
    }
    if (!IsDigits(text)) {
      const bool number = nearest.find("VERSION") == std::string::npos;
      return Error(absl::StrCat("version '", absl::CHexEscape(text.substr(0, 32)), "', which is no whole number"),
                   absl::StrCat(nearest, number ? "" : list));
    }
    if (text.size() > 1 && text[0] == '0') return Error("zeros in front of the version", nearest);
    if (text == "0") return Error("version 0", absl::StrCat("1 or more, '", handle.Model(), "/1' say"));
    int64_t version = 0;
    if (!absl::SimpleAtoi(text, &version)) {
      return Error("a version that is too large", absl::StrCat("at most ", std::numeric_limits<int64_t>::max(), list));
    }
    return version;
  }

  const absl::string_view text_;
};

}  // namespace

std::string Handle::ToString() const { return absl::StrCat(publisher, "/", name, "/", version); }
std::string Handle::Model() const { return absl::StrCat(publisher, "/", name); }

absl::StatusOr<Handle> ParseHandle(absl::string_view text) { return Parser(text).Run(); }

bool LooksLikeHandle(absl::string_view text) {
  std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  if (parts.size() == 4 && parts[3].empty()) parts.pop_back();
  return parts.size() == 3 && !parts[0].empty() && !parts[1].empty();
}

absl::Status CheckFamilyName(absl::string_view name) {
  const bool good = !name.empty() && name.size() <= Handle::kMaxPartBytes && absl::ascii_isalnum(name[0]) &&
                    absl::c_all_of(name, Fits);
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "family '", absl::CHexEscape(name.substr(0, kMaxShownBytes)),
      "': got a name that is no good, want letters, digits, '_', '-' and '.', a letter or digit first, at most ",
      Handle::kMaxPartBytes, "; '", NearestName(name), "' say"));
}

}  // namespace portico
