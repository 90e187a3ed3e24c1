#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// What a portal answers when its call has failed for good and the mesh is at fault. A value.
struct OnErrorPolicy {
  enum class Kind : uint8_t {
    /// The error.
    kFail,
    /// A value per output.
    kDefaults,
    /// What the target answered to the same inputs last; of tables, rows that are kept, and `defaults` for others.
    kLastKnown,
  };
  Kind kind = Kind::kFail;
  /// By output of the portal, as in the file; read by its dtype where the portal is made.
  std::map<std::string, std::string> defaults;
  /// Answers kept per portal: their bytes, and for how long they may stand in.
  uint64_t max_bytes = uint64_t{64} << 20;
  absl::Duration max_age = absl::Minutes(10);

  friend bool operator==(const OnErrorPolicy&, const OnErrorPolicy&) = default;
};

/// Reads `on_error` of a policy, where it is there: `fail`, `last_known`, `{last_known: {max_mib: 64, max_age: 10m}}`,
/// or `{defaults: {OUTPUT: VALUE}}`, or both keys. INVALID_ARGUMENT with file, line and `subject` for anything else.
absl::Status ReadOnErrorPolicy(const YamlNode& from, absl::string_view subject, OnErrorPolicy* on_error);
/// Writes the key into a map.
void Emit(const OnErrorPolicy& on_error, YAML::Emitter& out);

}  // namespace portico
