#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hub/store.h"

namespace portico {

/// A store in a bucket: `url` s3://BUCKET/PREFIX, paths in the endpoint's URL (as S3's own and compatible servers take
/// them). Requests are signed (Signature Version 4) where AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set
/// (AWS_SESSION_TOKEN, AWS_REGION), and anonymous otherwise. Lists by ListObjectsV2.
absl::StatusOr<std::unique_ptr<Store>> NewS3Store(const std::string& url, const StoreOptions& options);

}  // namespace portico
