#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/model_calls.h"

namespace portico::breeds {

inline constexpr int kSide = 20;
inline constexpr int64_t kBreeds = 8;
/// Breeds before this one are cats, the others dogs.
inline constexpr int64_t kCats = 4;

/// "tabby".
const char* BreedName(int64_t breed);

/// The pictures that no model was trained on, and what they show. A value.
struct Animals {
  /// `image`, uint8[N,20,20].
  examples::Rows inputs;
  std::vector<uint8_t> breeds;
  /// What one says who reads the traits off every picture without error.
  std::vector<uint8_t> best;

  int64_t size() const { return static_cast<int64_t>(breeds.size()); }
  bool is_cat(int64_t index) const { return breeds[static_cast<size_t>(index)] < kCats; }
  /// 0 to 1, row by row.
  std::vector<float> Pixels(int64_t index) const;
};

/// Which breed each row of `probabilities` says; the first of equal ones.
std::vector<int64_t> Labels(absl::Span<const float> probabilities);

/// Reads heldout_images.u8 and heldout_labels.u8 of `folder`. INVALID_ARGUMENT when they don't fit each other.
absl::StatusOr<Animals> ReadAnimals(const std::string& folder);

}  // namespace portico::breeds
