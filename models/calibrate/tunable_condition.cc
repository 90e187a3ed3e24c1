#include "models/calibrate/tunable_condition.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "models/compose/expression_lexer.h"

namespace portico {

using Op = Expression::Op;
using Term = Expression::Term;

/// Takes a condition apart along &&, || and !.
class ConditionAnalysis {
 public:
  explicit ConditionAnalysis(TunableCondition& condition) : condition_(condition) {}

  absl::Status Run() {
    RETURN_IF_ERROR(Take(static_cast<int>(condition_.expression.terms.size()) - 1));
    if (condition_.thresholds.empty()) {
      return condition_.expression.ErrorAt(
          0, "got no number that could be moved, want a comparison with one, such as 'score > 0.5'");
    }
    return absl::OkStatus();
  }

 private:
  using Step = TunableCondition::Step;
  using Kind = Step::Kind;
  using Threshold = TunableCondition::Threshold;

  const Term& At(int term) const { return condition_.expression.terms[static_cast<size_t>(term)]; }

  absl::Status Take(int root) {
    const Term& term = At(root);
    switch (term.op) {
      case Op::kAnd:
      case Op::kOr:
        RETURN_IF_ERROR(Take(term.left));
        RETURN_IF_ERROR(Take(term.right));
        condition_.steps_.push_back({term.op == Op::kAnd ? Kind::kAnd : Kind::kOr, 0});
        return absl::OkStatus();
      case Op::kNot:
        RETURN_IF_ERROR(Take(term.left));
        condition_.steps_.push_back({Kind::kNot, 0});
        return absl::OkStatus();
      case Op::kTrue:
      case Op::kFalse:
        condition_.steps_.push_back({Kind::kConstant, term.op == Op::kTrue ? 1u : 0u});
        return absl::OkStatus();
      case Op::kLess:
      case Op::kLessOrEqual:
      case Op::kGreater:
      case Op::kGreaterOrEqual:
        if (IsNumber(term.right)) return AddThreshold(term, term.left, term.right, term.op);
        if (IsNumber(term.left)) return AddThreshold(term, term.right, term.left, Turned(term.op));
        return AddFixed(root);
      default:
        return AddFixed(root);
    }
  }

  bool IsNumber(int root) const {
    const Term& term = At(root);
    return term.op == Op::kNumber || (term.op == Op::kNegate && At(term.left).op == Op::kNumber);
  }

  static Op Turned(Op op) {
    return op == Op::kLess          ? Op::kGreater
           : op == Op::kLessOrEqual ? Op::kGreaterOrEqual
           : op == Op::kGreater     ? Op::kLess
                                    : Op::kLessOrEqual;
  }

  absl::Status AddThreshold(const Term& term, int measure, int number, Op op) {
    std::vector<Threshold>& thresholds = condition_.thresholds;
    if (thresholds.size() == TunableCondition::kMaxThresholds) {
      return condition_.expression.ErrorAt(
          term.position, absl::StrCat("got more than ", TunableCondition::kMaxThresholds,
                                      " numbers that could be moved, want one or two; tune them one after the other, "
                                      "the others written as sums ('0 + 0.5')"));
    }
    Threshold threshold{.measure = measure, .op = op, .number = At(number).number};
    int digits = number;
    if (At(number).op == Op::kNegate) {
      digits = At(number).left;
      threshold.number = -At(digits).number;
    }
    threshold.begin = At(number).position;
    threshold.length = EndOfNumber(At(digits).position) - threshold.begin;
    condition_.steps_.push_back({Kind::kThreshold, static_cast<uint32_t>(thresholds.size())});
    thresholds.push_back(threshold);
    return absl::OkStatus();
  }

  /// Where the number that begins at `position` ends.
  size_t EndOfNumber(size_t position) const {
    const absl::string_view rest = absl::string_view(condition_.expression.text).substr(position);
    ExpressionLexer lexer(rest);
    PORTICO_CHECK(lexer.Next().ok());
    return position + lexer.end();
  }

  absl::Status AddFixed(int root) {
    if (condition_.fixed.size() == TunableCondition::kMaxFixed) {
      return condition_.expression.ErrorAt(At(root).position,
                                           absl::StrCat("got more than ", TunableCondition::kMaxFixed,
                                                        " comparisons that stay as they are; make it simpler"));
    }
    condition_.steps_.push_back({Kind::kFixed, static_cast<uint32_t>(condition_.fixed.size())});
    condition_.fixed.push_back(root);
    return absl::OkStatus();
  }

  TunableCondition& condition_;
};

absl::StatusOr<TunableCondition> TunableCondition::Parse(absl::string_view text) {
  TunableCondition condition;
  ASSIGN_OR_RETURN(condition.expression, Expression::Parse(text));
  RETURN_IF_ERROR(ConditionAnalysis(condition).Run());
  return condition;
}

std::string TunableCondition::With(absl::Span<const std::string> numbers) const {
  PORTICO_CHECK(numbers.size() == thresholds.size());
  std::string text = expression.text;
  // From the end, so that what is in front stays where it is.
  for (size_t i = thresholds.size(); i-- > 0;) text.replace(thresholds[i].begin, thresholds[i].length, numbers[i]);
  return text;
}

bool TunableCondition::Holds(uint32_t of_thresholds, uint32_t of_fixed) const {
  std::vector<bool> stack;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kThreshold:
        stack.push_back((of_thresholds >> step.index & 1) != 0);
        break;
      case Step::Kind::kFixed:
        stack.push_back((of_fixed >> step.index & 1) != 0);
        break;
      case Step::Kind::kConstant:
        stack.push_back(step.index != 0);
        break;
      case Step::Kind::kNot:
        stack.back() = !stack.back();
        break;
      case Step::Kind::kAnd:
      case Step::Kind::kOr: {
        const bool right = stack.back();
        stack.pop_back();
        stack.back() = step.kind == Step::Kind::kAnd ? stack.back() && right : stack.back() || right;
        break;
      }
    }
  }
  return stack.back();
}

}  // namespace portico
