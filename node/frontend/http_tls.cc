#include "node/frontend/http_tls.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

namespace asio = boost::asio;
using boost::system::error_code;

absl::StatusOr<std::unique_ptr<asio::ssl::context>> NewTlsContext(const ServerTls& tls) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code error;
  const auto check = [&error](absl::string_view what) {
    if (!error) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("TLS: ", what, ": got ", error.message(), ", want PEM text"));
  };
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                           asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1,
                       error);
  RETURN_IF_ERROR(check("options"));
  context->use_certificate_chain(asio::buffer(tls.certificates), error);
  RETURN_IF_ERROR(check("certificates"));
  context->use_private_key(asio::buffer(tls.private_key), asio::ssl::context::pem, error);
  RETURN_IF_ERROR(check("private key"));
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return absl::InvalidArgumentError("TLS: got a private key that is not the certificate's");
  }
  if (!tls.client_roots.empty()) {
    context->add_certificate_authority(asio::buffer(tls.client_roots), error);
    RETURN_IF_ERROR(check("client roots"));
    context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
    RETURN_IF_ERROR(check("client verification"));
  }
  // Resumed sessions need it once clients are verified.
  constexpr unsigned char kSessions[] = "portico";
  SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof(kSessions) - 1);
  return context;
}

absl::Status CheckServerTls(const ServerTls& tls) { return NewTlsContext(tls).status(); }

}  // namespace portico
