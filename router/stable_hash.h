#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace portico {

/// Spreads the bits of `value` over all of them (the finaliser of splitmix64).
inline uint64_t MixBits(uint64_t value) {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9;
  value ^= value >> 27;
  value *= 0x94d049bb133111eb;
  return value ^ value >> 31;
}

/// A hash that all processes of a mesh agree on, whatever their build. Against chance only, not against attackers.
inline uint64_t StableHash(absl::string_view bytes) {
  uint64_t hash = MixBits(bytes.size() + 0x9e3779b97f4a7c15);
  for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof(word), bytes.size() - at));
    hash = MixBits(hash ^ word) + 0x9e3779b97f4a7c15;
  }
  return hash;
}

}  // namespace portico
