#include "tests/integration/example_demo.h"

#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace portico {

std::string ExampleFolder(const std::string& example) { return PORTICO_SOURCE_DIR "/examples/" + example; }

CommandResult RunDemo(const std::string& example, const std::string& folder) {
  return RunPortico({"--folder", folder, "--portico", PORTICO_BINARY_DIR "/portico", "--once"},
                    "portico_" + example + "_demo");
}

void CopyExample(const std::string& example, const std::string& folder) {
  std::filesystem::copy(ExampleFolder(example), folder, std::filesystem::copy_options::recursive);
}

std::vector<double> DemoFigures(const std::string& output, const std::string& name) {
  for (const absl::string_view line : absl::StrSplit(output, '\n')) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, "  " + name + "  ")) continue;
    std::vector<double> figures;
    for (const absl::string_view word : absl::StrSplit(rest, ' ', absl::SkipEmpty())) {
      double value = 0;
      if (absl::SimpleAtod(word, &value)) figures.push_back(value);
    }
    return figures;
  }
  return {};
}

}  // namespace portico
