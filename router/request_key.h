#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/request_context.h"
#include "router/stable_hash.h"

namespace portico {

/// Takes what a client says that its request belongs to, a user or a session (`x-portico-key`), into the request's
/// context, where its hash travels. Empty: nothing is taken. INVALID_ARGUMENT where it is too long.
inline absl::Status TakeRequestKey(absl::string_view key, RequestContext* context) {
  constexpr size_t kMaxBytes = 256;
  if (key.empty()) return absl::OkStatus();
  if (key.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("x-portico-key: got ", key.size(), " bytes, want at most ", kMaxBytes, "; send a hash of it"));
  }
  // 0 means that there is none.
  context->key = std::max<uint64_t>(StableHash(key), 1);
  return absl::OkStatus();
}

}  // namespace portico
