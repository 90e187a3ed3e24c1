#include "models/compose/expression.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/expression_lexer.h"

namespace portico {
namespace {

using Op = Expression::Op;
using Kind = ExpressionToken::Kind;

struct SignOp {
  absl::string_view sign;
  Op op;
};
constexpr SignOp kOr[] = {{"||", Op::kOr}};
constexpr SignOp kAnd[] = {{"&&", Op::kAnd}};
constexpr SignOp kSums[] = {{"+", Op::kAdd}, {"-", Op::kSubtract}};
constexpr SignOp kProducts[] = {{"*", Op::kMultiply}, {"/", Op::kDivide}};
constexpr SignOp kComparisons[] = {{"==", Op::kEqual},          {"!=", Op::kNotEqual}, {"<=", Op::kLessOrEqual},
                                   {">=", Op::kGreaterOrEqual}, {"<", Op::kLess},      {">", Op::kGreater}};
constexpr SignOp kSignsBefore[] = {{"-", Op::kNegate}, {"!", Op::kNot}};

const SignOp* Match(absl::Span<const SignOp> signs, const ExpressionToken& token) {
  for (const SignOp& sign : signs) {
    if (token.Is(sign.sign)) return &sign;
  }
  return nullptr;
}

/// Recursive descent, a method for each strength of binding. Each gives the index of the term it has read.
class Parser {
 public:
  explicit Parser(Expression& expression) : expression_(expression), lexer_(expression.text) {}

  absl::Status Run() {
    RETURN_IF_ERROR(Advance());
    RETURN_IF_ERROR(Disjunction().status());
    if (token_.kind != Kind::kEnd) return Unexpected("an operator such as '&&' or the end");
    return absl::OkStatus();
  }

 private:
  absl::Status Advance() {
    absl::StatusOr<ExpressionToken> next = lexer_.Next();
    if (!next.ok()) return expression_.ErrorAt(lexer_.position(), next.status().message());
    token_ = *std::move(next);
    return absl::OkStatus();
  }

  absl::Status Unexpected(absl::string_view want) const {
    return expression_.ErrorAt(token_.position, absl::StrCat("got ", token_.Got(), ", want ", want));
  }

  absl::StatusOr<int> Add(Expression::Term term) {
    if (expression_.terms.size() == Expression::kMaxTerms) {
      return expression_.ErrorAt(term.position,
                                 absl::StrCat("got more than ", Expression::kMaxTerms, " terms; make it simpler"));
    }
    expression_.terms.push_back(std::move(term));
    return static_cast<int>(expression_.terms.size()) - 1;
  }

  /// Operands of `next`'s kind with `signs` between them, grouped from the left.
  absl::StatusOr<int> Chain(absl::Span<const SignOp> signs, absl::StatusOr<int> (Parser::*next)()) {
    ASSIGN_OR_RETURN(int left, (this->*next)());
    while (const SignOp* sign = Match(signs, token_)) {
      Expression::Term term{.op = sign->op, .position = token_.position, .left = left};
      RETURN_IF_ERROR(Advance());
      ASSIGN_OR_RETURN(term.right, (this->*next)());
      ASSIGN_OR_RETURN(left, Add(std::move(term)));
    }
    return left;
  }

  absl::StatusOr<int> Disjunction() {
    if (++depth_ > Expression::kMaxDepth) {
      return expression_.ErrorAt(token_.position, absl::StrCat("got parentheses or functions more than ",
                                                               Expression::kMaxDepth, " deep; make it simpler"));
    }
    absl::StatusOr<int> term = Chain(kOr, &Parser::Conjunction);
    --depth_;
    return term;
  }
  absl::StatusOr<int> Conjunction() { return Chain(kAnd, &Parser::Comparison); }

  absl::StatusOr<int> Comparison() {
    ASSIGN_OR_RETURN(const int left, Sum());
    const SignOp* sign = Match(kComparisons, token_);
    if (sign == nullptr) return left;
    Expression::Term term{.op = sign->op, .position = token_.position, .left = left};
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(term.right, Sum());
    if (Match(kComparisons, token_) != nullptr) {
      return Unexpected("one comparison at a time; write 'a < b && b < c'");
    }
    return Add(std::move(term));
  }

  absl::StatusOr<int> Sum() { return Chain(kSums, &Parser::Product); }
  absl::StatusOr<int> Product() { return Chain(kProducts, &Parser::Unary); }

  absl::StatusOr<int> Unary() {
    const SignOp* sign = Match(kSignsBefore, token_);
    if (sign == nullptr) return Column();
    if (++depth_ > Expression::kMaxDepth) {
      return Unexpected(absl::StrCat("at most ", Expression::kMaxDepth, " signs within each other"));
    }
    Expression::Term term{.op = sign->op, .position = token_.position};
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(term.left, Unary());
    --depth_;
    return Add(std::move(term));
  }

  absl::StatusOr<int> Column() {
    ASSIGN_OR_RETURN(int of, Primary());
    while (token_.Is("[")) {
      Expression::Term term{.op = Op::kColumn, .position = token_.position, .left = of};
      RETURN_IF_ERROR(Advance());
      if (token_.kind != Kind::kNumber || token_.number != std::floor(token_.number) || token_.number > 1e9) {
        return Unexpected("the number of a column, from 0 on");
      }
      term.number = token_.number;
      RETURN_IF_ERROR(Advance());
      RETURN_IF_ERROR(Skip("]"));
      ASSIGN_OR_RETURN(of, Add(std::move(term)));
    }
    return of;
  }

  absl::Status Skip(absl::string_view sign) {
    if (!token_.Is(sign)) return Unexpected(absl::StrCat("'", sign, "'"));
    return Advance();
  }

  absl::StatusOr<int> Primary() {
    Expression::Term term{.position = token_.position, .number = token_.number, .text = token_.text};
    switch (token_.kind) {
      case Kind::kNumber:
        term.op = Op::kNumber;
        break;
      case Kind::kText:
        term.op = Op::kText;
        break;
      case Kind::kName:
        return Name(std::move(term));
      case Kind::kSign: {
        if (!token_.Is("(")) return Unexpected("a name, a number, text in quotes or '('");
        RETURN_IF_ERROR(Advance());
        ASSIGN_OR_RETURN(const int inner, Disjunction());
        RETURN_IF_ERROR(Skip(")"));
        return inner;
      }
      case Kind::kEnd:
        return Unexpected("a name, a number, text in quotes or '('");
    }
    RETURN_IF_ERROR(Advance());
    return Add(std::move(term));
  }

  absl::StatusOr<int> Name(Expression::Term term) {
    // A name in backquotes is an output, whatever it says.
    const bool quoted = expression_.text[term.position] == '`';
    RETURN_IF_ERROR(Advance());
    term.op = Op::kName;
    if (quoted) return Add(std::move(term));
    if (term.text == "true" || term.text == "false") term.op = term.text == "true" ? Op::kTrue : Op::kFalse;
    if (!token_.Is("(")) return Add(std::move(term));
    term.op = Op::kCall;
    RETURN_IF_ERROR(Advance());
    ASSIGN_OR_RETURN(term.left, Disjunction());
    RETURN_IF_ERROR(Skip(")"));
    return Add(std::move(term));
  }

  Expression& expression_;
  ExpressionLexer lexer_;
  ExpressionToken token_;
  int depth_ = 0;
};

}  // namespace

absl::StatusOr<Expression> Expression::Parse(absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("condition: got ", text.size(), " bytes, want at most ", kMaxBytes, "; make it simpler"));
  }
  Expression expression;
  expression.text = std::string(text);
  RETURN_IF_ERROR(Parser(expression).Run());
  return expression;
}

Expression Expression::Part(int root) const {
  Expression part;
  part.text = text;
  // Which terms are wanted, then where they go.
  std::vector<int> at(static_cast<size_t>(root) + 1, -1);
  at.back() = 0;
  for (size_t i = at.size(); i-- > 0;) {
    for (const int operand : {terms[i].left, terms[i].right}) {
      if (at[i] == 0 && operand >= 0) at[static_cast<size_t>(operand)] = 0;
    }
  }
  for (size_t i = 0; i < at.size(); ++i) {
    if (at[i] < 0) continue;
    at[i] = static_cast<int>(part.terms.size());
    Term& term = part.terms.emplace_back(terms[i]);
    if (term.left >= 0) term.left = at[static_cast<size_t>(term.left)];
    if (term.right >= 0) term.right = at[static_cast<size_t>(term.right)];
  }
  return part;
}

absl::Status Expression::ErrorAt(size_t position, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat("condition '", text, "': at column ", position + 1, ": ", message));
}

}  // namespace portico
