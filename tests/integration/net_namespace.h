#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace portico {

/// Another host, as far as the network goes: a network namespace of this kernel, linked to the one of the test by a
/// cable (a pair of virtual Ethernet devices). Needs the right to administer the network. For one thread.
class NetNamespace {
 public:
  /// An error says which right or tool is missing.
  static absl::StatusOr<std::unique_ptr<NetNamespace>> Create();
  /// Takes it down; processes in it lose their cable.
  ~NetNamespace();
  NetNamespace(const NetNamespace&) = delete;

  /// A shell's words before a command that is to run in it.
  std::string prefix() const { return "ip netns exec " + name_; }
  /// Its address.
  const std::string& address() const { return address_; }
  /// Plugs the cable in or out at the far end: packets are lost, and nobody is told.
  void Plug(bool in) const;
  /// Each packet to it takes so long. UNIMPLEMENTED where the kernel cannot do that.
  absl::Status Delay(absl::Duration delay) const;

 private:
  explicit NetNamespace(int number);

  const std::string name_, near_, far_, address_, near_address_;
};

}  // namespace portico
