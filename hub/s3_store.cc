#include "hub/s3_store.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "hub/http_get.h"
#include "hub/local_store.h"
#include "hub/manifest.h"
#include "hub/s3_list.h"
#include "hub/s3_signature.h"

namespace portico {
namespace {

constexpr size_t kMaxModules = 100'000;
constexpr int kMaxPages = 1'000;

/// The first of these variables that is set; empty: none is.
std::string Environment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "";
}

class S3Store final : public Store {
 public:
  S3Store(std::string url, Url bucket, std::string prefix, HttpGetOptions options)
      : url_(std::move(url)), bucket_(std::move(bucket)), prefix_(std::move(prefix)), options_(std::move(options)) {}

  const std::string& url() const override { return url_; }
  std::string origin() const override { return absl::StrCat(url_, " at ", bucket_.ToString()); }

  absl::StatusOr<std::vector<ModuleEntry>> List() override {
    ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListHandles());
    std::vector<ModuleEntry> entries;
    for (const Handle& handle : handles) {
      ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(*this, handle));
      entries.push_back(EntryOf(manifest));
    }
    return entries;
  }

  absl::Status Read(const Handle& handle, const std::string& file, uint64_t offset, Sink sink) override {
    Url url = bucket_;
    absl::StrAppend(&url.target, "/",
                    PercentEncode(absl::StrCat(prefix_, handle.ToString(), "/", file), /*keep_slashes=*/true));
    HttpGetOptions options = options_;
    if (file == kManifestFile) options.end = absl::Now() + options.text_timeout;
    return WithRemedy(HttpGet(url, options, offset, sink));
  }

 private:
  /// The handles of all manifests in the bucket.
  absl::StatusOr<std::vector<Handle>> ListHandles() {
    std::vector<Handle> handles;
    S3Page page;
    for (int pages = 0; pages == 0 || !page.next.empty(); ++pages) {
      Url url = bucket_;
      // Parameters rise by name, as the signature wants them.
      absl::StrAppend(
          &url.target, "?",
          page.next.empty() ? "" : absl::StrCat("continuation-token=", PercentEncode(page.next, false), "&"),
          "list-type=2&prefix=", PercentEncode(prefix_, false));
      const absl::StatusOr<std::string> xml = HttpGetText(url, options_, kMaxS3PageBytes);
      if (!xml.ok()) return WithRemedy(xml.status());
      ASSIGN_OR_RETURN(page, ParseS3Page(*xml));
      for (const std::string& key : page.keys) {
        absl::string_view rest = key;
        if (!absl::ConsumePrefix(&rest, prefix_) || !absl::ConsumeSuffix(&rest, absl::StrCat("/", kManifestFile))) {
          continue;
        }
        if (absl::StatusOr<Handle> handle = ParseHandle(rest); handle.ok()) handles.push_back(*std::move(handle));
      }
      if (handles.size() > kMaxModules || pages > kMaxPages) {
        return absl::ResourceExhaustedError(absl::StrCat("store '", url_, "': got more than ", kMaxModules,
                                                         " modules or ", kMaxPages,
                                                         " pages of objects, want at most that; name a longer prefix"));
      }
    }
    std::sort(handles.begin(), handles.end());
    return handles;
  }

  absl::Status WithRemedy(const absl::Status& status) const {
    if (!absl::IsPermissionDenied(status)) return status;
    return absl::PermissionDeniedError(
        absl::StrCat("store '", url_, "': ", status.message(),
                     "; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION to those of the bucket"));
  }

  const std::string url_;
  /// ENDPOINT/BUCKET.
  const Url bucket_;
  /// "models/", or empty.
  const std::string prefix_;
  const HttpGetOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> NewS3Store(const std::string& url, const StoreOptions& options) {
  absl::string_view rest = url;
  absl::ConsumePrefix(&rest, "s3://");
  const absl::string_view name = rest.substr(0, rest.find('/'));
  const auto fits = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; };
  if (name.size() < 3 || name.size() > 63 || !absl::c_all_of(name, fits)) {
    return absl::InvalidArgumentError(absl::StrCat("store '", url, "': got bucket '", name,
                                                   "', want s3://BUCKET/PREFIX, a bucket's name of 3 to 63 letters, "
                                                   "digits, '-' and '.'"));
  }
  std::string prefix(rest.substr(std::min(name.size() + 1, rest.size())));
  while (absl::EndsWith(prefix, "/")) prefix.pop_back();
  if (!prefix.empty()) prefix += '/';

  std::string region = Environment({"AWS_REGION", "AWS_DEFAULT_REGION"});
  if (region.empty()) region = "us-east-1";
  std::string endpoint = options.s3_endpoint;
  if (endpoint.empty()) endpoint = Environment({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  if (endpoint.empty()) endpoint = absl::StrCat("https://s3.", region, ".amazonaws.com");
  absl::StatusOr<Url> bucket = ParseUrl(endpoint);
  if (!bucket.ok()) return WithContext("S3 endpoint", bucket.status());
  while (absl::EndsWith(bucket->target, "/")) bucket->target.pop_back();
  absl::StrAppend(&bucket->target, "/", name);

  const S3Keys keys{Environment({"AWS_ACCESS_KEY_ID"}), Environment({"AWS_SECRET_ACCESS_KEY"}),
                    Environment({"AWS_SESSION_TOKEN"})};
  if (keys.empty() != keys.secret.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("store '", url, "': got ",
                                                   keys.empty() ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID",
                                                   " without its other half, want both or none"));
  }
  HttpGetOptions http;
  http.cancelled = options.cancelled;
  if (!keys.empty()) {
    http.headers = [keys, region, server = *bucket](const Url& at) {
      // Signatures are for one server alone.
      return at.IsSameServer(server) ? SignS3Get(at, keys, region, Clock::Real().Now()) : HttpHeaders();
    };
  }
  return std::make_unique<S3Store>(url, *std::move(bucket), std::move(prefix), std::move(http));
}

}  // namespace portico
