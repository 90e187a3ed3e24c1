#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace portico {

// Where ids go in an index: part of the format of shard files, so these never change. The upper bits choose a bucket,
// the lower 16 are the tag.

/// One to one: two ids of one seed never share a hash.
constexpr uint64_t HashId(uint64_t id, uint64_t seed) {
  // The finaliser of MurmurHash3 (public domain): every bit of the input moves half of the output's.
  uint64_t hash = id ^ seed;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
  return hash ^ hash >> 33;
}

/// XXH3, 64 bits.
uint64_t HashId(absl::string_view id, uint64_t seed);

}  // namespace portico
