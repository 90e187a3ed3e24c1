#include "node/frontend/content_coding.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

/// The q-value among the parameters of "gzip;q=0.5"; 1 where it says none, 0 where it is none.
double QualityOf(absl::string_view parameters) {
  for (absl::string_view parameter : absl::StrSplit(parameters, ';')) {
    parameter = absl::StripAsciiWhitespace(parameter);
    if (!absl::ConsumePrefix(&parameter, "q=") && !absl::ConsumePrefix(&parameter, "Q=")) continue;
    double quality = 0;
    if (!absl::SimpleAtod(parameter, &quality) || !(quality >= 0 && quality <= 1)) return 0;
    return quality;
  }
  return 1;
}

}  // namespace

absl::string_view ContentCodingName(ContentCoding coding) {
  switch (coding) {
    case ContentCoding::kGzip:
      return "gzip";
    case ContentCoding::kDeflate:
      return "deflate";
    case ContentCoding::kIdentity:
      break;
  }
  return "";
}

ContentCoding ChooseContentCoding(absl::string_view accept_encoding) {
  // Below 0: not named. What is not named is as good as "*" says.
  double gzip = -1, deflate = -1, identity = -1, other = -1;
  for (const absl::string_view element : absl::StrSplit(accept_encoding, ',')) {
    const size_t semicolon = element.find(';');
    const absl::string_view name = absl::StripAsciiWhitespace(element.substr(0, semicolon));
    const double quality = semicolon == element.npos ? 1 : QualityOf(element.substr(semicolon + 1));
    if (absl::EqualsIgnoreCase(name, "gzip") || absl::EqualsIgnoreCase(name, "x-gzip")) gzip = quality;
    if (absl::EqualsIgnoreCase(name, "deflate")) deflate = quality;
    if (absl::EqualsIgnoreCase(name, "identity")) identity = quality;
    if (name == "*") other = quality;
  }
  if (gzip < 0) gzip = other;
  if (deflate < 0) deflate = other;
  const double best = std::max(gzip, deflate);
  if (best <= 0 || best < identity) return ContentCoding::kIdentity;
  return gzip >= deflate ? ContentCoding::kGzip : ContentCoding::kDeflate;
}

std::string Pack(ContentCoding coding, absl::string_view plain) {
  if (coding == ContentCoding::kIdentity || plain.empty() || plain.size() > std::numeric_limits<uInt>::max()) return "";
  z_stream stream{};
  // 15 window bits; +16: gzip in place of zlib, which HTTP calls deflate.
  const int window = coding == ContentCoding::kGzip ? 15 + 16 : 15;
  constexpr int kMemory = 8;
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window, kMemory, Z_DEFAULT_STRATEGY) != Z_OK) return "";
  const absl::Cleanup end = [&] { deflateEnd(&stream); };
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  std::string packed;
  int result = Z_OK;
  while (result == Z_OK) {
    // Numbers pack to about a third; what does not get smaller at all is given up where that shows.
    const size_t before = packed.size();
    if (before >= plain.size()) return "";
    packed.resize(std::min(plain.size(), before + plain.size() / 4 + 256));
    stream.next_out = reinterpret_cast<Bytef*>(packed.data() + before);
    stream.avail_out = static_cast<uInt>(packed.size() - before);
    result = deflate(&stream, Z_FINISH);
    packed.resize(packed.size() - stream.avail_out);
  }
  return result == Z_STREAM_END && packed.size() < plain.size() ? packed : "";
}

}  // namespace portico
