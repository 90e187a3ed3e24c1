#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico::digits {

inline constexpr int64_t kPixels = 64;

/// The held-out images of the data set and what they show. A value.
struct Heldout {
  /// float32[N,64].
  Tensor images;
  /// N digits.
  std::vector<uint8_t> labels;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  /// The pixels of one image, row by row, 0 to 16.
  absl::Span<const float> Image(int64_t index) const;
};

/// Reads heldout_images.f32 and heldout_labels.u8 of `folder`. INVALID_ARGUMENT when they don't fit each other.
absl::StatusOr<Heldout> ReadHeldout(const std::string& folder);

/// Images side by side in characters, a line of text below each.
std::string DrawImages(const Heldout& heldout, absl::Span<const int64_t> indices,
                       const std::vector<std::string>& captions);

}  // namespace portico::digits
