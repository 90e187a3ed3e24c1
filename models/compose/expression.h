#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A condition over a model's outputs as a person writes it in mesh.yaml, parsed: `score > 0.1 && score < 0.9`,
/// `domain == "example.com" || margin(scores) < 0.2`. What names and types mean is looked at when it is compiled
/// (expression_compiler.h). Immutable, thread-safe.
///
/// Binding, weakest first: `||`, `&&`, `== != < <= > >=` (not in chains), `+ -`, `* /`, unary `-` and `!`, `x[2]` (a
/// column). Names are letters, digits, `_` and `.`, or anything between backquotes; text is in double or single quotes,
/// with `\` before a quote or another `\`.
struct Expression {
  /// Bounds of what is parsed.
  static constexpr size_t kMaxBytes = 4096;
  static constexpr size_t kMaxTerms = 512;
  static constexpr int kMaxDepth = 64;

  enum class Op {
    kNumber,
    kText,
    kTrue,
    kFalse,
    /// An output; its name is `text`.
    kName,
    /// A function, named by `text`, of one operand.
    kCall,
    /// Column `number` of the operand.
    kColumn,
    kNegate,
    kNot,
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kEqual,
    kNotEqual,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kAnd,
    kOr,
  };

  struct Term {
    Op op = Op::kNumber;
    /// Byte of the text at which it (an operator: its sign) stands.
    size_t position = 0;
    double number = 0;
    std::string text;
    /// Terms it is made of; −1: none.
    int left = -1;
    int right = -1;
  };

  /// INVALID_ARGUMENT "condition 'score >': at column 8: got the end, want ...".
  static absl::StatusOr<Expression> Parse(absl::string_view text);

  /// Term `root` and what it is made of, as an expression of its own over the same text.
  Expression Part(int root) const;

  /// INVALID_ARGUMENT as above, for what is found later.
  absl::Status ErrorAt(size_t position, absl::string_view message) const;

  std::string text;
  /// Operands before what is made of them; the last one is the whole.
  std::vector<Term> terms;
};

}  // namespace portico
