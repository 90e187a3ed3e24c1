#include "models/split/embedding_lookups.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/models/split/embedding_fixture.h"

namespace portico {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Tensor Axes(int64_t axis) { return Tensor::Of<int64_t>({1}, {axis}); }

/// ids [N,3] in a table of 50 rows of 8.
ModelBuilder WithTable() {
  ModelBuilder model;
  model.Input("ids", DType::kInt64, {"N", 3}).Initializer("table", TableValues(50, 8));
  return model;
}

TEST(EmbeddingLookupsTest, AGatherAloneGivesARowForEachId) {
  const EmbeddingRewriting got(WithTable()
                                   .Node("Gather", {"table", "ids"}, {"rows"})
                                   .Node("Tanh", {"rows"}, {"y"})
                                   .Output("y", DType::kFloat, {"N", 3, 8}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag", "Tanh"));
  EXPECT_EQ(got.Attribute("target"), "group");
  EXPECT_EQ(got.Attribute("tables"), "table");
  EXPECT_EQ(got.Attribute("dims"), "8");
  EXPECT_EQ(got.Attribute("poolings"), "none");
  EXPECT_EQ(got.Attribute("output_shapes"), "N,3,8");
  EXPECT_EQ(got.rewritten->weight_bytes(), 0u);
}

TEST(EmbeddingLookupsTest, AReduceOverTheBagIsThePortals) {
  for (const char* reduce : {"ReduceSum", "ReduceMean"}) {
    for (const int64_t axis : {1, -2}) {
      for (const int64_t keepdims : {0, 1}) {
        ModelBuilder model = WithTable();
        model.Opset("", 18)
            .Initializer("axes", Axes(axis))
            .Node("Gather", {"table", "ids"}, {"rows"})
            .Node(reduce, {"rows", "axes"}, {"pooled"}, {Int("keepdims", keepdims)})
            .Node("Tanh", {"pooled"}, {"y"})
            .OutputWithoutRank("y", DType::kFloat);
        const EmbeddingRewriting got(model);
        ASSERT_TRUE(got.status.ok()) << got.status;
        EXPECT_EQ(got.Attribute("poolings"), std::string(reduce) == "ReduceSum" ? "sum" : "mean");
        EXPECT_EQ(got.Attribute("output_shapes"), "N,8");
        std::vector<std::string> want = {"EmbeddingBag", "Unsqueeze", "Tanh"};
        if (keepdims == 0) want.erase(want.begin() + 1);
        std::vector<std::string> ops = OpTypes(*got.rewritten);
        std::erase(ops, "Constant");
        EXPECT_EQ(ops, want);
      }
    }
  }
}

TEST(EmbeddingLookupsTest, AxesOfOldOperatorSetsAreAttributes) {
  const EmbeddingRewriting got(WithTable()
                                   .Opset("", 11)
                                   .Node("Gather", {"table", "ids"}, {"rows"})
                                   .Node("ReduceSum", {"rows"}, {"y"}, {Ints("axes", {1}), Int("keepdims", 1)})
                                   .Output("y", DType::kFloat, {"N", 1, 8}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag", "Unsqueeze"));
}

TEST(EmbeddingLookupsTest, AReduceOverAnotherAxisStays) {
  for (const int64_t axis : {0, 2}) {
    const EmbeddingRewriting got(WithTable()
                                     .Initializer("axes", Axes(axis))
                                     .Node("Gather", {"table", "ids"}, {"rows"})
                                     .Node("ReduceSum", {"rows", "axes"}, {"y"})
                                     .OutputWithoutRank("y", DType::kFloat));
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.Attribute("poolings"), "none");
    EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag", "ReduceSum"));
  }
}

TEST(EmbeddingLookupsTest, RowsThatOthersReadAreNotPooled) {
  const EmbeddingRewriting got(WithTable()
                                   .Initializer("axes", Axes(1))
                                   .Node("Gather", {"table", "ids"}, {"rows"})
                                   .Node("ReduceSum", {"rows", "axes"}, {"pooled"}, {Int("keepdims", 1)})
                                   .Node("Sub", {"rows", "pooled"}, {"y"})
                                   .Output("y", DType::kFloat, {"N", 3, 8}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.Attribute("poolings"), "none");
}

TEST(EmbeddingLookupsTest, AFactorForEachIdIsAWeight) {
  for (const bool unsqueezed : {true, false}) {
    ModelBuilder model = WithTable();
    model.Initializer("axes", Axes(1)).Initializer("last", Axes(2));
    if (unsqueezed) {
      model.Input("w", DType::kFloat, {"N", 3}).Node("Unsqueeze", {"w", "last"}, {"factor"});
    } else {
      model.Input("factor", DType::kFloat, {"N", 3, 1});
    }
    model.Node("Gather", {"table", "ids"}, {"rows"})
        .Node("Mul", {"factor", "rows"}, {"weighted"})
        .Node("ReduceSum", {"weighted", "axes"}, {"y"}, {Int("keepdims", 0)})
        .Output("y", DType::kFloat, {"N", 8});
    const EmbeddingRewriting got(model);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.Attribute("weighted"), "1");
    EXPECT_EQ(got.Attribute("poolings"), "sum");
    EXPECT_THAT(got.Inputs(), ElementsAre("ids", unsqueezed ? "w" : "factor/flat"));
  }
}

TEST(EmbeddingLookupsTest, AFactorThatIsSpreadOverIdsStays) {
  for (const ModelShape& shape : std::vector<ModelShape>{{"N", 1, 1}, {"N", 3, 8}, {8}, {1}}) {
    const EmbeddingRewriting got(WithTable()
                                     .Initializer("axes", Axes(1))
                                     .Input("factor", DType::kFloat, shape)
                                     .Node("Gather", {"table", "ids"}, {"rows"})
                                     .Node("Mul", {"rows", "factor"}, {"weighted"})
                                     .Node("ReduceSum", {"weighted", "axes"}, {"y"}, {Int("keepdims", 0)})
                                     .Output("y", DType::kFloat, {"N", 8}));
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.Attribute("poolings"), "none");
  }
}

TEST(EmbeddingLookupsTest, AMaskOfOneIdIsAPadding) {
  for (const bool greater : {true, false}) {
    ModelBuilder model = WithTable();
    model.Initializer("axes", Axes(1))
        .Initializer("last", Axes(-1))
        .Initializer("pad", Tensor::Of<int64_t>({}, {0}))
        .Node("Gather", {"table", "ids"}, {"rows"});
    if (greater) {
      model.Node("Greater", {"ids", "pad"}, {"is_id"});
    } else {
      model.Node("Equal", {"pad", "ids"}, {"is_pad"}).Node("Not", {"is_pad"}, {"is_id"});
    }
    model.Node("Unsqueeze", {"is_id", "last"}, {"column"})
        .Node("Cast", {"column"}, {"mask"}, {Int("to", 1)})
        .Node("Mul", {"rows", "mask"}, {"masked"})
        .Node("ReduceSum", {"masked", "axes"}, {"y"}, {Int("keepdims", 0)})
        .Output("y", DType::kFloat, {"N", 8});
    const EmbeddingRewriting got(model);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.Attribute("paddings"), "0");
    EXPECT_EQ(got.Attribute("weighted"), "0");
    EXPECT_THAT(got.Inputs(), ElementsAre("ids"));
    EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag"));
  }
}

TEST(EmbeddingLookupsTest, AMaskOfOtherIdsIsAWeight) {
  const EmbeddingRewriting got(WithTable()
                                   .Input("other", DType::kInt64, {"N", 3})
                                   .Initializer("axes", Axes(1))
                                   .Initializer("last", Axes(-1))
                                   .Initializer("pad", Tensor::Of<int64_t>({}, {1}))
                                   .Node("Gather", {"table", "ids"}, {"rows"})
                                   .Node("Equal", {"other", "pad"}, {"is_pad"})
                                   .Node("Not", {"is_pad"}, {"is_id"})
                                   .Node("Cast", {"is_id"}, {"mask"}, {Int("to", 1)})
                                   .Node("Unsqueeze", {"mask", "last"}, {"column"})
                                   .Node("Mul", {"rows", "column"}, {"masked"})
                                   .Node("ReduceSum", {"masked", "axes"}, {"y"}, {Int("keepdims", 0)})
                                   .Output("y", DType::kFloat, {"N", 8}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.Attribute("paddings"), "");
  EXPECT_THAT(got.Inputs(), ElementsAre("ids", "mask"));
}

TEST(EmbeddingLookupsTest, IdsThatWereMadeWiderGoAsTheyWere) {
  ModelBuilder model;
  model.Input("ids", DType::kInt32, {"N"})
      .Initializer("table", TableValues(50, 8))
      .Node("Cast", {"ids"}, {"wide"}, {Int("to", 7)})
      .Node("Gather", {"table", "wide"}, {"y"})
      .Output("y", DType::kFloat, {"N", 8});
  const EmbeddingRewriting got(model);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag"));
  EXPECT_THAT(got.Inputs(), ElementsAre("ids"));
}

TEST(EmbeddingLookupsTest, IndependentLookupsAreOneNodeAndOneThatNeedsTheirRowsIsAnother) {
  // y = c[argmax(a[x] + b[x])] + a[x]
  ModelBuilder model;
  model.Input("x", DType::kInt64, {"N"})
      .Initializer("a", TableValues(20, 8))
      .Initializer("b", TableValues(30, 8, 3))
      .Initializer("c", TableValues(10, 8, -1))
      .Node("Gather", {"a", "x"}, {"from_a"})
      .Node("Gather", {"b", "x"}, {"from_b"})
      .Node("Add", {"from_a", "from_b"}, {"sum"})
      .Node("ArgMax", {"sum"}, {"best"}, {Int("axis", 1), Int("keepdims", 0)})
      .Node("Gather", {"c", "best"}, {"from_c"})
      .Node("Add", {"from_c", "from_a"}, {"y"})
      .Output("y", DType::kFloat, {"N", 8});
  const EmbeddingRewriting got(model);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag", "Add", "ArgMax", "EmbeddingBag", "Add"));
  EXPECT_EQ(got.Attribute("tables", 0), "a,b");
  EXPECT_EQ(got.Attribute("tables", 1), "c");
}

TEST(EmbeddingLookupsTest, TwoLookupsInOneWeightAreInOneTable) {
  const EmbeddingRewriting got(WithTable()
                                   .Input("more", DType::kInt64, {"N", 3})
                                   .Node("Gather", {"table", "ids"}, {"a"})
                                   .Node("Gather", {"table", "more"}, {"b"})
                                   .Node("Mul", {"a", "b"}, {"y"})
                                   .Output("y", DType::kFloat, {"N", 3, 8}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.lookups->tables.size(), 1u);
  EXPECT_EQ(got.Attribute("tables"), "table,table");
}

TEST(EmbeddingLookupsTest, AWeightThatIsReadOtherwiseStays) {
  const EmbeddingRewriting got(WithTable()
                                   .Initializer("free", TableValues(40, 8, 2))
                                   .Node("Gather", {"table", "ids"}, {"rows"})
                                   .Node("Gather", {"free", "ids"}, {"other"})
                                   .Node("Add", {"rows", "other"}, {"both"})
                                   .Node("Transpose", {"table"}, {"back"})
                                   .Node("MatMul", {"both", "back"}, {"y"})
                                   .Output("y", DType::kFloat, {"N", 3, 50}));
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.Attribute("tables"), "free");
  EXPECT_THAT(got.lookups->notes,
              ElementsAre(HasSubstr("weight 'table' stays in the model: node 'back' (Transpose) reads it, too")));
  EXPECT_THAT(OpTypes(*got.rewritten), Contains("Gather"));
}

TEST(EmbeddingLookupsTest, HalfFloatTablesComeBackAsHalfFloat) {
  std::vector<uint16_t> bits(50 * 8);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(0x3c00 + i);  // from 1 on
  ModelBuilder model;
  model.Input("ids", DType::kInt64, {"N", 3})
      .Initializer("table", Tensor::CopyOf(DType::kFloat16, {50, 8},
                                           {reinterpret_cast<const char*>(bits.data()), bits.size() * 2}))
      .Node("Gather", {"table", "ids"}, {"y"})
      .Output("y", DType::kFloat16, {"N", 3, 8});
  const EmbeddingRewriting got(model);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), ElementsAre("EmbeddingBag", "Cast"));
}

TEST(EmbeddingLookupsTest, WhereThereIsNothingToTakeOutItSaysWhy) {
  const auto error = [](const ModelBuilder& model, uint64_t min_bytes = 64) {
    return std::string(EmbeddingRewriting(model, min_bytes).status.message());
  };
  EXPECT_THAT(error(DigitsLike()), HasSubstr("got no weight of 64 bytes or more that only lookups read"));
  ModelBuilder gather = WithTable();
  gather.Node("Gather", {"table", "ids"}, {"y"}).Output("y", DType::kFloat, {"N", 3, 8});
  EXPECT_THAT(error(gather, 1 << 20), HasSubstr("got no weight of 1048576 bytes or more"));
  ModelBuilder columns = WithTable();
  columns.Node("Gather", {"table", "ids"}, {"y"}, {Int("axis", 1)}).OutputWithoutRank("y", DType::kFloat);
  EXPECT_THAT(error(columns), HasSubstr("is no lookup along axis 0"));
  ModelBuilder fixed;
  fixed.Input("x", DType::kFloat, {"N", 8})
      .Initializer("table", TableValues(50, 8))
      .Initializer("ids", Tensor::Of<int64_t>({1}, {3}))
      .Node("Gather", {"table", "ids"}, {"row"})
      .Node("Add", {"x", "row"}, {"y"})
      .Output("y", DType::kFloat, {"N", 8});
  EXPECT_THAT(error(fixed), HasSubstr("by ids of the request"));
  ModelBuilder deep;
  deep.Input("ids", DType::kInt64, {"N"})
      .Initializer("table", Tensor::Of<float>({4, 2, 4}, absl::Span<const float>(std::vector<float>(32))))
      .Node("Gather", {"table", "ids"}, {"y"})
      .Output("y", DType::kFloat, {"N", 2, 4});
  EXPECT_THAT(error(deep), HasSubstr("got shape [4,2,4], want [rows, dim]"));
}

TEST(EmbeddingLookupsTest, AGatherInABodyStaysWithANote) {
  ModelBuilder body;
  body.Node("Gather", {"table", "ids"}, {"then"}).OutputWithoutRank("then", DType::kFloat);
  ModelBuilder other;
  other.Node("Identity", {"first"}, {"else"}).OutputWithoutRank("else", DType::kFloat);
  ModelBuilder model = WithTable();
  model.Input("flag", DType::kBool, {})
      .Initializer("free", TableValues(40, 8, 2))
      .Node("Gather", {"table", "ids"}, {"first"})
      .Node("Gather", {"free", "ids"}, {"second"})
      .Node("If", {"flag"}, {"third"},
            {Body("then_branch", body.BuildGraph()), Body("else_branch", other.BuildGraph())})
      .Node("Add", {"second", "third"}, {"y"})
      .Output("y", DType::kFloat, {"N", 3, 8});
  const EmbeddingRewriting got(model);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.Attribute("tables"), "free");
  EXPECT_THAT(got.lookups->notes, ElementsAre(HasSubstr("(If) reads it, too")));
}

/// Random graphs: up to five tables, lookups of any form, some of them by what others found.
class RandomEmbeddingGraphs : public ::testing::TestWithParam<int> {};

TEST_P(RandomEmbeddingGraphs, AnswerAsBefore) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto below = [&random](int limit) { return static_cast<int>(random() % static_cast<unsigned>(limit)); };
  ModelBuilder model;
  model.Opset("", 18).Initializer("bag", Axes(1)).Initializer("last", Axes(2)).Initializer("dims", Axes(1));
  const int tables = 1 + below(5);
  for (int t = 0; t < tables; ++t) {
    model.Initializer(absl::StrCat("table", t), TableValues(8 + below(90), 8, static_cast<float>(t)));
  }
  // Of [N,8]: each lookup adds one.
  std::vector<std::string> vectors;
  const int lookups = tables + below(4);
  for (int i = 0; i < lookups; ++i) {
    const std::string table = absl::StrCat("table", i < tables ? i : below(tables));
    const std::string name = absl::StrCat("l", i);
    const std::string out = absl::StrCat("v", i);
    if (!vectors.empty() && below(3) == 0) {
      // By the place of the largest of 8, of which every table has rows.
      model.Node("ArgMax", {vectors[static_cast<size_t>(below(static_cast<int>(vectors.size())))]}, {name + "_best"},
                 {Int("axis", 1), Int("keepdims", 0)});
      model.Node("Gather", {table, name + "_best"}, {out});
    } else {
      model.Input(name + "_ids", below(2) == 0 ? DType::kInt64 : DType::kInt32, {"N", 1 + below(4)});
      model.Node("Gather", {table, name + "_ids"}, {name + "_rows"});
      std::string rows = name + "_rows";
      if (below(3) == 0) {
        model.Node("Cast", {name + "_ids"}, {name + "_float"}, {Int("to", 1)})
            .Node("Cos", {name + "_float"}, {name + "_w"})
            .Node("Unsqueeze", {name + "_w", "last"}, {name + "_column"})
            .Node("Mul", {rows, name + "_column"}, {name + "_weighted"});
        rows = name + "_weighted";
      }
      model.Node(below(2) == 0 ? "ReduceSum" : "ReduceMean", {rows, "bag"}, {out}, {Int("keepdims", 0)});
    }
    vectors.push_back(out);
  }
  std::vector<std::string> all = vectors;
  model.Node("Sum", all, {"sum"}).Node("Tanh", {"sum"}, {"y"}).Output("y", DType::kFloat, {"N", 8});
  const EmbeddingRewriting got(model);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_THAT(OpTypes(*got.rewritten), Not(Contains("Gather")));
  EXPECT_EQ(got.lookups->tables.size(), static_cast<size_t>(tables));
  EXPECT_THAT(got.lookups->notes, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomEmbeddingGraphs, ::testing::Range(0, 40));

}  // namespace
}  // namespace portico
