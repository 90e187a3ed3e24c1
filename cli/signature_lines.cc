#include "cli/signature_lines.h"

#include "absl/strings/str_cat.h"

namespace portico {

std::string SignatureLines(const Signature& signature) {
  std::string text;
  for (const TensorSpec& input : signature.inputs) {
    absl::StrAppend(&text, "  in   ", input.name, " ", input.ToString(), "\n");
  }
  for (const TensorSpec& output : signature.outputs) {
    absl::StrAppend(&text, "  out  ", output.name, " ", output.ToString(), "\n");
  }
  return text;
}

}  // namespace portico
