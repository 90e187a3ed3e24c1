#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Where a socket is: what the kernel wants of an address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

/// `tcp://HOST:PORT`, `unix:///PATH` or `shm:///PATH` taken apart.
struct StreamEndpoint {
  /// Without brackets; empty for unix.
  std::string host;
  uint16_t port = 0;
  /// Empty for tcp.
  std::string path;
  /// The Unix socket is where shared memory is passed.
  bool shared_memory = false;

  bool local() const { return !path.empty(); }
  bool loopback() const;
  /// All addresses of the host. Asks the DNS, and then blocks, unless the host is an address.
  absl::StatusOr<std::vector<SocketAddress>> Resolve() const;
  /// Whether Resolve() would ask the DNS.
  bool needs_dns() const;

  /// INVALID_ARGUMENT for another form. Only a listener's port may be 0.
  static absl::StatusOr<StreamEndpoint> Parse(absl::string_view endpoint, bool listening);
};

/// A socket that listens; closes it, and removes a Unix socket's file if it is still its own, when destroyed.
class ListeningSocket {
 public:
  ListeningSocket() = default;
  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&& other) noexcept;
  ~ListeningSocket();

  /// A Unix socket's file gets mode 0600 before anybody can connect. A file that a dead listener left is replaced; one
  /// that somebody listens on (ALREADY_EXISTS) or that is no socket (FAILED_PRECONDITION) is not.
  static absl::StatusOr<ListeningSocket> Open(const StreamEndpoint& endpoint);

  int fd() const { return fd_; }
  /// With the port that was chosen.
  const std::string& text() const { return text_; }

 private:
  static absl::StatusOr<ListeningSocket> OpenTcp(const StreamEndpoint& endpoint);
  static absl::StatusOr<ListeningSocket> OpenUnix(const StreamEndpoint& endpoint);

  int fd_ = -1;
  std::string text_;
  std::string path_;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

}  // namespace portico
