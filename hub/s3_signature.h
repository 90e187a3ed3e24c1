#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "hub/http_get.h"
#include "hub/url.h"

namespace portico {

/// Keys of an S3 account.
struct S3Keys {
  std::string id;
  std::string secret;
  /// Of keys that are lent for a while; empty: none.
  std::string session_token;

  bool empty() const { return id.empty(); }
};

/// The headers that sign a GET of `url` without a body for S3 (AWS Signature Version 4). `extra`: other headers that
/// are to be signed, names in lower case; they are not in the answer. REQUIRES: parameters of the URL's query are
/// percent-encoded and rise by name.
HttpHeaders SignS3Get(const Url& url, const S3Keys& keys, absl::string_view region, absl::Time now,
                      const HttpHeaders& extra = {});

}  // namespace portico
