#include "transport/stream_address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr absl::string_view kTcp = "tcp://";
constexpr absl::string_view kUnix = "unix://";
constexpr absl::string_view kShm = "shm://";
constexpr int kBacklog = 1024;

absl::Status BadEndpoint(absl::string_view endpoint, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("endpoint '", endpoint, "': want ", want));
}

int NewSocket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

SocketAddress UnixAddress(const std::string& path) {
  SocketAddress address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof(*un);
  return address;
}

/// Removes a socket's file that nobody listens on any more. REQUIRES: the folder is locked.
absl::Status RemoveStale(const std::string& path) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, "stat", path);
  if (!S_ISSOCK(found.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("socket '", path, "': got a file that is not a socket, want none or a socket; remove it"));
  }
  const int probe = NewSocket(AF_UNIX);
  if (probe < 0) return ErrnoStatus(errno, "socket", path);
  const absl::Cleanup close_probe = [probe] { close(probe); };
  const SocketAddress address = UnixAddress(path);
  // EAGAIN: somebody listens whose queue is full.
  if (connect(probe, address.get(), address.size) == 0 || errno == EAGAIN || errno == EINPROGRESS) {
    return absl::AlreadyExistsError(absl::StrCat("socket '", path, "': got a path that another process listens on"));
  }
  if (errno != ECONNREFUSED) return ErrnoStatus(errno, "connect", path);
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "unlink", path);
}

/// Holds the lock of a path's folder: who binds and who removes take turns. −1 where it cannot be opened.
int LockFolder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) flock(fd, LOCK_EX);
  return fd;
}

std::string TextOf(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
    return absl::StrCat(kTcp, "[", text, "]:", ntohs(in6->sin6_port));
  }
  const auto* in = reinterpret_cast<const sockaddr_in*>(&address.storage);
  inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
  return absl::StrCat(kTcp, text, ":", ntohs(in->sin_port));
}

}  // namespace

absl::StatusOr<StreamEndpoint> StreamEndpoint::Parse(absl::string_view endpoint, bool listening) {
  StreamEndpoint parsed;
  absl::string_view rest = endpoint;
  parsed.shared_memory = absl::ConsumePrefix(&rest, kShm);
  if (parsed.shared_memory || absl::ConsumePrefix(&rest, kUnix)) {
    if (!absl::StartsWith(rest, "/") || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadEndpoint(endpoint, absl::StrCat("unix:///PATH or shm:///PATH with a path of at most ",
                                                sizeof(sockaddr_un::sun_path) - 1, " bytes"));
    }
    parsed.path = std::string(rest);
    return parsed;
  }
  if (!absl::ConsumePrefix(&rest, kTcp)) return BadEndpoint(endpoint, "tcp://HOST:PORT, unix:///PATH or shm:///PATH");
  const size_t colon = rest.rfind(':');
  uint32_t port = 0;
  if (colon == rest.npos || colon == 0 || !absl::SimpleAtoi(rest.substr(colon + 1), &port) || port > 65535 ||
      (port == 0 && !listening)) {
    return BadEndpoint(endpoint, absl::StrCat("tcp://HOST:PORT with a port of ", listening ? 0 : 1, " to 65535"));
  }
  absl::string_view host = rest.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return BadEndpoint(endpoint, "an IPv6 host in brackets");
  } else if (host.find(':') != host.npos) {
    return BadEndpoint(endpoint, "an IPv6 host in brackets");
  }
  parsed.host = std::string(host);
  parsed.port = static_cast<uint16_t>(port);
  return parsed;
}

bool StreamEndpoint::loopback() const {
  return local() || host == "localhost" || host == "::1" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == host.npos);
}

bool StreamEndpoint::needs_dns() const {
  in6_addr ignored;
  return !local() && inet_pton(AF_INET, host.c_str(), &ignored) != 1 &&
         inet_pton(AF_INET6, host.c_str(), &ignored) != 1;
}

absl::StatusOr<std::vector<SocketAddress>> StreamEndpoint::Resolve() const {
  if (local()) return std::vector<SocketAddress>{UnixAddress(path)};
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("host '", host, "': got no address, want one: ", gai_strerror(error)));
  }
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
  }
  return addresses;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept { *this = std::move(other); }

ListeningSocket& ListeningSocket::operator=(ListeningSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(text_, other.text_);
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

ListeningSocket::~ListeningSocket() {
  if (fd_ < 0) return;
  if (!path_.empty()) {
    const int folder = LockFolder(path_);
    struct stat found {};
    // Another listener may have taken the place meanwhile.
    if (lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) unlink(path_.c_str());
    if (folder >= 0) close(folder);
  }
  close(fd_);
}

absl::StatusOr<ListeningSocket> ListeningSocket::Open(const StreamEndpoint& endpoint) {
  return endpoint.local() ? OpenUnix(endpoint) : OpenTcp(endpoint);
}

absl::StatusOr<ListeningSocket> ListeningSocket::OpenTcp(const StreamEndpoint& endpoint) {
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, endpoint.Resolve());
  SocketAddress address = addresses.front();
  ListeningSocket opened;
  opened.fd_ = NewSocket(address.family());
  const std::string name = absl::StrCat(kTcp, endpoint.host, ":", endpoint.port);
  if (opened.fd_ < 0) return ErrnoStatus(errno, "socket", name);
  const int on = 1;
  setsockopt(opened.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(opened.fd_, address.get(), address.size) != 0) return ErrnoStatus(errno, "bind", name);
  if (listen(opened.fd_, kBacklog) != 0) return ErrnoStatus(errno, "listen", name);
  getsockname(opened.fd_, reinterpret_cast<sockaddr*>(&address.storage), &address.size);
  opened.text_ = TextOf(address);
  return opened;
}

absl::StatusOr<ListeningSocket> ListeningSocket::OpenUnix(const StreamEndpoint& endpoint) {
  const std::string& path = endpoint.path;
  const int folder = LockFolder(path);
  if (folder < 0) return ErrnoStatus(errno, "open the folder of", path);
  const absl::Cleanup unlock = [folder] { close(folder); };
  RETURN_IF_ERROR(RemoveStale(path));
  ListeningSocket opened;
  opened.fd_ = NewSocket(AF_UNIX);
  if (opened.fd_ < 0) return ErrnoStatus(errno, "socket", path);
  const SocketAddress address = UnixAddress(path);
  if (bind(opened.fd_, address.get(), address.size) != 0) return ErrnoStatus(errno, "bind", path);
  struct stat own {};
  // Before listen(), so that nobody connects who may not.
  if (chmod(path.c_str(), 0600) != 0 || lstat(path.c_str(), &own) != 0) return ErrnoStatus(errno, "chmod", path);
  if (listen(opened.fd_, kBacklog) != 0) return ErrnoStatus(errno, "listen", path);
  opened.path_ = path;
  opened.device_ = own.st_dev;
  opened.inode_ = own.st_ino;
  opened.text_ = absl::StrCat(endpoint.shared_memory ? kShm : kUnix, path);
  return opened;
}

}  // namespace portico
