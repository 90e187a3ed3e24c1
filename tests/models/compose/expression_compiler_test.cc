#include "models/compose/expression_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "models/runtime/session.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

constexpr int kColumns = 4;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What a model answers for one row.
struct Row {
  float score;
  double weight;
  int64_t count;
  int32_t rank;
  bool flag;
  std::string domain;
  std::string other;
  float p[kColumns];
  int64_t votes[kColumns];
};

TensorSpec Spec(const std::string& name, DType dtype, std::vector<Dim> dims) {
  return {.name = name, .graph_name = absl::StrCat("t/", name), .dtype = dtype, .dims = std::move(dims)};
}

std::vector<TensorSpec> Outputs() {
  const Dim rows{.symbol = "N"};
  return {Spec("score", DType::kFloat, {rows}),
          Spec("weight", DType::kDouble, {rows, {.extent = 1}}),
          Spec("count", DType::kInt64, {rows}),
          Spec("rank", DType::kInt32, {rows, {.extent = 1}}),
          Spec("flag", DType::kBool, {rows}),
          Spec("domain", DType::kString, {rows}),
          Spec("other", DType::kString, {rows}),
          Spec("p", DType::kFloat, {rows, {.extent = kColumns}}),
          Spec("votes", DType::kInt64, {rows, {.symbol = "C"}})};
}

std::vector<Tensor> Inputs(const std::vector<Row>& rows) {
  const auto n = static_cast<int64_t>(rows.size());
  const auto column = [&](DType dtype, Shape shape, const auto& get) {
    using Element = std::decay_t<decltype(get(rows[0]))>;
    std::string bytes;
    for (const Row& row : rows) {
      const Element value = get(row);
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    return Tensor::CopyOf(dtype, std::move(shape), bytes);
  };
  const auto words = [&](const auto& get) {
    std::vector<std::string> all;
    for (const Row& row : rows) all.push_back(get(row));
    return Tensor::OfStrings({n}, absl::MakeConstSpan(all));
  };
  std::string p, votes;
  for (const Row& row : rows) {
    p.append(reinterpret_cast<const char*>(row.p), sizeof row.p);
    votes.append(reinterpret_cast<const char*>(row.votes), sizeof row.votes);
  }
  return {column(DType::kFloat, {n}, [](const Row& r) { return r.score; }),
          column(DType::kDouble, {n, 1}, [](const Row& r) { return r.weight; }),
          column(DType::kInt64, {n}, [](const Row& r) { return r.count; }),
          column(DType::kInt32, {n, 1}, [](const Row& r) { return r.rank; }),
          column(DType::kBool, {n}, [](const Row& r) { return r.flag; }),
          words([](const Row& r) { return r.domain; }),
          words([](const Row& r) { return r.other; }),
          Tensor::CopyOf(DType::kFloat, {n, kColumns}, p),
          Tensor::CopyOf(DType::kInt64, {n, kColumns}, votes)};
}

/// A session that computes `text`; null with a failure where it cannot be. `compile`: what of it.
std::unique_ptr<Session> Compile(absl::string_view text, int64_t opset, int64_t ml_opset = 3,
                                 decltype(&CompileExpression) compile = &CompileExpression) {
  ModelBuilder model;
  model.Opset("", opset).Opset("ai.onnx.ml", ml_opset).IrVersion(opset >= 19 ? 9 : 8);
  const std::vector<TensorSpec> outputs = Outputs();
  for (const TensorSpec& spec : outputs) {
    ModelShape shape;
    for (const Dim& dim : spec.dims) shape.push_back(dim.extent >= 0 ? ModelDim(dim.extent) : dim.symbol.c_str());
    model.Input(spec.graph_name, spec.dtype, shape);
  }
  const auto expression = Expression::Parse(text);
  EXPECT_TRUE(expression.ok()) << expression.status();
  if (!expression.ok()) return nullptr;
  OpWriter ops(model.graph(), "ops/", opset, ml_opset);
  const auto condition = compile(*expression, outputs, ops);
  EXPECT_TRUE(condition.ok()) << condition.status();
  if (!condition.ok()) return nullptr;
  // Only the name: the type is what comes of it.
  model.graph().add_output()->set_name(*condition);
  Session::Options options;
  options.name = std::string(text);
  auto session = Session::Create(model.Serialize(), {}, options);
  EXPECT_TRUE(session.ok()) << text << ": " << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

std::vector<bool> Evaluate(Session& session, const std::vector<Row>& rows) {
  const auto outputs = session.Run(Inputs(rows));
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  if (!outputs.ok()) return {};
  EXPECT_EQ((*outputs)[0].dtype(), DType::kBool);
  EXPECT_EQ((*outputs)[0].shape(), Shape({static_cast<int64_t>(rows.size())}));
  const auto data = (*outputs)[0].data<bool>();
  return std::vector<bool>(data.begin(), data.end());
}

std::vector<Row> RandomRows(size_t count, uint64_t seed) {
  std::mt19937_64 bits(seed);
  const auto below = [&](uint64_t end) { return bits() % end; };
  const float special[] = {kNan, kInfinity, -kInfinity, 0, -0.0f, 0.5f, 1};
  const auto any = [&] {
    if (below(4) == 0) return special[below(std::size(special))];
    return static_cast<float>(below(2001)) / 1000.0f - (below(2) == 0 ? 1.0f : 0.0f);
  };
  const char* const words[] = {"example.com", "example.org", "", "größe", "EXAMPLE.COM"};
  std::vector<Row> rows(count);
  for (Row& row : rows) {
    row.score = any();
    row.weight = any();
    row.count = static_cast<int64_t>(below(11)) - 5;
    row.rank = static_cast<int32_t>(below(5));
    row.flag = below(2) == 1;
    row.domain = words[below(std::size(words))];
    row.other = words[below(std::size(words))];
    // Half of them probabilities.
    const bool probabilities = below(2) == 0;
    float sum = 0;
    for (float& p : row.p) sum += p = probabilities ? static_cast<float>(below(5)) : any();
    for (float& p : row.p) p = probabilities && sum > 0 ? p / sum : p;
    for (int64_t& vote : row.votes) vote = static_cast<int64_t>(below(4)) - 1;
  }
  return rows;
}

// What functions of a row mean, written down plainly.

template <typename T>
bool HasNan(const T (&x)[kColumns]) {
  return std::any_of(std::begin(x), std::end(x), [](T value) { return std::isnan(static_cast<double>(value)); });
}
float MaxOf(const float (&x)[kColumns]) { return HasNan(x) ? kNan : *std::max_element(std::begin(x), std::end(x)); }
float MinOf(const float (&x)[kColumns]) { return HasNan(x) ? kNan : *std::min_element(std::begin(x), std::end(x)); }
int64_t ArgMaxOf(const float (&x)[kColumns]) {
  return HasNan(x) ? -1 : std::max_element(std::begin(x), std::end(x)) - std::begin(x);
}
template <typename T>
T MarginOf(const T (&x)[kColumns]) {
  if (HasNan(x)) return static_cast<T>(kNan);
  std::vector<T> sorted(std::begin(x), std::end(x));
  std::sort(sorted.rbegin(), sorted.rend());
  return sorted[0] - sorted[1];
}
double Plogp(double p) { return p == 0 ? 0 : p * std::log(std::max<double>(p, std::numeric_limits<float>::min())); }
double EntropyOf(const float (&x)[kColumns]) {
  if (HasNan(x)) return kNan;
  double sum = 0;
  for (const float p : x) sum -= Plogp(p);
  return sum;
}
/// value > limit, if it is not too near to tell.
std::optional<bool> Above(double value, double limit) {
  if (std::abs(value - limit) < 1e-4) return std::nullopt;
  return value > limit;
}

struct Case {
  const char* text;
  std::function<std::optional<bool>(const Row&)> want;
};

const Case kCases[] = {
    {"score > 0.1 && score < 0.9", [](const Row& r) { return r.score > 0.1f && r.score < 0.9f; }},
    {"!(score <= 0.1 || score >= 0.9)", [](const Row& r) { return !(r.score <= 0.1f || r.score >= 0.9f); }},
    {"score != score", [](const Row& r) { return r.score != r.score; }},
    {"score == 0.5", [](const Row& r) { return r.score == 0.5f; }},
    {"score >= weight", [](const Row& r) { return static_cast<double>(r.score) >= r.weight; }},
    {"weight * 2 - 1 < score / 4", [](const Row& r) { return r.weight * 2 - 1 < static_cast<double>(r.score / 4.0f); }},
    {"score > 1e300", [](const Row& r) { return static_cast<double>(r.score) > 1e300; }},
    {"count == 3 || count < -4", [](const Row& r) { return r.count == 3 || r.count < -4; }},
    {"count > 2.5", [](const Row& r) { return static_cast<double>(r.count) > 2.5; }},
    {"count / 2 == 1.5", [](const Row& r) { return static_cast<double>(r.count) / 2 == 1.5; }},
    {"count / rank > 1", [](const Row& r) { return static_cast<double>(r.count) / r.rank > 1; }},
    {"count * rank - 2 >= rank + 1", [](const Row& r) { return r.count * r.rank - 2 >= r.rank + 1; }},
    {"-count > abs(count) - 1", [](const Row& r) { return -r.count > std::abs(r.count) - 1; }},
    {"(1 + 2) * 2 / 4 > score", [](const Row& r) { return 1.5f > r.score; }},
    {"abs(score - 0.5) < 0.25", [](const Row& r) { return std::abs(r.score - 0.5f) < 0.25f; }},
    {"flag", [](const Row& r) { return r.flag; }},
    {"!flag && true", [](const Row& r) { return !r.flag; }},
    {"flag == (score > 0)", [](const Row& r) { return r.flag == (r.score > 0); }},
    {"flag != (1 < 2)", [](const Row& r) { return !r.flag; }},
    {"domain == \"example.com\"", [](const Row& r) { return r.domain == "example.com"; }},
    {"'größe' != domain || other == ''", [](const Row& r) { return r.domain != "größe" || r.other.empty(); }},
    {"max(p) < 0.6", [](const Row& r) { return MaxOf(r.p) < 0.6f; }},
    {"min(p) >= 0", [](const Row& r) { return MinOf(r.p) >= 0; }},
    {"max(p) != max(p)", [](const Row& r) { return HasNan(r.p); }},
    {"isnan(p) || isnan(score)", [](const Row& r) { return HasNan(r.p) || std::isnan(r.score); }},
    {"argmax(p) == 2", [](const Row& r) { return ArgMaxOf(r.p) == 2; }},
    {"argmax(p) == -1", [](const Row& r) { return HasNan(r.p); }},
    {"margin(p) < 0.2", [](const Row& r) { return MarginOf(r.p) < 0.2f; }},
    {"margin(votes) == 0", [](const Row& r) { return MarginOf(r.votes) == 0; }},
    {"max(votes) - min(votes) > 2",
     [](const Row& r) {
       const auto [least, most] = std::minmax_element(std::begin(r.votes), std::end(r.votes));
       return *most - *least > 2;
     }},
    {"p[1] > p[0] && votes[3] == 1", [](const Row& r) { return r.p[1] > r.p[0] && r.votes[3] == 1; }},
    {"max(abs(p - score)) > 0.5",
     [](const Row& r) {
       float most = 0;
       for (const float p : r.p) {
         if (std::isnan(p - r.score)) return false;
         most = std::max(most, std::abs(p - r.score));
       }
       return most > 0.5f;
     }},
    {"entropy(p) > 0.7", [](const Row& r) { return Above(EntropyOf(r.p), 0.7); }},
    {"entropy(score) > 0.3", [](const Row& r) { return Above(-Plogp(r.score) - Plogp(1.0f - r.score), 0.3); }},
    {"margin(score) > 0.4",
     [](const Row& r) -> std::optional<bool> {
       const float rest = 1.0f - r.score;
       return std::max(r.score, rest) - std::min(r.score, rest) > 0.4f;
     }},
    {"softmax(p)[0] > 0.3",
     [](const Row& r) -> std::optional<bool> {
       double sum = 0;
       const double most = MaxOf(r.p);
       for (const float p : r.p) sum += std::exp(p - most);
       return Above(std::exp(r.p[0] - most) / sum, 0.3);
     }},
};

TEST(ExpressionCompilerTest, EqualsAPlainReference) {
  const std::vector<Row> rows = RandomRows(2000, 7);
  for (const int64_t opset : {int64_t{13}, int64_t{17}, int64_t{19}}) {
    for (const Case& one : kCases) {
      SCOPED_TRACE(absl::StrCat(one.text, " in opset ", opset));
      const auto session = Compile(one.text, opset);
      ASSERT_NE(session, nullptr);
      const std::vector<bool> got = Evaluate(*session, rows);
      ASSERT_EQ(got.size(), rows.size());
      size_t held = 0, compared = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        const std::optional<bool> want = one.want(rows[i]);
        if (!want.has_value()) continue;
        ++compared;
        held += *want;
        ASSERT_EQ(got[i], *want) << "row " << i << ": score " << rows[i].score << ", weight " << rows[i].weight
                                 << ", count " << rows[i].count << ", p " << rows[i].p[0] << " " << rows[i].p[1] << " "
                                 << rows[i].p[2] << " " << rows[i].p[3];
      }
      // Both answers come up: otherwise the case would say little.
      EXPECT_GT(compared, rows.size() / 2);
      EXPECT_GT(held, 0u);
      EXPECT_LT(held, compared);
    }
  }
}

TEST(ExpressionCompilerTest, NoRowsAndOneRow) {
  for (const char* text : {"score > 0.1", "margin(p) < 0.2 || domain == 'a'", "entropy(p) > 1", "argmax(votes) == 1"}) {
    const auto session = Compile(text, 17);
    ASSERT_NE(session, nullptr);
    EXPECT_TRUE(Evaluate(*session, {}).empty());
    EXPECT_EQ(Evaluate(*session, RandomRows(1, 3)).size(), 1u);
  }
}

TEST(ExpressionCompilerTest, ConditionKeepsTheSymbolOfRows) {
  // Without it its segment would not be batched.
  for (const char* text : {"score > 0.1", "margin(p) < 0.2", "domain == 'a'", "entropy(score) > weight[0]"}) {
    const auto session = Compile(text, 17);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(session->outputs()[0].ToString(), "bool[N]") << text;
  }
}

TEST(ExpressionCompilerTest, TextOfTwoOutputsFromOpset19On) {
  const std::vector<Row> rows = RandomRows(200, 5);
  const auto session = Compile("domain == other", 19);
  ASSERT_NE(session, nullptr);
  const std::vector<bool> got = Evaluate(*session, rows);
  ASSERT_EQ(got.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(got[i], rows[i].domain == rows[i].other);
  const auto old = Expression::Parse("domain == other");
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(
      CheckExpression(*old, Outputs(), 17).message(),
      "condition 'domain == other': at column 8: got text of two outputs in a model of opset 17, want opset 19 or "
      "later; export the model for it");
}

TEST(ExpressionCompilerTest, TextInModelsOfTheFirstMlOpset) {
  const std::vector<Row> rows = RandomRows(100, 5);
  const auto session = Compile("domain == 'example.com' || domain == ''", 17, 1);
  ASSERT_NE(session, nullptr);
  const std::vector<bool> got = Evaluate(*session, rows);
  ASSERT_EQ(got.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(got[i], rows[i].domain == "example.com" || rows[i].domain.empty());
}

TEST(ExpressionCompilerTest, SaysWhatDoesNotFit) {
  const auto error_of = [](absl::string_view text) {
    const auto expression = Expression::Parse(text);
    EXPECT_TRUE(expression.ok()) << expression.status();
    const absl::Status status = CheckExpression(*expression, Outputs());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    const size_t begin = absl::StrCat("condition '", text, "': ").size();
    return std::string(status.message()).substr(std::min(begin, status.message().size()));
  };
  EXPECT_EQ(
      error_of("scroe > 0.1"),
      "at column 1: got name 'scroe', want one of the outputs: score, weight, count, rank, flag, domain, other, p, "
      "votes");
  EXPECT_EQ(
      error_of("score > 0.1 && entropie(p) < 1"),
      "at column 16: got function 'entropie', want one of abs, argmax, entropy, isnan, margin, max, min, softmax");
  EXPECT_EQ(error_of("score"),
            "at column 1: got one number per row, want one truth value per row; compare it, as in 'x > 0.5'");
  EXPECT_EQ(error_of("p > 0.5"),
            "at column 3: got a row of numbers and a constant number, want one value per row on both sides; take a "
            "column, as in 'x[0]', or use abs, argmax, entropy, isnan, margin, max, min, softmax");
  EXPECT_EQ(error_of("domain > 'a'"),
            "at column 8: got one text per row and a constant text, want numbers; text and "
            "truth values are equal or not");
  EXPECT_EQ(error_of("domain == 3"), "at column 8: got one text per row and a constant number, want two of a kind");
  EXPECT_EQ(error_of("!score"), "at column 1: got one number per row, want one truth value per row on its right");
  EXPECT_EQ(error_of("flag && score"),
            "at column 6: got one number per row, want one truth value per row on both sides");
  EXPECT_EQ(error_of("domain + 1 > 2"), "at column 8: got one text per row and a constant number, want numbers");
  EXPECT_EQ(error_of("1 < 2"),
            "at column 3: got a constant truth value, want a condition over the outputs (score, "
            "weight, count, rank, flag, domain, other, p, votes)");
  EXPECT_EQ(error_of("p[4] > 0"), "at column 2: got column 4 of a row of numbers, want one below 4");
  EXPECT_EQ(error_of("score[1] > 0"), "at column 6: got column 1 of one number per row, want one below 1");
  EXPECT_EQ(error_of("max(domain) > 1"), "at column 1: max: got one text per row, want numbers of an output");
  EXPECT_EQ(error_of("max(3) > 1"), "at column 1: max: got a constant number, want numbers of an output");
  EXPECT_EQ(error_of("isnan(count)"),
            "at column 1: isnan: got one number per row, want floating-point numbers: integers are never NaN");
  for (const char* name : {"margin", "entropy"}) {
    EXPECT_EQ(error_of(absl::StrCat(name, "(count) < 0.3")),
              absl::StrCat("at column 1: ", name,
                           ": got one number per row, want a row of numbers, or one probability "
                           "per row: an integer, such as a label, is none"));
  }
  EXPECT_EQ(error_of("max(p + votes[0] * softmax(p)) > 1 / 0"),
            "at column 36: got the constant inf, want a finite one");
  EXPECT_EQ(error_of("'a' == 'b'"), "at column 5: got two constants, want an output on one side");
  EXPECT_EQ(error_of("softmax(score)[0] > 1"), "at column 1: softmax: got one number per row, want a row of numbers");
}

TEST(ExpressionCompilerTest, OutputsThatAreNoRowsOfValues) {
  const Dim rows{.symbol = "N"};
  std::vector<TensorSpec> outputs = {Spec("map", DType::kFloat, {rows, {.extent = 2}, {.extent = 2}}),
                                     Spec("scalar", DType::kFloat, {}), Spec("complex", DType::kComplex64, {rows}),
                                     Spec("five", DType::kFloat, {rows, {.extent = 5}}),
                                     Spec("four", DType::kFloat, {rows, {.extent = 4}})};
  outputs.push_back(Spec("any", DType::kFloat, {}));
  outputs.back().has_rank = false;
  const auto error_of = [&](absl::string_view text) {
    return std::string(CheckExpression(*Expression::Parse(text), outputs).message());
  };
  for (const char* name : {"map", "scalar", "complex", "any"}) {
    EXPECT_THAT(error_of(absl::StrCat("max(", name, ") > 1")),
                HasSubstr("want numbers, text or truth values, one or a row of them for each row: [N] or [N,C]"));
  }
  EXPECT_THAT(error_of("max(five - four) > 0"), HasSubstr("at column 10: got rows of 5 and of 4, want equally many"));
}

TEST(ExpressionCompilerTest, MarginsSayHowFarConditionsAreFromNotHolding) {
  const std::vector<Row> rows = RandomRows(400, 11);
  for (const Case& one : kCases) {
    const auto condition = Compile(one.text, 19), margin = Compile(one.text, 19, 3, &CompileMargin);
    ASSERT_TRUE(condition != nullptr && margin != nullptr) << one.text;
    const std::vector<bool> holds = Evaluate(*condition, rows);
    const auto margins = margin->Run(Inputs(rows));
    ASSERT_TRUE(margins.ok()) << one.text << ": " << margins.status();
    ASSERT_EQ((*margins)[0].dtype(), DType::kFloat) << one.text;
    ASSERT_EQ((*margins)[0].shape(), Shape({static_cast<int64_t>(rows.size())})) << one.text;
    for (size_t row = 0; row < rows.size(); ++row) {
      const float far = (*margins)[0].data<float>()[row];
      EXPECT_FALSE(holds[row] ? far < 0 : far > 0) << one.text << " row " << row << ": " << far;
    }
  }
}

TEST(ExpressionCompilerTest, MarginsAreInTheUnitOfWhatIsCompared) {
  Row row{};
  row.score = 0.25F;
  row.count = 3;
  row.domain = "example.com";
  std::copy_n(std::begin({0.5F, 0.375F, 0.125F, 0.0F}), kColumns, row.p);
  const std::pair<const char*, float> cases[] = {{"score > 0.125 && score < 0.5", 0.125F},
                                                 {"score < 0.125 || count > 1", 2},
                                                 {"!(score > 1)", 0.75F},
                                                 {"margin(p) < 0.25", 0.125F},
                                                 {"score == 1", -0.75F},
                                                 {"domain == 'example.com' && score < 1", 0.75F},
                                                 {"domain != 'example.com' || score > 1", -0.75F},
                                                 {"isnan(score) || flag", -1e30F}};
  for (const auto& [text, want] : cases) {
    const auto session = Compile(text, 17, 3, &CompileMargin);
    ASSERT_NE(session, nullptr) << text;
    EXPECT_EQ((*session->Run(Inputs({row})))[0].data<float>()[0], want) << text;
  }
  const auto number = Compile("count * 2 - margin(p)", 17, 3, &CompileNumber);
  ASSERT_NE(number, nullptr);
  EXPECT_EQ((*number->Run(Inputs({row})))[0].data<float>()[0], 5.875F);
}

TEST(ExpressionCompilerTest, WhatIsNoNumber) {
  for (const auto& [text, got] : {std::pair<const char*, const char*>{"score > 1", "one truth value per row"},
                                  {"p", "a row of numbers"},
                                  {"1 + 1", "a constant number"},
                                  {"domain", "one text per row"}}) {
    onnx::GraphProto graph;
    OpWriter ops(graph, "ops/", 17, 3);
    const auto number = CompileNumber(*Expression::Parse(text), Outputs(), ops);
    EXPECT_THAT(number.status().message(), HasSubstr(absl::StrCat("got ", got, ", want one number per row"))) << text;
  }
}

}  // namespace
}  // namespace portico
