#pragma once

#include <cstddef>

namespace portico {

/// Readable bytes behind a text of JSON that is read: the parser reads ahead. Zero bytes, where nothing else follows.
inline constexpr size_t kJsonPadding = 64;

}  // namespace portico
