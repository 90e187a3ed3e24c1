#include "models/compose/expression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// The expression with all parentheses that binding implies.
std::string Explicit(const Expression& expression, int at) {
  const Expression::Term& term = expression.terms[static_cast<size_t>(at)];
  const auto left = [&] { return Explicit(expression, term.left); };
  const auto infix = [&](absl::string_view sign) {
    return absl::StrCat("(", left(), " ", sign, " ", Explicit(expression, term.right), ")");
  };
  switch (term.op) {
    case Expression::Op::kNumber:
      return absl::StrCat(term.number);
    case Expression::Op::kText:
      return absl::StrCat("\"", term.text, "\"");
    case Expression::Op::kTrue:
      return "true";
    case Expression::Op::kFalse:
      return "false";
    case Expression::Op::kName:
      return term.text;
    case Expression::Op::kCall:
      return absl::StrCat(term.text, "(", left(), ")");
    case Expression::Op::kColumn:
      return absl::StrCat(left(), "[", term.number, "]");
    case Expression::Op::kNegate:
      return absl::StrCat("(-", left(), ")");
    case Expression::Op::kNot:
      return absl::StrCat("(!", left(), ")");
    case Expression::Op::kAdd:
      return infix("+");
    case Expression::Op::kSubtract:
      return infix("-");
    case Expression::Op::kMultiply:
      return infix("*");
    case Expression::Op::kDivide:
      return infix("/");
    case Expression::Op::kEqual:
      return infix("==");
    case Expression::Op::kNotEqual:
      return infix("!=");
    case Expression::Op::kLess:
      return infix("<");
    case Expression::Op::kLessOrEqual:
      return infix("<=");
    case Expression::Op::kGreater:
      return infix(">");
    case Expression::Op::kGreaterOrEqual:
      return infix(">=");
    case Expression::Op::kAnd:
      return infix("&&");
    case Expression::Op::kOr:
      return infix("||");
  }
  return "";
}

std::string Read(absl::string_view text) {
  const auto expression = Expression::Parse(text);
  EXPECT_TRUE(expression.ok()) << expression.status();
  return expression.ok() ? Explicit(*expression, static_cast<int>(expression->terms.size()) - 1) : "";
}

/// The message behind "condition '...': ".
std::string ErrorOf(absl::string_view text) {
  const auto expression = Expression::Parse(text);
  EXPECT_EQ(expression.status().code(), absl::StatusCode::kInvalidArgument) << text;
  const std::string message(expression.status().message());
  const std::string begin = absl::StrCat("condition '", text, "': ");
  EXPECT_EQ(message.substr(0, begin.size()), begin);
  return message.substr(std::min(begin.size(), message.size()));
}

TEST(ExpressionTest, BindsAsInC) {
  EXPECT_EQ(Read("a > 0.1 && b < 2 || !c"), "(((a > 0.1) && (b < 2)) || (!c))");
  EXPECT_EQ(Read("a || b && c"), "(a || (b && c))");
  EXPECT_EQ(Read("a + b * c - d / e"), "((a + (b * c)) - (d / e))");
  EXPECT_EQ(Read("a - b - c < -d * 2"), "(((a - b) - c) < ((-d) * 2))");
  EXPECT_EQ(Read("!(a && b) == c"), "((!(a && b)) == c)");
  EXPECT_EQ(Read("max(a)[1] + softmax(b + 1)[0] >= - - 1"), "((max(a)[1] + softmax((b + 1))[0]) >= (-(-1)))");
}

TEST(ExpressionTest, ReadsWords) {
  EXPECT_EQ(Read("domain == \"a \\\"b\\\" \\\\ 'c'\""), "(domain == \"a \"b\" \\ 'c'\")");
  EXPECT_EQ(Read("domain!='größe'"), "(domain != \"größe\")");
  EXPECT_EQ(Read("`out/score:0` > .5e-1"), "(out/score:0 > 0.05)");
  EXPECT_EQ(Read("output.1>1E3"), "(output.1 > 1000)");
  EXPECT_EQ(Read("`true` == true"), "(true == true)");
  EXPECT_EQ(Read("max > 1"), "(max > 1)");
}

TEST(ExpressionTest, SaysWhereItIsWrong) {
  EXPECT_EQ(ErrorOf("score >"), "at column 8: got the end, want a name, a number, text in quotes or '('");
  EXPECT_EQ(ErrorOf(""), "at column 1: got the end, want a name, a number, text in quotes or '('");
  EXPECT_EQ(ErrorOf("a b"), "at column 3: got name 'b', want an operator such as '&&' or the end");
  EXPECT_EQ(ErrorOf("(a"), "at column 3: got the end, want ')'");
  EXPECT_EQ(ErrorOf("a & b"), "at column 3: got '&', want '&&'");
  EXPECT_EQ(ErrorOf("a = 1"), "at column 3: got '=', want '=='");
  EXPECT_EQ(ErrorOf("0.1 < a < 0.9"), "at column 9: got '<', want one comparison at a time; write 'a < b && b < c'");
  EXPECT_EQ(ErrorOf("a > 1.2.3"), "at column 5: got '1.2.3', want a number such as 3, 0.25 or 1e-3");
  EXPECT_EQ(ErrorOf("a > 3x"), "at column 5: got '3x', want a number such as 3, 0.25 or 1e-3");
  EXPECT_EQ(ErrorOf("a > 1e999"), "at column 5: got '1e999', want a number such as 3, 0.25 or 1e-3");
  EXPECT_EQ(ErrorOf("a == \"b"), "at column 6: got text without an end, want \" behind it");
  EXPECT_EQ(ErrorOf("a == \"b\\n\""), "at column 8: got '\\n', want '\\' before a quote or another '\\'");
  EXPECT_EQ(ErrorOf("`` > 1"), "at column 1: got no name between backquotes, want the name of an output");
  EXPECT_EQ(ErrorOf("a[-1] > 0"), "at column 3: got '-', want the number of a column, from 0 on");
  EXPECT_EQ(ErrorOf("a[0.5] > 0"), "at column 3: got number 0.5, want the number of a column, from 0 on");
  EXPECT_THAT(ErrorOf("a > \xff"), HasSubstr("at column 5: got a character that means nothing here (byte 255)"));
}

TEST(ExpressionTest, APartIsAnExpressionOfItsOwn) {
  const auto whole = Expression::Parse("a + 1 > 0 && max(b) < c[2]");
  ASSERT_TRUE(whole.ok()) << whole.status();
  const std::vector<std::string> parts = {"a", "1", "(a + 1)", "0", "((a + 1) > 0)", "b", "max(b)"};
  for (size_t root = 0; root < whole->terms.size(); ++root) {
    const Expression part = whole->Part(static_cast<int>(root));
    const int last = static_cast<int>(part.terms.size()) - 1;
    EXPECT_EQ(Explicit(part, last), Explicit(*whole, static_cast<int>(root)));
    if (root < parts.size()) {
      EXPECT_EQ(Explicit(part, last), parts[root]);
    }
    EXPECT_EQ(part.text, whole->text) << "so that errors show where they are";
  }
}

TEST(ExpressionTest, IsBounded) {
  EXPECT_THAT(Expression::Parse(std::string(Expression::kMaxBytes + 1, ' ')).status().message(),
              HasSubstr("got 4097 bytes, want at most 4096"));
  EXPECT_THAT(ErrorOf(absl::StrCat(std::string(200, '('), "a", std::string(200, ')'))), HasSubstr("64 deep"));
  EXPECT_THAT(ErrorOf(absl::StrCat(std::string(200, '!'), "a")), HasSubstr("at most 64 signs"));
  std::string sum = "a";
  for (int i = 0; i < 600; ++i) absl::StrAppend(&sum, "+a");
  EXPECT_THAT(ErrorOf(sum), HasSubstr("more than 512 terms"));
  EXPECT_EQ(Read(absl::StrCat(std::string(50, '('), "a", std::string(50, ')'))), "a");
}

}  // namespace
}  // namespace portico
