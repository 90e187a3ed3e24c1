#include "transport/tls_host.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace portico {

void ExpectTlsHost(ssl_st* ssl, const std::string& host) {
  X509_VERIFY_PARAM* const verify = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, host.c_str()) == 1) return;
  ERR_clear_error();
  X509_VERIFY_PARAM_set1_host(verify, host.c_str(), host.size());
  SSL_set_tlsext_host_name(ssl, host.c_str());
}

}  // namespace portico
