#include "models/compose/expression.h"

#include "models/compose/expression_compiler.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

std::vector<TensorSpec> Outputs() {
  const Dim rows{.symbol = "N"};
  const auto spec = [&](const char* name, DType dtype, std::vector<Dim> dims) {
    return TensorSpec{.name = name, .graph_name = name, .dtype = dtype, .dims = std::move(dims)};
  };
  return {spec("s", DType::kFloat, {rows}),
          spec("w", DType::kDouble, {rows, {.extent = 1}}),
          spec("n", DType::kInt64, {rows}),
          spec("f", DType::kBool, {rows}),
          spec("d", DType::kString, {rows}),
          spec("e", DType::kString, {rows}),
          spec("p", DType::kFloat16, {rows, {.extent = 4}}),
          spec("q", DType::kInt32, {rows, {.symbol = "C"}})};
}

/// What is read stays within its bounds, operands come first, and compiling it ends well or with a message.
void FuzzOne(absl::string_view input) {
  static const std::vector<TensorSpec>& outputs = *new std::vector<TensorSpec>(Outputs());
  const auto expression = Expression::Parse(input);
  if (!expression.ok()) {
    FuzzCheck(expression.status().code() == absl::StatusCode::kInvalidArgument, "a bad condition is INVALID_ARGUMENT");
    return;
  }
  FuzzCheck(!expression->terms.empty() && expression->terms.size() <= Expression::kMaxTerms, "terms are bounded");
  for (size_t i = 0; i < expression->terms.size(); ++i) {
    const Expression::Term& term = expression->terms[i];
    FuzzCheck(term.left < static_cast<int>(i) && term.right < static_cast<int>(i), "operands come first");
    FuzzCheck(term.position < input.size(), "positions are of the text");
  }
  for (const int64_t opset : {13, 19}) {
    const absl::Status status = CheckExpression(*expression, outputs, opset);
    FuzzCheck(status.ok() || status.code() == absl::StatusCode::kInvalidArgument, "bad types are INVALID_ARGUMENT");
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
