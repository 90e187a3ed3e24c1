#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A SHA-256 value. Compares and hashes by its bytes; all zero means "none".
struct Digest {
  std::array<uint8_t, 32> bytes{};

  bool empty() const { return *this == Digest(); }
  /// 64 lower-case hex digits.
  std::string Hex() const;
  /// The first 12 hex digits, for people.
  std::string Short() const;
  absl::string_view View() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  /// INVALID_ARGUMENT when not 64 hex digits.
  static absl::StatusOr<Digest> FromHex(absl::string_view hex);
  /// INVALID_ARGUMENT when not 32 bytes (an empty view gives the empty digest).
  static absl::StatusOr<Digest> FromBytes(absl::string_view bytes);

  friend bool operator==(const Digest&, const Digest&) = default;
  friend auto operator<=>(const Digest&, const Digest&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Digest& digest) {
    return H::combine(std::move(h), digest.bytes);
  }
};

/// Computes a Digest of what it is fed, in order. Add() puts a length in front of variable-length pieces, so that
/// ("ab","c") and ("a","bc") differ. For one thread.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  Hasher& Add(absl::string_view bytes);
  Hasher& Add(uint64_t number);
  Hasher& Add(const Digest& digest);
  /// REQUIRES: called once, last.
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// SHA-256 of `bytes` alone, no length in front: what `sha256sum` prints.
Digest Sha256(absl::string_view bytes);

}  // namespace portico
