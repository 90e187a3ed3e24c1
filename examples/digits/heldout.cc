#include "examples/digits/heldout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico::digits {
namespace {

constexpr uint64_t kMaxFileBytes = 64 << 20;
constexpr int kSide = 8;
/// A pixel is two characters wide, so that it is about as wide as high.
constexpr int kColumns = 2 * kSide + 4;

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
  constexpr absl::string_view kShades = " .:-=+*#%@";
  std::string out;
  for (int row = 0; row < kSide; ++row) {
    for (const int64_t index : indices) {
      std::string line = "  ";
      for (int column = 0; column < kSide; ++column) {
        const float pixel = std::clamp(heldout.Image(index)[static_cast<size_t>(row * kSide + column)], 0.0f, 16.0f);
        line.append(2, kShades[static_cast<size_t>(pixel / 16.0f * static_cast<float>(kShades.size() - 1) + 0.5f)]);
      }
      absl::StrAppendFormat(&out, "%-*s", kColumns, line);
    }
    out.push_back('\n');
  }
  for (const std::string& caption : captions) absl::StrAppendFormat(&out, "  %-*s", kColumns - 2, caption);
  return out + "\n";
}

}  // namespace portico::digits
