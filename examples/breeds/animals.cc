#include "examples/breeds/animals.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico::breeds {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 20;
constexpr size_t kPixels = size_t{kSide} * kSide;
// As in generate.py.
constexpr const char* kNames[kBreeds] = {"tabby",   "tuxedo",  "siamese",   "russian",
                                         "spaniel", "terrier", "dalmatian", "retriever"};

}  // namespace

const char* BreedName(int64_t breed) { return kNames[breed]; }

std::vector<float> Animals::Pixels(int64_t index) const {
  std::vector<float> pixels;
  const auto values = inputs[0].tensor.data<uint8_t>().subspan(static_cast<size_t>(index) * kPixels, kPixels);
  for (const uint8_t value : values) pixels.push_back(static_cast<float>(value) / 255.0f);
  return pixels;
}

std::vector<int64_t> Labels(absl::Span<const float> probabilities) {
  std::vector<int64_t> labels;
  for (auto row = probabilities.begin(); row != probabilities.end(); row += kBreeds) {
    labels.push_back(std::max_element(row, row + kBreeds) - row);
  }
  return labels;
}

absl::StatusOr<Animals> ReadAnimals(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string pixels, ReadFile(folder + "/heldout_images.u8", kMaxFileBytes));
  ASSIGN_OR_RETURN(const std::string labels, ReadFile(folder + "/heldout_labels.u8", kMaxFileBytes));
  const bool known =
      std::all_of(labels.begin(), labels.end(), [](char label) { return label >= 0 && label < kBreeds; });
  if (labels.empty() || labels.size() % 2 != 0 || pixels.size() != labels.size() / 2 * kPixels || !known) {
    return absl::InvalidArgumentError(absl::StrCat("held-out pictures of '", folder, "': got ", pixels.size(),
                                                   " bytes of pixels and ", labels.size(),
                                                   " of breeds, want 400 and 2 for each; check the files out again"));
  }
  Animals animals;
  const int64_t count = static_cast<int64_t>(labels.size() / 2);
  animals.inputs = {{"image", Tensor::CopyOf(DType::kUint8, {count, kSide, kSide}, pixels)}};
  for (size_t i = 0; i < labels.size(); i += 2) {
    animals.breeds.push_back(static_cast<uint8_t>(labels[i]));
    animals.best.push_back(static_cast<uint8_t>(labels[i + 1]));
  }
  return animals;
}

}  // namespace portico::breeds
