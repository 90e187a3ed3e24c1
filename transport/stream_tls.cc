#include "transport/stream_tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "transport/tls_host.h"

namespace portico {
namespace {

using Context = std::shared_ptr<SSL_CTX>;

std::string LastError() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  return reason == nullptr ? "unknown" : reason;
}

absl::Status BadPem(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("TLS: got ", what, " that cannot be read, want PEM: ", LastError()));
}

// --- OpenSSL's way to the descriptor: its own would raise SIGPIPE ---

int DescriptorOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int WriteBio(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t written = send(DescriptorOf(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(written);
}

int ReadBio(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = recv(DescriptorOf(bio), data, static_cast<size_t>(size), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long ControlBio(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO* NewBio(int fd) {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "portico stream");
    BIO_meth_set_write(made, WriteBio);
    BIO_meth_set_read(made, ReadBio);
    BIO_meth_set_ctrl(made, ControlBio);
    return made;
  }();
  BIO* const bio = BIO_new(method);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

class TlsSocket final : public StreamSocket {
 public:
  /// `host`: empty on the serving side.
  TlsSocket(int fd, Context context, const std::string& host)
      : StreamSocket(fd), context_(std::move(context)), ssl_(SSL_new(context_.get())) {
    PORTICO_CHECK(ssl_ != nullptr);
    BIO* const bio = NewBio(fd);
    SSL_set_bio(ssl_, bio, bio);
    if (host.empty()) {
      SSL_set_accept_state(ssl_);
      return;
    }
    SSL_set_connect_state(ssl_);
    ExpectTlsHost(ssl_, host);
  }
  ~TlsSocket() override { SSL_free(ssl_); }

  absl::StatusOr<bool> Open(uint32_t* wants) override {
    if (!connected_) {
      ASSIGN_OR_RETURN(connected_, StreamSocket::Open(wants));
      if (!connected_) return false;
    }
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_);
    if (done == 1) return true;
    switch (SSL_get_error(ssl_, done)) {
      case SSL_ERROR_WANT_READ:
        *wants = EPOLLIN;
        return false;
      case SSL_ERROR_WANT_WRITE:
        *wants = EPOLLOUT;
        return false;
      default: {
        std::string why = LastError();
        if (const long verdict = SSL_get_verify_result(ssl_); verdict != X509_V_OK) {
          absl::StrAppend(&why, ": ", X509_verify_cert_error_string(verdict));
        }
        ERR_clear_error();
        return absl::UnavailableError(absl::StrCat("TLS handshake: ", why));
      }
    }
  }

  ssize_t Read(const iovec* to, int) override {
    ERR_clear_error();
    const int got = SSL_read(ssl_, to[0].iov_base, static_cast<int>(std::min<size_t>(to[0].iov_len, INT_MAX)));
    return got > 0 ? got : Failure(got);
  }

  ssize_t Write(const iovec* from, int count) override {
    ssize_t total = 0;
    for (int i = 0; i < count; ++i) {
      size_t done = 0;
      while (done < from[i].iov_len) {
        ERR_clear_error();
        const auto size = static_cast<int>(std::min<size_t>(from[i].iov_len - done, INT_MAX));
        const int written = SSL_write(ssl_, static_cast<const char*>(from[i].iov_base) + done, size);
        if (written <= 0) return total > 0 ? total : Failure(written);
        done += static_cast<size_t>(written);
        total += written;
      }
    }
    return total;
  }

  void Finish() override {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    StreamSocket::Finish();
  }

  bool one_thread() const override { return true; }

 private:
  /// As read() says it.
  ssize_t Failure(int result) {
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      default:
        ERR_clear_error();
        errno = ECONNRESET;
        return -1;
    }
  }

  const Context context_;
  SSL* const ssl_;
  bool connected_ = false;
};

// --- Contexts ---

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

Bio TextBio(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all);
}

absl::Status UseOwn(SSL_CTX* context, const TransportSecurity& security) {
  const Bio chain = TextBio(security.own_public_key);
  X509* certificate = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr);
  if (certificate == nullptr) return BadPem("a certificate");
  const bool used = SSL_CTX_use_certificate(context, certificate) == 1;
  X509_free(certificate);
  if (!used) return BadPem("a certificate");
  while (X509* further = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) {
    SSL_CTX_add0_chain_cert(context, further);
  }
  ERR_clear_error();
  const Bio text = TextBio(security.own_secret_key);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr);
  if (key == nullptr) return BadPem("a key");
  const bool fits = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
  EVP_PKEY_free(key);
  return fits ? absl::OkStatus() : BadPem("a key of another certificate");
}

absl::Status Trust(SSL_CTX* context, const std::string& pem) {
  const Bio text = TextBio(pem);
  int count = 0;
  while (X509* certificate = PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
    X509_free(certificate);
    ++count;
  }
  if (count == 0) return BadPem("trusted certificates");
  ERR_clear_error();
  return absl::OkStatus();
}

Context NewContext(const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method), SSL_CTX_free);
  PORTICO_CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // A certificate in the allow-list is trusted without its authority.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context.get()), X509_V_FLAG_PARTIAL_CHAIN);
  return context;
}

}  // namespace

absl::StatusOr<SocketMaker> TlsServerSockets(const TransportSecurity& security) {
  const Context context = NewContext(TLS_server_method());
  RETURN_IF_ERROR(UseOwn(context.get(), security));
  for (const std::string& pem : security.allowed_keys) RETURN_IF_ERROR(Trust(context.get(), pem));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // No session is resumed: each connection is checked anew.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context.get(), 0);
  return SocketMaker([context](int fd) { return std::make_unique<TlsSocket>(fd, context, ""); });
}

absl::StatusOr<SocketMaker> TlsClientSockets(const TransportSecurity& security, const std::string& host) {
  const Context context = NewContext(TLS_client_method());
  if (!security.own_secret_key.empty()) RETURN_IF_ERROR(UseOwn(context.get(), security));
  RETURN_IF_ERROR(Trust(context.get(), security.peer_public_key));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return SocketMaker([context, host](int fd) { return std::make_unique<TlsSocket>(fd, context, host); });
}

}  // namespace portico
