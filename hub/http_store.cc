#include "hub/http_store.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "hub/http_get.h"
#include "hub/manifest.h"
#include "hub/store_index.h"

namespace portico {
namespace {

class HttpStore final : public Store {
 public:
  HttpStore(Url root, HttpGetOptions options)
      : root_(std::move(root)), url_(root_.ToString()), options_(std::move(options)) {}

  const std::string& url() const override { return url_; }

  absl::StatusOr<std::vector<ModuleEntry>> List() override {
    const Url at = UrlOf(kIndexFile);
    const absl::StatusOr<std::string> text = HttpGetText(at, options_, kMaxIndexBytes);
    if (absl::IsNotFound(text.status())) {
      return absl::NotFoundError(absl::StrCat("store '", url_, "': got no '", at.ToString(),
                                              "', want a folder that 'portico hub publish' wrote; check the path"));
    }
    if (!text.ok()) return text.status();
    absl::StatusOr<std::vector<ModuleEntry>> entries = ParseIndex(*text);
    if (!entries.ok()) return WithContext(absl::StrCat("store '", url_, "'"), entries.status());
    return entries;
  }

  absl::Status Read(const Handle& handle, const std::string& file, uint64_t offset, Sink sink) override {
    HttpGetOptions options = options_;
    if (file == kManifestFile) options.end = absl::Now() + options.text_timeout;
    return HttpGet(UrlOf(absl::StrCat(handle.ToString(), "/", file)), options, offset, sink);
  }

 private:
  Url UrlOf(absl::string_view path) const {
    Url url = root_;
    absl::StrAppend(&url.target, "/", PercentEncode(path, /*keep_slashes=*/true));
    return url;
  }

  /// Without a slash at its end.
  const Url root_;
  const std::string url_;
  const HttpGetOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> NewHttpStore(const std::string& url, const StoreOptions& store) {
  ASSIGN_OR_RETURN(Url root, ParseUrl(url));
  if (root.target.find('?') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("store '", url, "': got a query, want a folder's URL; leave out what begins with '?'"));
  }
  while (absl::EndsWith(root.target, "/")) root.target.pop_back();
  HttpGetOptions options;
  options.cancelled = store.cancelled;
  if (const char* token = std::getenv("PORTICO_HUB_TOKEN"); token != nullptr && *token != '\0') {
    options.headers = [root, bearer = absl::StrCat("Bearer ", token)](const Url& at) {
      const bool safe = at.IsSameServer(root) && (at.tls || at.IsLoopback());
      return safe ? HttpHeaders{{"Authorization", bearer}} : HttpHeaders();
    };
  }
  return std::make_unique<HttpStore>(std::move(root), std::move(options));
}

}  // namespace portico
