#include "hub/s3_signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/digest.h"

namespace portico {
namespace {

constexpr absl::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string Hmac(absl::string_view key, absl::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  PORTICO_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                     reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &bytes) != nullptr);
  return std::string(reinterpret_cast<const char*>(out), bytes);
}

/// "a=b&c=" of "a=b&c": every parameter has a value.
std::string CanonicalQuery(absl::string_view query) {
  if (query.empty()) return "";
  std::vector<std::string> parameters;
  for (const absl::string_view parameter : absl::StrSplit(query, '&')) {
    const bool has_value = parameter.find('=') != absl::string_view::npos;
    parameters.push_back(absl::StrCat(parameter, has_value ? "" : "="));
  }
  return absl::StrJoin(parameters, "&");
}

}  // namespace

HttpHeaders SignS3Get(const Url& url, const S3Keys& keys, absl::string_view region, absl::Time now,
                      const HttpHeaders& extra) {
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone());
  const std::string day = time.substr(0, 8);
  const std::string payload = Sha256("").Hex();
  HttpHeaders answer = {{"x-amz-content-sha256", payload}, {"x-amz-date", time}};
  if (!keys.session_token.empty()) answer.emplace_back("x-amz-security-token", keys.session_token);

  std::map<std::string, std::string> headers(answer.begin(), answer.end());
  headers.insert(extra.begin(), extra.end());
  headers["host"] = url.Authority();
  std::string lines;
  std::vector<std::string> names;
  for (const auto& [name, value] : headers) {
    absl::StrAppend(&lines, name, ":", value, "\n");
    names.push_back(name);
  }
  const std::string signed_names = absl::StrJoin(names, ";");
  const std::vector<std::string> target = absl::StrSplit(url.target, absl::MaxSplits('?', 1));
  const std::string request = absl::StrCat("GET\n", target[0], "\n", CanonicalQuery(target.size() > 1 ? target[1] : ""),
                                           "\n", lines, "\n", signed_names, "\n", payload);
  const std::string scope = absl::StrCat(day, "/", region, "/s3/aws4_request");
  const std::string text = absl::StrCat(kAlgorithm, "\n", time, "\n", scope, "\n", Sha256(request).Hex());
  std::string key = absl::StrCat("AWS4", keys.secret);
  for (const absl::string_view part :
       {absl::string_view(day), region, absl::string_view("s3"), absl::string_view("aws4_request")}) {
    key = Hmac(key, part);
  }
  answer.emplace_back("Authorization",
                      absl::StrCat(kAlgorithm, " Credential=", keys.id, "/", scope, ",SignedHeaders=", signed_names,
                                   ",Signature=", absl::BytesToHexString(Hmac(key, text))));
  return answer;
}

}  // namespace portico
