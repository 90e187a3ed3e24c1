#include "examples/draw_images.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace portico::examples {

std::string DrawImages(absl::Span<const std::vector<float>> images, int side,
                       const std::vector<std::string>& captions) {
  constexpr absl::string_view kShades = " .:-=+*#%@";
  // A pixel is two characters wide, so that it is about as wide as high.
  const int columns = 2 * side + 4;
  std::string out;
  for (int row = 0; row < side; ++row) {
    for (const std::vector<float>& image : images) {
      std::string line = "  ";
      for (int column = 0; column < side; ++column) {
        const float pixel = std::clamp(image[static_cast<size_t>(row * side + column)], 0.0f, 1.0f);
        line.append(2, kShades[static_cast<size_t>(pixel * static_cast<float>(kShades.size() - 1) + 0.5f)]);
      }
      absl::StrAppendFormat(&out, "%-*s", columns, line);
    }
    out.push_back('\n');
  }
  for (const std::string& caption : captions) absl::StrAppendFormat(&out, "  %-*s", columns - 2, caption);
  return out + "\n";
}

}  // namespace portico::examples
