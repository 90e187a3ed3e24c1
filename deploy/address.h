#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Where a listener is bound, HOST:PORT. A value.
struct Address {
  std::string host;
  /// 0: the system chooses.
  int port = 0;

  /// "127.0.0.1:8500", "[::1]:8500".
  std::string ToString() const;
  /// Whether both cannot be bound on one machine: the same port other than 0, and hosts that are equal or of which one
  /// means all. Host names are compared, not looked up; `localhost` is 127.0.0.1.
  bool ClashesWith(const Address& other) const;
};

/// Reads "8500" (on 127.0.0.1), "HOST:PORT" or "[IPV6]:PORT". INVALID_ARGUMENT "got 'x', want ..." otherwise.
absl::StatusOr<Address> ParseAddress(absl::string_view text);

}  // namespace portico
