#include "cli/report_error.h"

#include <cstdio>

#include "absl/strings/str_cat.h"

namespace portico {

int ReportError(absl::string_view command, const absl::Status& status) {
  if (status.ok()) return 0;
  const std::string text = absl::StrCat("portico ", command, ": ", status.message(), "\n");
  std::fputs(text.c_str(), stderr);
  return 1;
}

}  // namespace portico
