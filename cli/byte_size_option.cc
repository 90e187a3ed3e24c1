#include "cli/byte_size_option.h"

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/byte_size.h"

namespace portico {

CLI::Option* TakeByteSize(CLI::Option* option) {
  const auto read = [](std::string& text) {
    const absl::StatusOr<uint64_t> bytes = ParseByteSize(text);
    if (!bytes.ok()) return std::string(bytes.status().message());
    text = absl::StrCat(*bytes);
    return std::string();
  };
  option->description(absl::StrCat(option->get_description(), " (", kByteUnits, ")"));
  return option->transform(CLI::Validator(read, ""))->type_name("SIZE");
}

}  // namespace portico
