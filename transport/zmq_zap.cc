#include "transport/zmq_zap.h"

#include <zmq.h>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr char kAddress[] = "inproc://zeromq.zap.01";
constexpr size_t kKeyBytes = 32;
constexpr size_t kKeyCharacters = 40;
// Frames of a request: version, id, domain, address, identity, mechanism; then the key where the mechanism is CURVE.
constexpr size_t kRequestFrames = 6;

}  // namespace

absl::StatusOr<std::string> DecodeCurveKey(absl::string_view what, const std::string& key) {
  std::string bytes(kKeyBytes, '\0');
  if (key.size() != kKeyCharacters ||
      zmq_z85_decode(reinterpret_cast<uint8_t*>(bytes.data()), key.c_str()) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("CURVE key '", what, "': got ", key.size(),
                                                   " characters, want 40 of Z85 (as zmq_curve_keypair makes them)"));
  }
  return bytes;
}

absl::StatusOr<Ref<ZmqGatekeeper>> ZmqGatekeeper::Make(ZmqReactor& reactor, void* context) {
  ASSIGN_OR_RETURN(ZmqSocket socket, ZmqSocket::Responder(context));
  RETURN_IF_ERROR(socket.Bind(kAddress));
  return MakeRef<ZmqGatekeeper>(reactor, std::move(socket));
}

ZmqGatekeeper::ZmqGatekeeper(ZmqReactor& reactor, ZmqSocket socket) : ZmqEndpoint(reactor) {
  MutexLock lock(&socket_mutex_);
  socket_ = std::move(socket);
  fds_ = {socket_.fd()};
}

void ZmqGatekeeper::Open() { reactor_.Add(Ref<ZmqEndpoint>(this), fds_); }

void ZmqGatekeeper::Close() {
  reactor_.Remove(*this, fds_);
  MutexLock lock(&socket_mutex_);
  socket_ = ZmqSocket();
}

void ZmqGatekeeper::Allow(const std::string& domain, const std::vector<std::string>& keys) {
  absl::flat_hash_set<std::string> decoded;
  for (const std::string& key : keys) {
    if (auto bytes = DecodeCurveKey("allowed_keys", key); bytes.ok()) decoded.insert(*bytes);
  }
  MutexLock lock(&mutex_);
  allowed_[domain] = std::move(decoded);
}

bool ZmqGatekeeper::Allowed(absl::string_view domain, absl::string_view mechanism, absl::string_view key) {
  MutexLock lock(&mutex_);
  const auto found = allowed_.find(domain);
  // Whether a listener goes without keys was decided when it was bound; a socket with keys does not speak NULL.
  if (mechanism == "NULL") return found == allowed_.end();
  return mechanism == "CURVE" && found != allowed_.end() && found->second.contains(key);
}

void ZmqGatekeeper::Pump(absl::Time) {
  pending_.store(false);
  MutexLock lock(&socket_mutex_);
  ReceivedMessage request;
  while (socket_.Receive(&request)) {
    if (request.frames.size() < kRequestFrames) continue;
    const absl::string_view key =
        request.frames.size() > kRequestFrames ? request.frames[6].bytes : absl::string_view();
    const bool allowed = Allowed(request.frames[2].bytes, request.frames[5].bytes, key);
    if (!allowed) {
      LogWarning(absl::StrCat("listener '", request.frames[2].bytes, "': got a peer at ", request.frames[3].bytes,
                              " whose key is not allowed; refused"));
    }
    socket_.Answer({request.frames[0].bytes, request.frames[1].bytes, allowed ? "200" : "400",
                    allowed ? "OK" : "key not allowed", "", ""});
  }
}

}  // namespace portico
