#include "models/compose/expression_lexer.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Longer ones before those that they begin with.
constexpr absl::string_view kSigns[] = {"&&", "||", "==", "!=", "<=", ">=", "<", ">", "!",
                                        "+",  "-",  "*",  "/",  "(",  ")",  "[", "]"};

bool BeginsName(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool InName(char c) { return BeginsName(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.'; }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

}  // namespace

std::string ExpressionToken::Got() const {
  switch (kind) {
    case Kind::kEnd:
      return "the end";
    case Kind::kNumber:
      return absl::StrCat("number ", number);
    case Kind::kText:
      return absl::StrCat("text \"", text, "\"");
    case Kind::kName:
      return absl::StrCat("name '", text, "'");
    case Kind::kSign:
      return absl::StrCat("'", text, "'");
  }
  return "";
}

absl::StatusOr<ExpressionToken> ExpressionLexer::Next() {
  while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  position_ = at_;
  ExpressionToken token{.position = at_};
  if (at_ == text_.size()) return token;
  const char c = text_[at_];
  if (IsDigit(c) || (c == '.' && at_ + 1 < text_.size() && IsDigit(text_[at_ + 1]))) return Number();
  if (c == '"' || c == '\'' || c == '`') return Quoted(c);
  if (BeginsName(c)) {
    while (at_ < text_.size() && InName(text_[at_])) ++at_;
    token.kind = ExpressionToken::Kind::kName;
    token.text = std::string(text_.substr(position_, at_ - position_));
    return token;
  }
  for (const absl::string_view sign : kSigns) {
    if (text_.substr(at_, sign.size()) != sign) continue;
    at_ += sign.size();
    token.kind = ExpressionToken::Kind::kSign;
    token.text = std::string(sign);
    return token;
  }
  if (c == '&' || c == '|' || c == '=') {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", absl::string_view(&c, 1), "', want '", std::string(2, c), "'"));
  }
  return absl::InvalidArgumentError(absl::StrCat("got a character that means nothing here (byte ",
                                                 static_cast<int>(static_cast<unsigned char>(c)),
                                                 "), want a name, a number, text in quotes or a sign"));
}

absl::StatusOr<ExpressionToken> ExpressionLexer::Number() {
  const auto digits = [this] {
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
  };
  digits();
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    digits();
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    size_t exponent = at_ + 1;
    if (exponent < text_.size() && (text_[exponent] == '-' || text_[exponent] == '+')) ++exponent;
    if (exponent < text_.size() && IsDigit(text_[exponent])) {
      at_ = exponent;
      digits();
    }
  }
  ExpressionToken token{.kind = ExpressionToken::Kind::kNumber, .position = position_};
  const absl::string_view number = text_.substr(position_, at_ - position_);
  if ((at_ < text_.size() && InName(text_[at_])) || !absl::SimpleAtod(number, &token.number) ||
      !std::isfinite(token.number)) {
    while (at_ < text_.size() && InName(text_[at_])) ++at_;
    return absl::InvalidArgumentError(
        absl::StrCat("got '", text_.substr(position_, at_ - position_), "', want a number such as 3, 0.25 or 1e-3"));
  }
  return token;
}

absl::StatusOr<ExpressionToken> ExpressionLexer::Quoted(char quote) {
  ExpressionToken token{.position = position_};
  token.kind = quote == '`' ? ExpressionToken::Kind::kName : ExpressionToken::Kind::kText;
  for (++at_; at_ < text_.size(); ++at_) {
    char c = text_[at_];
    if (c == quote) {
      ++at_;
      if (token.kind == ExpressionToken::Kind::kName && token.text.empty()) {
        return absl::InvalidArgumentError("got no name between backquotes, want the name of an output");
      }
      return token;
    }
    if (c == '\\') {
      if (++at_ == text_.size()) break;
      c = text_[at_];
      if (c != '\\' && c != '"' && c != '\'' && c != '`') {
        position_ = at_ - 1;
        return absl::InvalidArgumentError(
            absl::StrCat("got '\\", absl::string_view(&c, 1), "', want '\\' before a quote or another '\\'"));
      }
    }
    token.text.push_back(c);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("got text without an end, want ", absl::string_view(&quote, 1), " behind it"));
}

}  // namespace portico
