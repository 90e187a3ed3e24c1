#include "transport/tls_client_context.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

namespace asio = boost::asio;

absl::StatusOr<std::unique_ptr<asio::ssl::context>> NewTlsClientContext(const TlsClientKeys& keys) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  boost::system::error_code error;
  const auto check = [&error](absl::string_view what) {
    if (!error) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("TLS: ", what, ": got ", error.message(), ", want PEM text"));
  };
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                           asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1,
                       error);
  RETURN_IF_ERROR(check("options"));
  if (keys.roots.empty()) {
    context->set_default_verify_paths(error);
  } else {
    context->add_certificate_authority(asio::buffer(keys.roots), error);
  }
  RETURN_IF_ERROR(check("root certificates"));
  context->set_verify_mode(asio::ssl::verify_peer, error);
  RETURN_IF_ERROR(check("verification"));
  if (keys.certificates.empty()) return context;
  context->use_certificate_chain(asio::buffer(keys.certificates), error);
  RETURN_IF_ERROR(check("own certificate"));
  context->use_private_key(asio::buffer(keys.private_key), asio::ssl::context::pem, error);
  RETURN_IF_ERROR(check("own private key"));
  return context;
}

}  // namespace portico
