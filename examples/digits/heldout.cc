#include "examples/digits/heldout.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "examples/draw_images.h"

namespace portico::digits {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 20;
constexpr int kSide = 8;

}  // namespace

absl::Span<const float> Heldout::Image(int64_t index) const {
  return images.data<float>().subspan(static_cast<size_t>(index * kPixels), kPixels);
}

absl::StatusOr<Heldout> ReadHeldout(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string pixels, ReadFile(folder + "/heldout_images.f32", kMaxFileBytes));
  ASSIGN_OR_RETURN(const std::string labels, ReadFile(folder + "/heldout_labels.u8", kMaxFileBytes));
  if (labels.empty() || pixels.size() != labels.size() * kPixels * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat("held-out images of '", folder, "': got ", pixels.size(),
                                                   " bytes of pixels for ", labels.size(),
                                                   " labels, want 256 for each; check the files out again"));
  }
  Heldout heldout;
  heldout.images = Tensor::CopyOf(DType::kFloat, {static_cast<int64_t>(labels.size()), kPixels}, pixels);
  heldout.labels.assign(labels.begin(), labels.end());
  return heldout;
}

std::string DrawImages(const Heldout& heldout, absl::Span<const int64_t> indices,
                       const std::vector<std::string>& captions) {
  std::vector<std::vector<float>> images;
  for (const int64_t index : indices) {
    for (std::vector<float>& ink = images.emplace_back(); const float pixel : heldout.Image(index)) {
      ink.push_back(pixel / 16.0f);
    }
  }
  return examples::DrawImages(images, kSide, captions);
}

}  // namespace portico::digits
