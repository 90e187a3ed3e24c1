#include "base/digest.h"

// OpenSSL 3 calls the functions of one algorithm deprecated, in favour of EVP, and keeps them.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace portico {

std::string Digest::Hex() const { return absl::BytesToHexString(View()); }
std::string Digest::Short() const { return absl::BytesToHexString(View().substr(0, 6)); }

absl::StatusOr<Digest> Digest::FromHex(absl::string_view hex) {
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdefABCDEF") != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("digest: got '", absl::CHexEscape(hex.substr(0, 80)), "', want 64 hex digits"));
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

absl::StatusOr<Digest> Digest::FromBytes(absl::string_view bytes) {
  Digest digest;
  if (bytes.empty()) return digest;
  if (bytes.size() != digest.bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("digest: got ", bytes.size(), " bytes, want ", digest.bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

/// OpenSSL's own state of SHA-256: EVP, which is made for algorithms that come and go, takes longer to begin and to end
/// than a short row to hash.
struct Hasher::Context {
  SHA256_CTX sha;
};

Hasher::Hasher() : context_(std::make_unique<Context>()) { SHA256_Init(&context_->sha); }

Hasher::~Hasher() = default;

Hasher& Hasher::Add(absl::string_view bytes) {
  Add(static_cast<uint64_t>(bytes.size()));
  SHA256_Update(&context_->sha, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::Add(uint64_t number) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  SHA256_Update(&context_->sha, bytes, sizeof(bytes));
  return *this;
}

Hasher& Hasher::Add(const Digest& digest) {
  SHA256_Update(&context_->sha, digest.bytes.data(), digest.bytes.size());
  return *this;
}

Digest Hasher::Finish() {
  Digest digest;
  SHA256_Final(digest.bytes.data(), &context_->sha);
  return digest;
}

Digest Sha256(absl::string_view bytes) {
  Digest digest;
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest.bytes.data());
  return digest;
}

}  // namespace portico
