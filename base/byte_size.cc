#include "base/byte_size.h"

#include <limits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

constexpr absl::string_view kPrefixes = "kmgt";
constexpr size_t kMaxShownBytes = 40;

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  const absl::string_view all = absl::StripAsciiWhitespace(text);
  const absl::string_view digits = all.substr(0, all.find_first_not_of("0123456789"));
  const std::string unit = absl::AsciiStrToLower(absl::StripLeadingAsciiWhitespace(all.substr(digits.size())));
  absl::string_view prefix = unit;
  absl::ConsumeSuffix(&prefix, "b");
  const uint64_t base = absl::ConsumeSuffix(&prefix, "i") ? 1024 : 1000;
  const bool is_known = prefix.empty() ? base == 1000 : prefix.size() == 1 && absl::StrContains(kPrefixes, prefix);
  uint64_t bytes = 0;
  bool good = is_known && !digits.empty() && absl::SimpleAtoi(digits, &bytes);
  for (size_t i = 0; good && !prefix.empty() && i <= kPrefixes.find(prefix); ++i) {
    good = bytes <= std::numeric_limits<uint64_t>::max() / base;
    bytes *= base;
  }
  if (good) return bytes;
  return absl::InvalidArgumentError(absl::StrCat("got '", absl::CHexEscape(text.substr(0, kMaxShownBytes)),
                                                 "', want a whole number of bytes, or one with a unit (", kByteUnits,
                                                 "), 64MiB say"));
}

}  // namespace portico
