#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// What a hub module is called, `publisher/name/version`: acme/encoder/3. It means the same content for ever.
///
/// Publisher and name: letters, digits, `_`, `-` and `.`, a letter or digit first, at most 64 each; no `--`, which
/// stands for the slash over REST; a name has not digits alone. Version: a number from 1 on, without zeros in front.
struct Handle {
  static constexpr size_t kMaxPartBytes = 64;

  std::string publisher;
  std::string name;
  int64_t version = 0;

  /// "acme/encoder/3".
  std::string ToString() const;
  /// "acme/encoder": what a mesh and its portals call it.
  std::string Model() const;

  friend bool operator==(const Handle&, const Handle&) = default;
  friend auto operator<=>(const Handle&, const Handle&) = default;
};

/// INVALID_ARGUMENT "handle 'x': got what is wrong, want the nearest handle that is none; what to do".
absl::StatusOr<Handle> ParseHandle(absl::string_view text);

/// Whether `text` was meant as a handle rather than as a model's name, which has two parts at most: three parts, of
/// which the last may be missing, or a slash too many behind them. ParseHandle() says whether it is one.
bool LooksLikeHandle(absl::string_view text);

/// INVALID_ARGUMENT unless `name` may be a family's: as the name of a handle.
absl::Status CheckFamilyName(absl::string_view name);

}  // namespace portico
