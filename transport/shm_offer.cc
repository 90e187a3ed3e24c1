#include "transport/shm_offer.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr char kMagic[4] = {'P', 'T', 'M', '1'};
constexpr size_t kOfferBytes = 24;
// Room for more than one, so that those a peer passes too many are seen, and closed.
constexpr size_t kMostDescriptors = 4;

std::vector<int> PassedDescriptors(msghdr& message) {
  std::vector<int> passed;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const size_t before = passed.size();
    const size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    passed.resize(before + count);
    std::memcpy(passed.data() + before, CMSG_DATA(at), count * sizeof(int));
  }
  return passed;
}

}  // namespace

absl::Status SendShmOffer(int socket, const ShmSizes& sizes, int memory) {
  char offer[kOfferBytes] = {};
  std::memcpy(offer, kMagic, sizeof(kMagic));
  std::memcpy(offer + 8, &sizes.ring_bytes, 8);
  std::memcpy(offer + 16, &sizes.arena_bytes, 8);
  iovec piece{offer, sizeof(offer)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &memory, sizeof(int));
  // A new socket has room for it.
  if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(kOfferBytes)) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("shared memory: pass it: ", std::strerror(errno)));
}

absl::StatusOr<std::optional<Ref<ShmRegion>>> ReceiveShmOffer(int socket) {
  char offer[kOfferBytes];
  iovec piece{offer, sizeof(offer)};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (got <= 0) return absl::UnavailableError("shared memory: the peer went before it offered any");
  const std::vector<int> passed = PassedDescriptors(message);
  const absl::Cleanup close_passed = [&passed] {
    for (const int fd : passed) close(fd);
  };
  if (got != static_cast<ssize_t>(kOfferBytes) || passed.size() != 1 || (message.msg_flags & MSG_CTRUNC) != 0 ||
      std::memcmp(offer, kMagic, sizeof(kMagic)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory: got a first message of ", got, " bytes and ",
                                                   passed.size(), " descriptors, want one of ", kOfferBytes,
                                                   " that begins with 'PTM1', and one descriptor"));
  }
  ShmSizes sizes;
  std::memcpy(&sizes.ring_bytes, offer + 8, 8);
  std::memcpy(&sizes.arena_bytes, offer + 16, 8);
  ASSIGN_OR_RETURN(Ref<ShmRegion> region, ShmRegion::Open(sizes, passed.front()));
  return std::optional<Ref<ShmRegion>>(std::move(region));
}

}  // namespace portico
