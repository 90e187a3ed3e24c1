#include "base/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

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

namespace {

/// A context that the thread's last hasher left: to begin anew with it costs a third of making one.
struct Spare {
  EVP_MD_CTX* md = nullptr;
  ~Spare() { EVP_MD_CTX_free(md); }
};
thread_local Spare spare;

}  // namespace

struct Hasher::Context {
  EVP_MD_CTX* md = std::exchange(spare.md, nullptr);
  ~Context() { EVP_MD_CTX_free(std::exchange(spare.md, md)); }
};

Hasher::Hasher() : context_(std::make_unique<Context>()) {
  if (context_->md == nullptr) {
    context_->md = EVP_MD_CTX_new();
    PORTICO_CHECK(EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1);
  } else {
    PORTICO_CHECK(EVP_DigestInit_ex(context_->md, nullptr, nullptr) == 1);
  }
}

Hasher::~Hasher() = default;

Hasher& Hasher::Add(absl::string_view bytes) {
  Add(static_cast<uint64_t>(bytes.size()));
  EVP_DigestUpdate(context_->md, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::Add(uint64_t number) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  EVP_DigestUpdate(context_->md, bytes, sizeof(bytes));
  return *this;
}

Hasher& Hasher::Add(const Digest& digest) {
  EVP_DigestUpdate(context_->md, digest.bytes.data(), digest.bytes.size());
  return *this;
}

Digest Hasher::Finish() {
  Digest digest;
  PORTICO_CHECK(EVP_DigestFinal_ex(context_->md, digest.bytes.data(), nullptr) == 1);
  return digest;
}

Digest Sha256(absl::string_view bytes) {
  Digest digest;
  PORTICO_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.bytes.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

}  // namespace portico
