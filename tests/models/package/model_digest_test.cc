#include <algorithm>

#include "gmock/gmock.h"
#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "models/package/model.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<Digest> TryDigest(const ModelBuilder& builder) {
  WeightStore store;
  absl::StatusOr<Model> model = Model::FromProto(builder.Build(), "", store);
  EXPECT_TRUE(model.ok()) << model.status();
  return ModelDigest(*model);
}

Digest DigestOf(const ModelBuilder& builder) {
  const absl::StatusOr<Digest> digest = TryDigest(builder);
  EXPECT_TRUE(digest.ok()) << digest.status();
  return digest.ok() ? *digest : Digest();
}

/// y = Softmax(x * w + b), names prefixed with `p`.
ModelBuilder Layer(const std::string& p, float bias = 3) {
  ModelBuilder builder;
  builder.Input(p + "x", DType::kFloat, {"N", 2}).Output(p + "y", DType::kFloat, {"N", 2});
  builder.Initializer(p + "w", {2, 2}, {1, 2, 3, 4}).Initializer(p + "b", {2}, {bias, 4});
  builder.Node("MatMul", {p + "x", p + "w"}, {p + "m"}).Node("Add", {p + "m", p + "b"}, {p + "a"});
  builder.Node("Softmax", {p + "a"}, {p + "y"}, {Int("axis", -1)});
  return builder;
}

TEST(ModelDigestTest, NamesOrderAndUnusedNodesDoNotCount) {
  const Digest digest = DigestOf(Layer(""));
  EXPECT_EQ(DigestOf(Layer("other_")), digest);

  ModelBuilder reversed = Layer("");
  auto* nodes = reversed.graph().mutable_node();
  std::reverse(nodes->pointer_begin(), nodes->pointer_end());
  EXPECT_EQ(DigestOf(reversed), digest);

  ModelBuilder more = Layer("");
  more.Initializer("unused_w", {1}, {9}).Node("Relu", {"a"}, {"unused"}).Opset("ai.onnx.ml", 3);
  more.graph().mutable_node(0)->set_name("named");
  more.graph().mutable_node(0)->set_doc_string("documented");
  more.graph().set_name("another");
  EXPECT_EQ(DigestOf(more), digest);
}

TEST(ModelDigestTest, WhatIsComputedCounts) {
  const Digest digest = DigestOf(Layer(""));
  EXPECT_NE(DigestOf(Layer("", 5)), digest) << "a weight";

  ModelBuilder op = Layer("");
  op.graph().mutable_node(2)->set_op_type("LogSoftmax");
  EXPECT_NE(DigestOf(op), digest) << "an op";

  ModelBuilder attribute = Layer("");
  attribute.graph().mutable_node(2)->mutable_attribute(0)->set_i(0);
  EXPECT_NE(DigestOf(attribute), digest) << "an attribute";

  ModelBuilder edge = Layer("");
  edge.graph().mutable_node(1)->set_input(0, "b");
  EXPECT_NE(DigestOf(edge), digest) << "an edge";

  ModelBuilder dtype = Layer("");
  dtype.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::DOUBLE);
  EXPECT_NE(DigestOf(dtype), digest) << "an input's dtype";

  ModelBuilder opset = Layer("");
  opset.Opset("", 13);
  EXPECT_NE(DigestOf(opset), digest) << "the opset";

  ModelBuilder output = Layer("");
  output.Output("a", DType::kFloat, {"N", 2});
  EXPECT_NE(DigestOf(output), digest) << "an output more";

  ModelBuilder input = Layer("");
  input.Input("z", DType::kFloat, {"N"});
  EXPECT_NE(DigestOf(input), digest) << "an input more, though unused";
}

TEST(ModelDigestTest, OrderOfInputsAndOutputsCounts) {
  const auto subtract = [](const std::string& first, const std::string& second) {
    ModelBuilder builder;
    builder.Input("a", DType::kFloat, {"N"}).Input("b", DType::kFloat, {"N"});
    builder.Output("y", DType::kFloat, {"N"}).Output("z", DType::kFloat, {"N"});
    return builder.Node("Sub", {first, second}, {"y"}).Node("Mul", {"a", "b"}, {"z"});
  };
  EXPECT_NE(DigestOf(subtract("a", "b")), DigestOf(subtract("b", "a")));
  ModelBuilder swapped = subtract("a", "b");
  swapped.graph().mutable_output()->SwapElements(0, 1);
  EXPECT_NE(DigestOf(swapped), DigestOf(subtract("a", "b")));
}

TEST(ModelDigestTest, ConstantNodesCountAsInitializersDo) {
  const auto with = [](Attrs constant) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    return builder.Node("Constant", {}, {"c"}, std::move(constant)).Node("Add", {"x", "c"}, {"y"});
  };
  const auto with_initializer = [](const Tensor& tensor) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Initializer("w", tensor);
    return builder.Node("Add", {"x", "w"}, {"y"});
  };
  const Tensor list = Tensor::Of<float>({2}, {1, 2});
  EXPECT_EQ(DigestOf(with({Value("value", list)})), DigestOf(with_initializer(list)));
  EXPECT_EQ(DigestOf(with({Floats("value_floats", {1, 2})})), DigestOf(with_initializer(list)));
  EXPECT_EQ(DigestOf(with({Float("value_float", 1)})), DigestOf(with_initializer(Tensor::Of<float>({}, {1}))));
  EXPECT_EQ(DigestOf(with({Int("value_int", 1)})), DigestOf(with_initializer(Tensor::Of<int64_t>({}, {1}))));
  EXPECT_EQ(DigestOf(with({Ints("value_ints", {1, 2})})), DigestOf(with_initializer(Tensor::Of<int64_t>({2}, {1, 2}))));
  EXPECT_EQ(DigestOf(with({String("value_string", "s")})),
            DigestOf(with_initializer(Tensor::OfStrings({}, std::vector<std::string>{"s"}))));
  EXPECT_EQ(DigestOf(with({Strings("value_strings", {"s", ""})})),
            DigestOf(with_initializer(Tensor::OfStrings({2}, std::vector<std::string>{"s", ""}))));
  EXPECT_NE(DigestOf(with({Value("value", list)})), DigestOf(with_initializer(Tensor::Of<float>({2}, {1, 3}))));
}

TEST(ModelDigestTest, EncodingOfTensorsDoesNotCount) {
  ModelBuilder raw = Layer("");
  ModelBuilder typed = Layer("");
  onnx::TensorProto* b = typed.graph().mutable_initializer(1);
  b->clear_raw_data();
  b->add_float_data(3);
  b->add_float_data(4);
  EXPECT_EQ(DigestOf(raw), DigestOf(typed));

  const auto of_shape = [](bool as_raw) {
    ModelBuilder builder;
    builder.Input("x", DType::kInt64, {1}).Output("y", DType::kFloat, {"N"});
    onnx::AttributeProto value = Value("value", Tensor::Of<float>({1}, {2}));
    if (!as_raw) {
      value.mutable_t()->clear_raw_data();
      value.mutable_t()->add_float_data(2);
      value.mutable_t()->set_name("named");
    }
    return builder.Node("ConstantOfShape", {"x"}, {"y"}, {value});
  };
  EXPECT_EQ(DigestOf(of_shape(true)), DigestOf(of_shape(false)));
}

TEST(ModelDigestTest, SpellingsOfTheSameThingAreOne) {
  const Digest digest = DigestOf(Layer(""));
  ModelBuilder domain = Layer("");
  domain.Opset("ai.onnx", 17);
  for (onnx::NodeProto& node : *domain.graph().mutable_node()) node.set_domain("ai.onnx");
  EXPECT_EQ(DigestOf(domain), digest);

  ModelBuilder tail = Layer("");
  tail.graph().mutable_node(1)->add_input("");
  tail.graph().mutable_node(1)->add_output("");
  EXPECT_EQ(DigestOf(tail), digest);

  const auto pool = [](Attrs attrs) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {1, 1, 8, 8}).OutputWithoutRank("y", DType::kFloat);
    return builder.Node("MaxPool", {"x"}, {"y"}, std::move(attrs));
  };
  EXPECT_EQ(DigestOf(pool({Ints("kernel_shape", {2, 2}), String("auto_pad", "VALID")})),
            DigestOf(pool({String("auto_pad", "VALID"), Ints("kernel_shape", {2, 2})})));
  EXPECT_NE(DigestOf(pool({Ints("kernel_shape", {2, 2})})), DigestOf(pool({Ints("kernel_shape", {2, 3})})));
}

TEST(ModelDigestTest, SharedComputationEqualsARepeatedOneUnlessItIsRandom) {
  const auto sum = [](const std::string& op, bool twice) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    builder.Node(op, {"x"}, {"a"}).Node(op, {"x"}, {"b"});
    return builder.Node("Add", {"a", twice ? "b" : "a"}, {"y"});
  };
  EXPECT_EQ(DigestOf(sum("Relu", true)), DigestOf(sum("Relu", false)));
  EXPECT_NE(DigestOf(sum("RandomNormalLike", true)), DigestOf(sum("RandomNormalLike", false)));
}

TEST(ModelDigestTest, PortalsCountByTargetNotByNames) {
  const auto portal = [](const std::string& target, Attrs attrs, const std::string& shape = "N,2") {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N", 2}).Output("y", DType::kFloat, {"N", 2});
    return builder.Portal("Remote", target, {"x"}, {"y"}, {DType::kFloat}, {shape}, std::move(attrs));
  };
  const Digest digest = DigestOf(portal("hub/a", {}));
  EXPECT_EQ(DigestOf(portal("hub/a", {Strings("input_names", {"p"}), Strings("output_names", {"q"})})), digest);
  EXPECT_NE(DigestOf(portal("hub/b", {})), digest);
  EXPECT_NE(DigestOf(portal("hub/a", {String("digest", std::string(64, 'a'))})), digest);
  EXPECT_NE(DigestOf(portal("hub/a", {String("signature", "other")})), digest);
  EXPECT_NE(DigestOf(portal("hub/a", {Ints("output_dtypes", {11})})), digest);
  EXPECT_NE(DigestOf(portal("hub/a", {}, "N,3")), digest);
}

TEST(ModelDigestTest, OtherOpsCountByEveryAttribute) {
  const auto custom = [](const std::string& value) {
    ModelBuilder builder;
    builder.Opset("else", 1).Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    return builder.Node("Op", {"x"}, {"y"}, {Strings("input_names", {value})}, "else");
  };
  EXPECT_NE(DigestOf(custom("a")), DigestOf(custom("b")));
}

/// If with bodies that read `captured` of the outer graph.
ModelBuilder Branch(const std::string& p, const std::string& op, const std::string& captured) {
  const auto body = [&](const std::string& body_op) {
    ModelBuilder inner;
    inner.Initializer(p + "one", {1}, {1});
    inner.Node(body_op, {p + captured, p + "one"}, {p + "r"}).Output(p + "r", DType::kFloat, {"N"});
    return inner.BuildGraph();
  };
  ModelBuilder builder;
  builder.Input(p + "b", DType::kBool, {}).Input(p + "x", DType::kFloat, {"N"}).Output(p + "y", DType::kFloat, {"N"});
  builder.Node("If", {p + "b"}, {p + "y"}, {Body("then_branch", body(op)), Body("else_branch", body("Sub"))});
  builder.Node("Relu", {p + "x"}, {p + "h"}).Node("Neg", {p + "x"}, {p + "g"});
  return builder;
}

TEST(ModelDigestTest, BodiesCountWithWhatTheyCapture) {
  const Digest digest = DigestOf(Branch("", "Add", "h"));
  EXPECT_EQ(DigestOf(Branch("q", "Add", "h")), digest);
  EXPECT_NE(DigestOf(Branch("", "Mul", "h")), digest);
  EXPECT_NE(DigestOf(Branch("", "Add", "g")), digest);
}

TEST(ModelDigestTest, BodiesWithinBodiesCaptureToo) {
  const auto wrap = [](onnx::GraphProto body) {
    ModelBuilder outer;
    outer.Node("If", {"b"}, {"r"}, {Body("then_branch", body), Body("else_branch", body)});
    return outer.Output("r", DType::kFloat, {"N"});
  };
  const auto model = [&](const std::string& captured) {
    ModelBuilder innermost;
    innermost.Node("Abs", {captured}, {"r"}).Output("r", DType::kFloat, {"N"});
    ModelBuilder builder = wrap(wrap(innermost.BuildGraph()).BuildGraph());
    builder.Input("b", DType::kBool, {}).Input("x", DType::kFloat, {"N"});
    return builder.Node("Relu", {"x"}, {"h"}).Node("Neg", {"x"}, {"g"});
  };
  EXPECT_EQ(DigestOf(model("h")), DigestOf(model("h")));
  EXPECT_NE(DigestOf(model("h")), DigestOf(model("g")));
}

TEST(ModelDigestTest, InputsOfABodyAreNotThoseOfTheGraph) {
  const auto scan = [](const std::string& used) {
    ModelBuilder body;
    body.Input("s", DType::kFloat, {}).Input("e", DType::kFloat, {});
    body.Node("Add", {"s", used}, {"n"}).Node("Identity", {"n"}, {"o"});
    body.Output("n", DType::kFloat, {}).Output("o", DType::kFloat, {});
    ModelBuilder builder;
    builder.Input("first", DType::kFloat, {}).Input("seq", DType::kFloat, {"T"});
    builder.Output("last", DType::kFloat, {}).Output("all", DType::kFloat, {"T"});
    return builder.Node("Scan", {"first", "seq"}, {"last", "all"},
                        {Body("body", body.BuildGraph()), Int("num_scan_inputs", 1)});
  };
  EXPECT_NE(DigestOf(scan("e")), DigestOf(scan("seq")));
  EXPECT_NE(DigestOf(scan("e")), DigestOf(scan("s")));
}

TEST(ModelDigestTest, InputsOfNestedBodiesAreNotThoseOfTheBodiesAround) {
  const auto nested = [](const std::string& used) {
    const auto loop_body = [](const std::string& p) {
      ModelBuilder body;
      body.Input(p + "i", DType::kInt64, {}).Input(p + "c", DType::kBool, {}).Input(p + "s", DType::kFloat, {});
      body.Node("Identity", {p + "c"}, {p + "d"}).Output(p + "d", DType::kBool, {}).Output(p + "r", DType::kFloat, {});
      return body;
    };
    ModelBuilder inner = loop_body("in_");
    inner.Node("Neg", {used}, {"in_r"});
    ModelBuilder outer = loop_body("out_");
    outer.Node("Loop", {"", "out_c", "out_s"}, {"out_r"}, {Body("body", inner.BuildGraph())});
    ModelBuilder builder;
    builder.Input("n", DType::kInt64, {}).Input("x", DType::kFloat, {}).Output("y", DType::kFloat, {});
    return builder.Node("Loop", {"n", "", "x"}, {"y"}, {Body("body", outer.BuildGraph())});
  };
  EXPECT_NE(DigestOf(nested("in_s")), DigestOf(nested("out_s")));
}

TEST(ModelDigestTest, OutputsOfOneNodeAreToldApart) {
  const auto halves = [](const std::string& first, const std::string& second) {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {4}).Output("y", DType::kFloat, {2}).Node("Split", {"x"}, {"a", "b"});
    return builder.Node("Sub", {first, second}, {"y"});
  };
  EXPECT_NE(DigestOf(halves("a", "b")), DigestOf(halves("b", "a")));
}

ModelBuilder WithFunction(const std::string& domain, const std::string& name, const std::string& op) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  builder.Function(domain, name, {"p"}, {"q"}, {NewNode(op, {"p"}, {"t"}), NewNode("Relu", {"t"}, {"q"})});
  return builder.Node(name, {"x"}, {"y"}, {}, domain);
}

TEST(ModelDigestTest, LocalFunctionsCountByTheirBody) {
  const Digest digest = DigestOf(WithFunction("mine", "f", "Neg"));
  EXPECT_EQ(DigestOf(WithFunction("yours", "g", "Neg")), digest);
  EXPECT_NE(DigestOf(WithFunction("mine", "f", "Abs")), digest);
}

/// Sets a text field that the protobuf classes of ONNX 1.12 don't have.
void SetNewerField(google::protobuf::Message& message, int number, const std::string& value) {
  message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(number, value);
}

TEST(ModelDigestTest, OverloadChoosesTheFunction) {
  const auto call = [](const std::string& overload) {
    ModelBuilder builder = WithFunction("f", "f", "Neg");
    builder.Function("f", "f", {"p"}, {"q"}, {NewNode("Abs", {"p"}, {"q"})});
    SetNewerField(*builder.proto().mutable_functions(1), 13, "second");
    if (!overload.empty()) SetNewerField(*builder.graph().mutable_node(0), 8, overload);
    return builder;
  };
  EXPECT_EQ(DigestOf(call("")), DigestOf(WithFunction("f", "f", "Neg")));
  EXPECT_NE(DigestOf(call("second")), DigestOf(call("")));
}

TEST(ModelDigestTest, DefaultsOfFunctionAttributesCount) {
  const auto with_default = [](int64_t value) {
    ModelBuilder builder = WithFunction("f", "f", "Neg");
    SetNewerField(*builder.proto().mutable_functions(0), 11, Int("axis", value).SerializeAsString());
    return builder;
  };
  EXPECT_EQ(DigestOf(with_default(1)), DigestOf(with_default(1)));
  EXPECT_NE(DigestOf(with_default(1)), DigestOf(with_default(2)));
}

TEST(ModelDigestTest, FunctionThatCallsItselfIsRefused) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  builder.Function("f", "a", {"p"}, {"q"}, {NewNode("b", {"p"}, {"q"}, {}, "f")});
  builder.Function("f", "b", {"p"}, {"q"}, {NewNode("a", {"p"}, {"q"}, {}, "f")});
  builder.Node("a", {"x"}, {"y"}, {}, "f");
  const absl::Status status = TryDigest(builder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("function 'f.a': it calls itself"));
}

TEST(ModelDigestTest, FunctionsNestedTooDeepAreRefused) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  for (int i = 0; i < 1000; ++i) {
    builder.Function("f", absl::StrCat("f", i), {"p"}, {"q"},
                     {NewNode(absl::StrCat("f", i + 1), {"p"}, {"q"}, {}, "f")});
  }
  builder.Node("f0", {"x"}, {"y"}, {}, "f");
  EXPECT_EQ(TryDigest(builder).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelDigestTest, CycleIsRefused) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  builder.Node("Add", {"x", "c"}, {"a"}).Node("Relu", {"a"}, {"b"}).Node("Neg", {"b"}, {"c"}).Node("Abs", {"a"}, {"y"});
  const absl::Status status = TryDigest(builder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("want a graph without cycles"));
}

TEST(ModelDigestTest, CycleThroughABodyIsRefused) {
  ModelBuilder body;
  body.Node("Relu", {"y"}, {"r"}).Output("r", DType::kFloat, {"N"});
  ModelBuilder builder;
  builder.Input("b", DType::kBool, {}).Output("y", DType::kFloat, {"N"});
  builder.Node("If", {"b"}, {"y"}, {Body("then_branch", body.BuildGraph()), Body("else_branch", body.BuildGraph())});
  EXPECT_THAT(std::string(TryDigest(builder).status().message()), HasSubstr("want a graph without cycles"));
}

TEST(ModelDigestTest, TensorThatNobodyComputesIsNamed) {
  ModelBuilder builder;
  builder.Output("y", DType::kFloat, {"N"}).Node("Relu", {"nowhere"}, {"y"});
  EXPECT_EQ(TryDigest(builder).status().message(),
            "graph: node 'y' (Relu): input 'nowhere': got no node, input or weight of that name");
  ModelBuilder no_output;
  no_output.Output("y", DType::kFloat, {"N"});
  EXPECT_EQ(TryDigest(no_output).status().message(), "graph: output 'y': got no node, input or weight of that name");
}

TEST(ModelDigestTest, TensorThatTwoNodesComputeIsRefused) {
  ModelBuilder builder;
  builder.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  builder.Node("Relu", {"x"}, {"y"}).Node("Neg", {"x"}, {"y"});
  EXPECT_THAT(std::string(TryDigest(builder).status().message()), HasSubstr("tensor 'y': got two nodes"));
}

TEST(ModelDigestTest, LongChainNeedsNoDeepStack) {
  ModelBuilder builder;
  const int length = 100'000;
  builder.Input("t0", DType::kFloat, {"N"}).Output(absl::StrCat("t", length), DType::kFloat, {"N"});
  for (int i = 0; i < length; ++i) builder.Node("Relu", {absl::StrCat("t", i)}, {absl::StrCat("t", i + 1)});
  EXPECT_FALSE(DigestOf(builder).empty());
}

// Each node reads the one before twice: 2^60 paths, which only linear work can finish.
TEST(ModelDigestTest, ManyPathsTakeLinearTime) {
  ModelBuilder builder;
  builder.Input("t0", DType::kFloat, {"N"}).Output("t60", DType::kFloat, {"N"});
  for (int i = 0; i < 60; ++i) {
    builder.Node("Add", {absl::StrCat("t", i), absl::StrCat("t", i)}, {absl::StrCat("t", i + 1)});
  }
  EXPECT_FALSE(DigestOf(builder).empty());
}

TEST(ModelDigestTest, InitializersThatAreInputsTooCountAsWeights) {
  ModelBuilder old = Layer("");
  old.IrVersion(3).Input("w", DType::kFloat, {2, 2});
  EXPECT_EQ(DigestOf(old), DigestOf(Layer("")));
}

}  // namespace
}  // namespace portico
