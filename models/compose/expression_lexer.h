#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A word of an expression (expression.h).
struct ExpressionToken {
  enum class Kind { kEnd, kNumber, kText, kName, kSign };
  Kind kind = Kind::kEnd;
  /// Byte of the text at which it begins.
  size_t position = 0;
  double number = 0;
  /// Of a name or text: what it says; of a sign: "&&", "(", ...
  std::string text;

  bool Is(absl::string_view sign) const { return kind == Kind::kSign && text == sign; }
  /// "'&&'", "the end": for messages.
  std::string Got() const;
};

/// Reads the words of a text one after the other. Borrows the text.
class ExpressionLexer {
 public:
  explicit ExpressionLexer(absl::string_view text) : text_(text) {}

  /// kEnd at the end, then always. INVALID_ARGUMENT with the bare message, whose position is position().
  absl::StatusOr<ExpressionToken> Next();
  /// Where the last word began.
  size_t position() const { return position_; }
  /// Where it ended.
  size_t end() const { return at_; }

 private:
  absl::StatusOr<ExpressionToken> Number();
  absl::StatusOr<ExpressionToken> Quoted(char quote);

  const absl::string_view text_;
  size_t position_ = 0;
  size_t at_ = 0;
};

}  // namespace portico
