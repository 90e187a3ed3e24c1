#include "models/calibrate/guess.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace portico {
namespace {

/// Columns of numbers, 1 for [N] and [N,1]; 0: no row of floats.
int64_t Columns(const Tensor& answer) {
  if (answer.dtype() != DType::kFloat && answer.dtype() != DType::kDouble) return 0;
  if (answer.shape().size() == 1) return 1;
  return answer.shape().size() == 2 ? answer.shape()[1] : 0;
}

double At(const Tensor& answer, size_t index) {
  return answer.dtype() == DType::kFloat ? answer.data<float>()[index] : answer.data<double>()[index];
}

/// Whether each row is within [0, 1], and sums up to 1 where it has several columns. NaN may be anything.
bool AreProbabilities(const Tensor& answer) {
  const auto columns = static_cast<size_t>(Columns(answer));
  for (size_t begin = 0; begin + columns <= answer.num_elements(); begin += columns) {
    double sum = 0;
    for (size_t i = begin; i < begin + columns; ++i) {
      const double value = At(answer, i);
      if (value < 0 || value > 1) return false;
      sum += value;
    }
    if (columns > 1 && std::abs(sum - 1) > 1e-2) return false;
  }
  return true;
}

bool IsLabel(const Tensor& answer) {
  switch (answer.dtype()) {
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUint8:
    case DType::kUint16:
    case DType::kUint32:
    case DType::kUint64:
    case DType::kBool:
    case DType::kString:
      return answer.shape().size() == 1 || (answer.shape().size() == 2 && answer.shape()[1] == 1);
    default:
      return false;
  }
}

}  // namespace

std::string QuotedName(const std::string& name) {
  bool plain = !name.empty() && name != "true" && name != "false" &&
               (absl::ascii_isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_');
  for (const char c : name) plain &= absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  if (plain) return name;
  return absl::StrCat("`", absl::StrReplaceAll(name, {{"\\", "\\\\"}, {"`", "\\`"}}), "`");
}

std::vector<std::string> GuessConditions(absl::Span<const TensorSpec> outputs, absl::Span<const Tensor> answers) {
  std::vector<std::string> conditions;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string name = QuotedName(outputs[i].name);
    const int64_t columns = Columns(answers[i]);
    if (columns == 1) conditions.push_back(absl::StrCat(name, " > 0 && ", name, " < 1"));
    if (columns < 2) continue;
    const std::string row = AreProbabilities(answers[i]) ? name : absl::StrCat("softmax(", name, ")");
    conditions.push_back(absl::StrCat("margin(", row, ") < 0.5"));
    conditions.push_back(absl::StrCat("entropy(", row, ") > 0.5"));
    conditions.push_back(absl::StrCat("max(", row, ") < 0.5"));
  }
  return conditions;
}

absl::StatusOr<std::string> GuessDecision(absl::Span<const TensorSpec> outputs, absl::Span<const Tensor> answers) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (IsLabel(answers[i])) return QuotedName(outputs[i].name);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (Columns(answers[i]) > 1) return absl::StrCat("argmax(", QuotedName(outputs[i].name), ")");
  }
  std::string names;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (Columns(answers[i]) == 1 && AreProbabilities(answers[i])) {
      return absl::StrCat(QuotedName(outputs[i].name), " >= 0.5");
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", outputs[i].name);
  }
  return absl::InvalidArgumentError(absl::StrCat("answers (", names,
                                                 "): got neither a label nor probabilities, want to know when two "
                                                 "models agree; say it with --decide, such as 'score > 0'"));
}

}  // namespace portico
