#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace portico {

/// How a body of HTTP is packed.
enum class ContentCoding { kIdentity, kGzip, kDeflate };

/// "gzip"; empty for kIdentity.
absl::string_view ContentCodingName(ContentCoding coding);

/// What a client likes best of what a server can do, by its Accept-Encoding header: the highest q-value, gzip where
/// several have it. kIdentity for a header that is empty, nonsense, or has nothing for us.
ContentCoding ChooseContentCoding(absl::string_view accept_encoding);

/// `plain` packed fast rather than well. Empty where it would not get smaller, or for kIdentity.
std::string Pack(ContentCoding coding, absl::string_view plain);

}  // namespace portico
