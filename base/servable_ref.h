#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/digest.h"

namespace portico {

/// Which servable a request or a portal means: a name, optionally narrowed by a version, a label or a digest.
/// A hub module's name is its whole handle, `publisher/name`.
struct ServableRef {
  std::string name;
  /// −1: the highest that serves.
  int64_t version = -1;
  /// Empty: no label. At most one of version and label is set.
  std::string label;
  /// Empty: whatever the revision says the name is today.
  Digest digest;

  /// "digit", "digit:3", "digit@stable", "hub/enc#0123456789ab": for messages.
  std::string ToString() const {
    std::string text = name;
    if (version >= 0) absl::StrAppend(&text, ":", version);
    if (!label.empty()) absl::StrAppend(&text, "@", label);
    if (!digest.empty()) absl::StrAppend(&text, "#", digest.Short());
    return text;
  }
};

}  // namespace portico
