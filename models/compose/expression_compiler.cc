#include "models/compose/expression_compiler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

using Op = Expression::Op;
using Term = Expression::Term;

/// Integers up to here are exact as float64, in which expressions keep constants.
constexpr double kMaxExact = 9007199254740992.0;
constexpr absl::string_view kFunctions = "abs, argmax, entropy, isnan, margin, max, min, softmax";

/// How many values there are. Tensors of rows are [N,1] and [N,C] throughout, so that they meet as they should.
enum class Form { kConstant, kOnePerRow, kRowOfValues };

/// What a term gives.
struct Value {
  Form form = Form::kConstant;
  /// kFloat, kDouble, kInt64, kString or kBool. Of numeric constants kDouble, which says nothing.
  DType dtype = DType::kDouble;
  /// Columns; −1: known only at run time.
  int64_t width = 1;
  /// Empty: a constant that is not in the graph, `number` or `text`.
  std::string tensor;
  double number = 0;
  std::string text;
  /// Of truth values, where margins are wanted: the tensor with theirs, float[N,1] or of a constant float[].
  std::string margin = {};

  bool folded() const { return tensor.empty(); }
  bool is_number() const { return dtype == DType::kFloat || dtype == DType::kDouble || dtype == DType::kInt64; }
  bool is_float() const { return dtype == DType::kFloat || dtype == DType::kDouble; }
};

std::string Describe(const Value& value) {
  const std::string what(value.is_number() ? "number" : value.dtype == DType::kString ? "text" : "truth value");
  if (value.form == Form::kConstant) return absl::StrCat("a constant ", what);
  return absl::StrCat(value.form == Form::kOnePerRow ? "one " : "a row of ", what,
                      value.form == Form::kOnePerRow ? " per row" : "s");
}

/// The type in which an expression computes with elements of `dtype`; kInvalid: it cannot.
DType TypeFor(DType dtype) {
  switch (dtype) {
    case DType::kFloat:
    case DType::kFloat16:
    case DType::kBfloat16:
      return DType::kFloat;
    case DType::kDouble:
    case DType::kUint64:
      return DType::kDouble;
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUint8:
    case DType::kUint16:
    case DType::kUint32:
      return DType::kInt64;
    case DType::kString:
    case DType::kBool:
      return dtype;
    default:
      return DType::kInvalid;
  }
}

/// What is asked of an expression.
enum class Wanted { kCondition, kMargin, kNumber, kValue };

/// The margin of what is so, whatever comes; that of what is not is as far below 0.
constexpr float kCertain = 1e30F;

/// One compilation: a value per term, in their order, in which operands come first.
class Compiler {
 public:
  Compiler(const Expression& expression, absl::Span<const TensorSpec> outputs, OpWriter& ops, Wanted wanted)
      : expression_(expression), outputs_(outputs), ops_(ops), wanted_(wanted) {}

  absl::StatusOr<RowValue> Run() {
    for (const Term& term : expression_.terms) {
      ASSIGN_OR_RETURN(Value value, Compile(term));
      if (wanted_ == Wanted::kMargin && value.dtype == DType::kBool) value.margin = Margin(term, value);
      values_.push_back(std::move(value));
    }
    const Value& whole = values_.back();
    const size_t position = expression_.terms.back().position;
    if (wanted_ == Wanted::kNumber) {
      if (whole.form != Form::kOnePerRow || !whole.is_number()) {
        return expression_.ErrorAt(position, absl::StrCat("got ", Describe(whole),
                                                          ", want one number per row of the outputs (", Names(), ")"));
      }
      return RowValue{ops_.Squeeze(ops_.Cast(whole.tensor, DType::kFloat), 1), DType::kFloat};
    }
    if (wanted_ == Wanted::kValue) {
      if (whole.form == Form::kOnePerRow) return RowValue{ops_.Squeeze(whole.tensor, 1), whole.dtype};
      return expression_.ErrorAt(
          position, absl::StrCat("got ", Describe(whole), ", want one value per row of the outputs (", Names(),
                                 "), as in 'x[0]', 'argmax(x)' or 'x > 0.5'"));
    }
    if (whole.form == Form::kConstant) {
      return expression_.ErrorAt(
          position, absl::StrCat("got ", Describe(whole), ", want a condition over the outputs (", Names(), ")"));
    }
    if (whole.dtype != DType::kBool || whole.form != Form::kOnePerRow) {
      return expression_.ErrorAt(position, absl::StrCat("got ", Describe(whole),
                                                        ", want one truth value per row; compare it, as in 'x > 0.5'"));
    }
    if (wanted_ == Wanted::kMargin) return RowValue{ops_.Squeeze(whole.margin, 1), DType::kFloat};
    return RowValue{ops_.Squeeze(whole.tensor, 1), DType::kBool};
  }

 private:
  absl::Status Error(const Term& term, absl::string_view message) const {
    return expression_.ErrorAt(term.position, message);
  }
  const Value& Left(const Term& term) const { return values_[static_cast<size_t>(term.left)]; }
  const Value& Right(const Term& term) const { return values_[static_cast<size_t>(term.right)]; }

  absl::StatusOr<Value> Compile(const Term& term) {
    switch (term.op) {
      case Op::kNumber:
        return Value{.number = term.number};
      case Op::kText:
        return Value{.dtype = DType::kString, .text = term.text};
      case Op::kTrue:
      case Op::kFalse:
        return Value{.dtype = DType::kBool, .tensor = ops_.Constant(Tensor::Of<bool>({}, {term.op == Op::kTrue}))};
      case Op::kName:
        return Name(term);
      case Op::kCall:
        return Call(term);
      case Op::kColumn:
        return Column(term);
      case Op::kNegate:
        return Negate(term);
      case Op::kNot: {
        RETURN_IF_ERROR(CheckTruth(term, Left(term)));
        Value value = Left(term);
        value.tensor = ops_.Add("Not", {value.tensor});
        return value;
      }
      case Op::kAdd:
      case Op::kSubtract:
      case Op::kMultiply:
      case Op::kDivide:
        return Arithmetic(term);
      case Op::kAnd:
      case Op::kOr: {
        RETURN_IF_ERROR(CheckTruth(term, Left(term)));
        RETURN_IF_ERROR(CheckTruth(term, Right(term)));
        return Value{.form = std::max(Left(term).form, Right(term).form),
                     .dtype = DType::kBool,
                     .tensor = ops_.Add(term.op == Op::kAnd ? "And" : "Or", {Left(term).tensor, Right(term).tensor})};
      }
      default:
        return Compare(term);
    }
  }

  // What a term says itself.

  std::string Names() const {
    return absl::StrJoin(outputs_, ", ", [](std::string* out, const TensorSpec& spec) { out->append(spec.name); });
  }

  absl::StatusOr<Value> Name(const Term& term) {
    const auto spec = std::find_if(outputs_.begin(), outputs_.end(),
                                   [&](const TensorSpec& output) { return output.name == term.text; });
    if (spec == outputs_.end()) {
      return Error(term, absl::StrCat("got name '", term.text, "', want one of the outputs: ", Names()));
    }
    const DType dtype = TypeFor(spec->dtype);
    const size_t rank = spec->dims.size();
    if (dtype == DType::kInvalid || !spec->has_rank || rank < 1 || rank > 2) {
      return Error(term, absl::StrCat("got '", term.text, "', ", spec->ToString(),
                                      ", want numbers, text or truth values, one or a row of them for each row: [N] or "
                                      "[N,C]"));
    }
    Value value{.form = Form::kOnePerRow, .dtype = dtype, .tensor = spec->graph_name};
    if (spec->dtype != dtype) value.tensor = ops_.Cast(value.tensor, dtype);
    if (rank == 1) {
      value.tensor = ops_.Unsqueeze(value.tensor, 1);
    } else if (spec->dims[1].extent != 1) {
      value.form = Form::kRowOfValues;
      value.width = spec->dims[1].extent;
    }
    return value;
  }

  absl::StatusOr<Value> Column(const Term& term) {
    Value value = Left(term);
    const auto column = static_cast<int64_t>(term.number);
    if (value.form == Form::kConstant || (value.width >= 0 && column >= value.width)) {
      return Error(term, absl::StrCat("got column ", column, " of ", Describe(value),
                                      value.width >= 0 ? absl::StrCat(", want one below ", value.width) : ""));
    }
    if (value.form == Form::kOnePerRow) return value;
    value.tensor =
        ops_.Add("Gather", {value.tensor, ops_.Constant(Tensor::Of<int64_t>({1}, {column}))}, {{"axis", int64_t{1}}});
    value.form = Form::kOnePerRow;
    value.width = 1;
    return value;
  }

  // Functions.

  absl::StatusOr<Value> Call(const Term& term) {
    Value x = Left(term);
    const std::string& name = term.text;
    const auto want = [&](absl::string_view what) {
      return Error(term, absl::StrCat(name, ": got ", Describe(x), ", want ", what));
    };
    if (name == "abs") {
      if (!x.is_number()) return want("numbers");
      x.number = std::abs(x.number);
      if (!x.folded()) x.tensor = ops_.Add("Abs", {x.tensor});
      return x;
    }
    if (name != "max" && name != "min" && name != "argmax" && name != "margin" && name != "entropy" &&
        name != "softmax" && name != "isnan") {
      return Error(term, absl::StrCat("got function '", name, "', want one of ", kFunctions));
    }
    if (!x.is_number() || x.form == Form::kConstant) return want("numbers of an output");
    if (name == "isnan") {
      if (!x.is_float()) return want("floating-point numbers: integers are never NaN");
      return Truth(AnyNan(x));
    }
    if (name == "softmax") {
      if (x.form != Form::kRowOfValues) return want("a row of numbers");
      x = AsFloat(std::move(x));
      x.tensor = ops_.Add("Softmax", {x.tensor}, {{"axis", int64_t{1}}});
      return x;
    }
    const bool one_of_two = (name == "entropy" || name == "margin") && x.form == Form::kOnePerRow;
    if (one_of_two && !x.is_float()) {
      return want("a row of numbers, or one probability per row: an integer, such as a label, is none");
    }
    if (name == "entropy") return Entropy(Distribution(AsFloat(std::move(x))));
    if (name == "margin") {
      if (x.form == Form::kOnePerRow) x = Distribution(AsFloat(std::move(x)));
      return LargestMargin(x);
    }
    Value result{.form = Form::kOnePerRow, .dtype = name == "argmax" ? DType::kInt64 : x.dtype};
    result.tensor = name == "argmax" ? ops_.Add("ArgMax", {x.tensor}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}})
                                     : ops_.Reduce(name == "max" ? "ReduceMax" : "ReduceMin", x.tensor, 1);
    return UnlessNan(x, std::move(result));
  }

  static Value Truth(std::string tensor) {
    return {.form = Form::kOnePerRow, .dtype = DType::kBool, .tensor = std::move(tensor)};
  }

  Value AsFloat(Value value) {
    if (value.is_float()) return value;
    return {.form = value.form,
            .dtype = DType::kDouble,
            .width = value.width,
            .tensor = ops_.Cast(value.tensor, DType::kDouble)};
  }

  /// (p, 1 − p) of one value per row, which says how probable one of two things is; others as they are.
  Value Distribution(Value p) {
    if (p.form != Form::kOnePerRow) return p;
    const std::string rest = ops_.Add("Sub", {Number(1, p.dtype), p.tensor});
    return {.form = Form::kRowOfValues,
            .dtype = p.dtype,
            .width = 2,
            .tensor = ops_.Add("Concat", {p.tensor, rest}, {{"axis", int64_t{1}}})};
  }

  Value Entropy(const Value& x) {
    // 0 · ln 0 is 0: what is below the least normal number counts as that in the logarithm.
    const double least =
        x.dtype == DType::kFloat ? std::numeric_limits<float>::min() : std::numeric_limits<double>::min();
    const std::string log = ops_.Add("Log", {ops_.Add("Max", {x.tensor, Number(least, x.dtype)})});
    // A NaN comes through by itself.
    const std::string sum = ops_.Reduce("ReduceSum", ops_.Add("Mul", {x.tensor, log}), 1);
    return {.form = Form::kOnePerRow, .dtype = x.dtype, .tensor = ops_.Add("Neg", {sum})};
  }

  /// The largest less the largest of what is left without it. (TopK of no rows ends the process: ONNX Runtime 1.30.)
  Value LargestMargin(const Value& x) {
    const std::string at = ops_.Add("ArgMax", {x.tensor}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}});
    const std::string least = x.is_float()
                                  ? Number(-std::numeric_limits<double>::infinity(), x.dtype)
                                  : ops_.Constant(Tensor::Of<int64_t>({}, {std::numeric_limits<int64_t>::min()}));
    const std::string removed = ops_.Add("Expand", {least, ops_.Add("Shape", {at})});
    const std::string rest = ops_.Add("ScatterElements", {x.tensor, at, removed}, {{"axis", int64_t{1}}});
    const std::string first = ops_.Reduce("ReduceMax", x.tensor, 1), second = ops_.Reduce("ReduceMax", rest, 1);
    return UnlessNan(x, {.form = Form::kOnePerRow, .dtype = x.dtype, .tensor = ops_.Add("Sub", {first, second})});
  }

  /// bool[N,1]: rows of `x` that have a NaN. What reductions make of one depends on where it stands.
  std::string AnyNan(const Value& x) {
    const std::string is = ops_.Cast(ops_.Add("IsNaN", {x.tensor}), DType::kFloat);
    return ops_.Cast(x.form == Form::kOnePerRow ? is : ops_.Reduce("ReduceMax", is, 1), DType::kBool);
  }

  /// `result`, but NaN (−1 of integers) in rows of `x` that have a NaN.
  Value UnlessNan(const Value& x, Value result) {
    if (!x.is_float()) return result;
    const double otherwise = result.dtype == DType::kInt64 ? -1 : std::nan("");
    result.tensor = ops_.Add("Where", {AnyNan(x), Number(otherwise, result.dtype), result.tensor});
    return result;
  }

  // Operators.

  absl::Status CheckTruth(const Term& term, const Value& value) const {
    if (value.dtype == DType::kBool && value.form != Form::kRowOfValues) return absl::OkStatus();
    return Error(term, absl::StrCat("got ", Describe(value), ", want one truth value per row on ",
                                    term.right < 0 ? "its right" : "both sides"));
  }

  absl::StatusOr<Value> Negate(const Term& term) {
    Value value = Left(term);
    if (!value.is_number()) return Error(term, absl::StrCat("got ", Describe(value), ", want numbers"));
    value.number = -value.number;
    if (!value.folded()) value.tensor = ops_.Add("Neg", {value.tensor});
    return value;
  }

  absl::StatusOr<Value> Arithmetic(const Term& term) {
    Value left = Left(term), right = Right(term);
    if (!left.is_number() || !right.is_number()) {
      return Error(term, absl::StrCat("got ", Describe(left), " and ", Describe(right), ", want numbers"));
    }
    if (left.folded() && right.folded()) return Fold(term, left.number, right.number);
    if (term.op == Op::kDivide) {
      left = left.dtype == DType::kInt64 ? AsFloat(std::move(left)) : left;
      right = right.dtype == DType::kInt64 ? AsFloat(std::move(right)) : right;
    }
    ASSIGN_OR_RETURN(Value result, Meet(term, left, right));
    const char* op_type = term.op == Op::kAdd        ? "Add"
                          : term.op == Op::kSubtract ? "Sub"
                          : term.op == Op::kMultiply ? "Mul"
                                                     : "Div";
    result.tensor = ops_.Add(op_type, {left.tensor, right.tensor});
    return result;
  }

  absl::StatusOr<Value> Fold(const Term& term, double a, double b) const {
    const double number = term.op == Op::kAdd        ? a + b
                          : term.op == Op::kSubtract ? a - b
                          : term.op == Op::kMultiply ? a * b
                                                     : a / b;
    if (!std::isfinite(number)) return Error(term, absl::StrCat("got the constant ", number, ", want a finite one"));
    return Value{.number = number};
  }

  absl::StatusOr<Value> Compare(const Term& term) {
    Value left = Left(term), right = Right(term);
    const bool equality = term.op == Op::kEqual || term.op == Op::kNotEqual;
    const bool comparable = (left.is_number() && right.is_number()) || (left.dtype == right.dtype && equality);
    if (!comparable) {
      return Error(term, absl::StrCat("got ", Describe(left), " and ", Describe(right), ", want ",
                                      equality ? "two of a kind" : "numbers; text and truth values are equal or not"));
    }
    if (left.form == Form::kRowOfValues || right.form == Form::kRowOfValues) {
      return Error(term, absl::StrCat("got ", Describe(left), " and ", Describe(right),
                                      ", want one value per row on both sides; take a column, as in 'x[0]', or use ",
                                      kFunctions));
    }
    Value result;
    if (left.dtype == DType::kString) {
      ASSIGN_OR_RETURN(result, CompareText(term, left, right));
    } else {
      // Types that meet; of truth values there is nothing to do.
      if (left.is_number()) {
        RETURN_IF_ERROR(Meet(term, left, right).status());
        if (wanted_ == Wanted::kMargin) distance_ = Distance(term, left, right);
      }
      const char* op_type = term.op == Op::kLess             ? "Less"
                            : term.op == Op::kLessOrEqual    ? "LessOrEqual"
                            : term.op == Op::kGreater        ? "Greater"
                            : term.op == Op::kGreaterOrEqual ? "GreaterOrEqual"
                                                             : "Equal";
      result.tensor = ops_.Add(op_type, {left.tensor, right.tensor});
    }
    result.form = std::max(left.form, right.form);
    result.dtype = DType::kBool;
    if (term.op == Op::kNotEqual) result.tensor = ops_.Add("Not", {result.tensor});
    return result;
  }

  /// By how much the sides of a comparison fulfil it; both have one type.
  std::string Distance(const Term& term, const Value& left, const Value& right) {
    const bool less = term.op == Op::kLess || term.op == Op::kLessOrEqual;
    const std::string apart = ops_.Cast(
        ops_.Add("Sub", {less ? right.tensor : left.tensor, less ? left.tensor : right.tensor}), DType::kFloat);
    if (term.op == Op::kEqual) return ops_.Add("Neg", {ops_.Add("Abs", {apart})});
    return term.op == Op::kNotEqual ? ops_.Add("Abs", {apart}) : apart;
  }

  /// Of the truth value that `term` gives.
  std::string Margin(const Term& term, const Value& value) {
    if (!distance_.empty()) return std::exchange(distance_, "");
    if (term.op == Op::kNot) return ops_.Add("Neg", {Left(term).margin});
    if (term.op == Op::kAnd || term.op == Op::kOr) {
      return ops_.Add(term.op == Op::kAnd ? "Min" : "Max", {Left(term).margin, Right(term).margin});
    }
    return ops_.Add("Where", {value.tensor, ops_.Constant(Tensor::Of<float>({}, {kCertain})),
                              ops_.Constant(Tensor::Of<float>({}, {-kCertain}))});
  }

  absl::StatusOr<Value> CompareText(const Term& term, const Value& left, const Value& right) {
    if (left.folded() && right.folded()) {
      return Error(term, "got two constants, want an output on one side");
    }
    if (left.folded() || right.folded()) {
      const Value& output = left.folded() ? right : left;
      return Value{.tensor = ops_.IsWord(output.tensor, left.folded() ? left.text : right.text)};
    }
    if (ops_.opset() < OpWriter::kTextEqualOpset) {
      return Error(term, absl::StrCat("got text of two outputs in a model of opset ", ops_.opset(), ", want opset ",
                                      OpWriter::kTextEqualOpset, " or later; export the model for it"));
    }
    return Value{.tensor = ops_.Add("Equal", {left.tensor, right.tensor})};
  }

  /// Gives two numbers one type, in place; what comes of them, without a tensor.
  absl::StatusOr<Value> Meet(const Term& term, Value& left, Value& right) {
    Value result{.form = std::max(left.form, right.form), .width = std::max(left.width, right.width)};
    if (left.form == Form::kRowOfValues && right.form == Form::kRowOfValues) {
      if (left.width >= 0 && right.width >= 0 && left.width != right.width) {
        return Error(term, absl::StrCat("got rows of ", left.width, " and of ", right.width, ", want equally many"));
      }
    } else if (left.form == Form::kRowOfValues || right.form == Form::kRowOfValues) {
      result.width = left.form == Form::kRowOfValues ? left.width : right.width;
    }
    const auto takes = [](DType dtype, double constant) {
      if (dtype == DType::kInt64) return constant == std::floor(constant) && std::abs(constant) <= kMaxExact;
      return dtype == DType::kDouble || std::abs(constant) <= std::numeric_limits<float>::max();
    };
    result.dtype = left.dtype == right.dtype ? left.dtype : DType::kDouble;
    if (left.folded() != right.folded()) {
      const Value& constant = left.folded() ? left : right;
      const Value& output = left.folded() ? right : left;
      result.dtype = takes(output.dtype, constant.number) ? output.dtype : DType::kDouble;
    }
    for (Value* value : {&left, &right}) {
      if (value->folded()) {
        value->tensor = Number(value->number, result.dtype);
      } else if (value->dtype != result.dtype) {
        value->tensor = ops_.Cast(value->tensor, result.dtype);
      }
      value->dtype = result.dtype;
    }
    return result;
  }

  std::string Number(double number, DType dtype) {
    switch (dtype) {
      case DType::kFloat:
        return ops_.Constant(Tensor::Of<float>({}, {static_cast<float>(number)}));
      case DType::kInt64:
        return ops_.Constant(Tensor::Of<int64_t>({}, {static_cast<int64_t>(number)}));
      default:
        return ops_.Constant(Tensor::Of<double>({}, {number}));
    }
  }

  const Expression& expression_;
  const absl::Span<const TensorSpec> outputs_;
  OpWriter& ops_;
  const Wanted wanted_;
  std::vector<Value> values_;
  /// Of the comparison that was compiled last, until its margin is made of it.
  std::string distance_;
};

}  // namespace

absl::StatusOr<std::string> CompileExpression(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                              OpWriter& ops) {
  ASSIGN_OR_RETURN(RowValue condition, Compiler(expression, outputs, ops, Wanted::kCondition).Run());
  return std::move(condition.tensor);
}

absl::StatusOr<std::string> CompileMargin(const Expression& condition, absl::Span<const TensorSpec> outputs,
                                          OpWriter& ops) {
  ASSIGN_OR_RETURN(RowValue margin, Compiler(condition, outputs, ops, Wanted::kMargin).Run());
  return std::move(margin.tensor);
}

absl::StatusOr<std::string> CompileNumber(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                          OpWriter& ops) {
  ASSIGN_OR_RETURN(RowValue number, Compiler(expression, outputs, ops, Wanted::kNumber).Run());
  return std::move(number.tensor);
}

absl::StatusOr<RowValue> CompileRowValue(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                         OpWriter& ops) {
  return Compiler(expression, outputs, ops, Wanted::kValue).Run();
}

absl::Status CheckExpression(const Expression& expression, absl::Span<const TensorSpec> outputs, int64_t opset) {
  onnx::GraphProto graph;
  OpWriter ops(graph, "check/", opset, 3);
  return CompileExpression(expression, outputs, ops).status();
}

}  // namespace portico
