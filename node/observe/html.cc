#include "node/observe/html.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr absl::string_view kStyle =
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:0 1rem 3rem}"
    "h1{font-size:1.6rem;margin:1.2rem 0 .3rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}"
    "code,pre,.mono{font:13px/1.45 ui-monospace,monospace}"
    "pre{padding:.7rem .9rem;border:1px solid #8886;border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".wide{overflow-x:auto}table{border-collapse:collapse}"
    "th,td{padding:.25rem 1.2rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #8884}"
    "th{font-weight:600}td.number{text-align:right}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:0}"
    "dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}td,dd,code,h1{unicode-bidi:isolate}"
    ".good{color:#197a3c}.bad{color:#b3261e}footer{margin-top:2.5rem;opacity:.7}"
    "@media(prefers-color-scheme:dark){.good{color:#6fcf8e}.bad{color:#ff8a80}}"
    "@media(max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}";

bool IsShown(char c, bool utf8) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x80) return utf8;
  return (byte >= 0x20 && byte != 0x7f) || c == '\n' || c == '\t';
}

}  // namespace

std::string HtmlText(absl::string_view text) {
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += IsShown(c, utf8) ? c : '?';
    }
  }
  return out;
}

std::string HtmlPage(absl::string_view title, absl::string_view body) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      // Without it a browser asks for /favicon.ico.
      "<link rel=\"icon\" href=\"data:,\"><title>",
      HtmlText(title), "</title><style>", kStyle, "</style></head>\n<body>\n", body, "</body></html>\n");
}

std::vector<std::pair<std::string, std::string>> HtmlHeaders() {
  const Digest style = Sha256(kStyle);
  const std::string hash =
      absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(style.bytes.data()), style.bytes.size()));
  return {{"Content-Security-Policy",
           absl::StrCat("default-src 'none'; style-src 'sha256-", hash,
                        "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")},
          {"X-Content-Type-Options", "nosniff"},
          {"Referrer-Policy", "no-referrer"},
          {"Cache-Control", "no-store"},
          {"Vary", "Accept"}};
}

}  // namespace portico
