#include "models/runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "tests/models/runtime/external_weight.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Session> MustCreate(const ModelBuilder& model, std::vector<std::pair<std::string, Tensor>> weights = {},
                                    Session::Options options = {}) {
  options.name = "test";
  auto session = Session::Create(model.Serialize(), std::move(weights), options);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

ModelBuilder Identity(DType dtype, const ModelShape& shape) {
  ModelBuilder model;
  model.Input("x", dtype, shape).Output("y", dtype, shape).Node("Identity", {"x"}, {"y"});
  return model;
}

TEST(SessionTest, NothingIsReportedToAnybody) {
  // Read by ONNX Runtime when its environment is made.
  const char* const off = std::getenv("ORT_DISABLE_TELEMETRY");
  ASSERT_NE(off, nullptr);
  EXPECT_STREQ(off, "1");
}

TEST(SessionTest, ComputesFromInputsInOrder) {
  ModelBuilder model;
  model.Input("a", DType::kFloat, {"N"}).Input("b", DType::kFloat, {"N"});
  model.Output("difference", DType::kFloat, {"N"}).Output("sum", DType::kFloat, {"N"});
  model.Node("Sub", {"a", "b"}, {"difference"}).Node("Add", {"a", "b"}, {"sum"});
  auto session = MustCreate(model);
  const auto outputs = session->Run({Tensor::Of<float>({2}, {5, 7}), Tensor::Of<float>({2}, {1, 2})});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(4, 5));
  EXPECT_THAT((*outputs)[1].data<float>(), ElementsAre(6, 9));
}

class SessionDTypeTest : public testing::TestWithParam<DType> {};

TEST_P(SessionDTypeTest, PassesBytesUnchanged) {
  const DType dtype = GetParam();
  auto session = MustCreate(Identity(dtype, {"N"}));
  ASSERT_NE(session, nullptr);
  std::string bytes(BytesFor(dtype, 6), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(dtype == DType::kBool ? i % 2 : i * 37);
  const auto outputs = session->Run({Tensor::CopyOf(dtype, {6}, bytes)});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ((*outputs)[0].dtype(), dtype);
  EXPECT_EQ((*outputs)[0].bytes(), bytes);
  EXPECT_EQ(session->inputs()[0].dtype, dtype);
}

INSTANTIATE_TEST_SUITE_P(All, SessionDTypeTest,
                         testing::Values(DType::kFloat, DType::kUint8, DType::kInt8, DType::kUint16, DType::kInt16,
                                         DType::kInt32, DType::kInt64, DType::kBool, DType::kFloat16, DType::kDouble,
                                         DType::kUint32, DType::kUint64, DType::kBfloat16),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

TEST(SessionTest, PassesStringsWithZeroBytesAndEmptyOnes) {
  auto session = MustCreate(Identity(DType::kString, {"N"}));
  const std::vector<std::string> words = {"red", "", std::string("a\0b", 3), "größe"};
  const auto outputs = session->Run({Tensor::OfStrings({4}, absl::MakeConstSpan(words))});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ((*outputs)[0].num_elements(), 4);
  for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ((*outputs)[0].StringAt(i), words[i]);
}

TEST(SessionTest, AcceptsNoRowsAndScalars) {
  for (const DType dtype : {DType::kFloat, DType::kString}) {
    auto rows = MustCreate(Identity(dtype, {"N", 3}));
    const Tensor none = dtype == DType::kString ? Tensor::OfStrings({0, 3}, absl::Span<const std::string>())
                                                : Tensor::Of<float>({0, 3}, {});
    const auto outputs = rows->Run({none});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].shape(), Shape({0, 3}));
  }
  auto scalar = MustCreate(Identity(DType::kFloat, {}));
  const auto outputs = scalar->Run({Tensor::Of<float>({}, {4})});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_TRUE((*outputs)[0].shape().empty());
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(4));
}

TEST(SessionTest, CopiesInputsThatAreNotAligned) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Add", {"x", "x"}, {"y"});
  auto session = MustCreate(model);
  const Tensor block = Tensor::Allocate(DType::kUint8, {9});
  const float values[2] = {1.5, 2.5};
  std::memcpy(const_cast<char*>(block.bytes().data()) + 1, values, sizeof(values));
  const auto view = Tensor::View(DType::kFloat, {2}, block.bytes().substr(1), block.origin());
  ASSERT_TRUE(view.ok() && !view->aligned());
  const auto outputs = session->Run({*view});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT((*outputs)[0].data<float>(), ElementsAre(3, 5));
}

// A change of the weight's own memory shows: there is no copy of it.
TEST(SessionTest, UsesLargeWeightsInPlace) {
  constexpr int64_t kRows = 4096, kWidth = 4096;  // 64 MiB.
  for (const bool optimize : {true, false}) {
    ModelBuilder model;
    model.Input("ids", DType::kInt64, {"N"}).Output("y", DType::kFloat, {"N", kWidth});
    AddExternal(model, "table", DType::kFloat, {kRows, kWidth});
    model.Node("Gather", {"table", "ids"}, {"y"});
    Tensor table = Tensor::Allocate(DType::kFloat, {kRows, kWidth});
    std::memset(table.mutable_bytes(), 0, table.bytes().size());
    char* const memory = table.mutable_bytes();
    auto session = MustCreate(model, {{"table", table}}, {.optimize = optimize});
    const float seven = 7;
    std::memcpy(memory + 2 * kWidth * sizeof(float), &seven, sizeof(seven));
    const auto outputs = session->Run({Tensor::Of<int64_t>({1}, {2})});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].data<float>()[0], 7);
  }
}

TEST(SessionTest, UsesWeightsOfProductsInPlaceUnlessPrepacked) {
  for (const bool prepack : {true, false}) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N", 64}).Output("y", DType::kFloat, {"N", 64});
    AddExternal(model, "w", DType::kFloat, {64, 64});
    model.Node("MatMul", {"x", "w"}, {"y"});
    Tensor weight = Tensor::Allocate(DType::kFloat, {64, 64});
    char* const memory = weight.mutable_bytes();
    std::memset(memory, 0, weight.bytes().size());
    auto session = MustCreate(model, {{"w", weight}}, {.prepack = prepack});
    const std::vector<float> ones(64 * 64, 1);
    std::memcpy(memory, ones.data(), ones.size() * sizeof(float));
    const auto outputs = session->Run({Tensor::Of<float>({1, 64}, absl::MakeConstSpan(ones).subspan(0, 64))});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    EXPECT_EQ((*outputs)[0].data<float>()[0], prepack ? 0 : 64);
  }
}

TEST(SessionTest, OutputsAndWeightsOutliveTheSession) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Output("w", DType::kFloat, {512});
  AddExternal(model, "w", DType::kFloat, {512});
  model.Node("Neg", {"x"}, {"y"});
  std::vector<Tensor> outputs;
  {
    auto session = MustCreate(model, {{"w", Tensor::Of<float>({512}, std::vector<float>(512, 3))}});
    auto ran = session->Run({Tensor::Of<float>({2}, {1, 2})});
    ASSERT_TRUE(ran.ok()) << ran.status();
    outputs = *std::move(ran);
  }
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre(-1, -2));
  EXPECT_EQ(outputs[1].data<float>()[511], 3);
}

TEST(SessionTest, AnOutputThatIsAnInputKeepsTheInputAlive) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
  model.Node("Neg", {"x"}, {"y"});
  auto session = MustCreate(model);
  ASSERT_NE(session, nullptr);
  std::vector<Tensor> outputs;
  {
    auto ran = session->Run({Tensor::Of<float>({3}, {1, 2, 3})});
    ASSERT_TRUE(ran.ok()) << ran.status();
    outputs = *std::move(ran);
  }
  EXPECT_THAT(outputs[0].data<float>(), ElementsAre(1, 2, 3));
}

TEST(SessionTest, TellsTypesSymbolsAndRanks) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4, "?"}).Input("s", DType::kInt64, {}).InputWithoutRank("u", DType::kFloat);
  model.Output("y", DType::kFloat, {"N", 4, "?"}).OutputWithoutRank("v", DType::kFloat).Output("t", DType::kInt64, {});
  model.Node("Neg", {"x"}, {"y"}).Node("Neg", {"u"}, {"v"}).Node("Neg", {"s"}, {"t"});
  auto session = MustCreate(model);
  EXPECT_EQ(session->inputs()[0].ToString(), "float32[N,4,?]");
  EXPECT_TRUE(session->inputs()[1].has_rank);
  EXPECT_TRUE(session->inputs()[1].dims.empty());
  EXPECT_FALSE(session->inputs()[2].has_rank);
  EXPECT_EQ(session->outputs()[0].dims[0].symbol, "N");
  EXPECT_FALSE(session->outputs()[1].has_rank);
  EXPECT_TRUE(session->outputs()[2].has_rank);
}

TEST(SessionTest, InfersTypesOfUndeclaredOutputs) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Node("Neg", {"x"}, {"y"});
  model.graph().add_output()->set_name("y");
  auto session = MustCreate(model);
  EXPECT_EQ(session->outputs()[0].ToString(), "float32[N,4]");
}

TEST(SessionTest, RefusesWhatIsNotAModel) {
  EXPECT_EQ(Session::Create("no model", {}, {.name = "m"}).status().code(), absl::StatusCode::kInvalidArgument);
  ModelBuilder unknown;
  unknown.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("NoSuchOp", {"x"}, {"y"});
  const absl::Status status = Session::Create(unknown.Serialize(), {}, {.name = "m"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("session 'm'"));
}

TEST(SessionTest, RefusesOutputsThatAreNotTensors) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Node("SequenceConstruct", {"x"}, {"list"});
  model.graph().add_output()->set_name("list");
  const absl::Status status = Session::Create(model.Serialize(), {}, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("output 'list'"));
}

TEST(SessionTest, FaultsOfTheDataAreInvalidArguments) {
  ModelBuilder model;
  model.Input("table", DType::kFloat, {"R", 2}).Input("ids", DType::kInt64, {"N"}).Output("y", DType::kFloat, {"N", 2});
  model.Node("Gather", {"table", "ids"}, {"y"});
  auto session = MustCreate(model);
  const Tensor table = Tensor::Of<float>({2, 2}, {1, 2, 3, 4});
  const auto code = [&](std::vector<Tensor> inputs) { return session->Run(inputs).status().code(); };
  EXPECT_EQ(code({table, Tensor::Of<int64_t>({1}, {9})}), absl::StatusCode::kInvalidArgument);     // Out of range.
  EXPECT_EQ(code({table, Tensor::Of<float>({1}, {1})}), absl::StatusCode::kInvalidArgument);       // Wrong dtype.
  EXPECT_EQ(code({table, Tensor::Of<int64_t>({1, 1}, {1})}), absl::StatusCode::kInvalidArgument);  // Wrong rank.
  EXPECT_EQ(code({table}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({table, Tensor::Of<int64_t>({1}, {1})}), absl::StatusCode::kOk);  // And it goes on.
}

TEST(SessionTest, ShapesThatDoNotFitTogetherAreInvalidArguments) {
  ModelBuilder model;
  model.Input("a", DType::kFloat, {"N"}).Input("b", DType::kFloat, {"M"}).Output("y", DType::kFloat, {"?"});
  model.Node("Add", {"a", "b"}, {"y"});
  auto session = MustCreate(model);
  const absl::Status status =
      session->Run({Tensor::Of<float>({2}, {1, 2}), Tensor::Of<float>({3}, {1, 2, 3})}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

/// ONNX Runtime's own kernel ends the process over these.
TEST(SessionTest, RefusesEmptyTensorsWhereThereIsATopK) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 4}).Output("v", DType::kFloat, {"N", 2});
  model.Initializer("k", Tensor::Of<int64_t>({1}, {2})).Node("TopK", {"x", "k"}, {"v", "i"});
  auto session = MustCreate(model);
  const auto none = session->Run({Tensor::Of<float>({0, 4}, {})});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.status().message()),
              HasSubstr("input 'x': got float32[0,4], want at least one element"));
  const auto one = session->Run({Tensor::Of<float>({1, 4}, {1, 4, 2, 3})});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT((*one)[0].data<float>(), ElementsAre(4, 3));
}

TEST(SessionTest, FindsATopKInsideABody) {
  ModelBuilder with, without, model;
  with.Output("v", DType::kFloat, {"N", 2}).Initializer("k", Tensor::Of<int64_t>({1}, {2}));
  with.Node("TopK", {"x", "k"}, {"v", "i"});
  without.Output("w", DType::kFloat, {"N", 2}).Initializer("s", Tensor::Of<int64_t>({1}, {0}));
  without.Initializer("e", Tensor::Of<int64_t>({1}, {2})).Initializer("a", Tensor::Of<int64_t>({1}, {1}));
  without.Node("Slice", {"x", "s", "e", "a"}, {"w"});
  model.Input("x", DType::kFloat, {"N", 4}).Input("c", DType::kBool, {}).Output("y", DType::kFloat, {"N", 2});
  model.Node("If", {"c"}, {"y"}, {Body("then_branch", with.BuildGraph()), Body("else_branch", without.BuildGraph())});
  auto session = MustCreate(model);
  const auto none = session->Run({Tensor::Of<float>({0, 4}, {}), Tensor::Of<bool>({}, {true})});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument) << none.status();
}

TEST(SessionTest, RunsOnSeveralThreadsAtOnce) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Add", {"x", "x"}, {"y"});
  auto session = MustCreate(model);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const float value = static_cast<float>(t * 1000 + i);
        const auto outputs = session->Run({Tensor::Of<float>({1}, {value})});
        ASSERT_TRUE(outputs.ok());
        ASSERT_EQ((*outputs)[0].data<float>()[0], 2 * value);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace portico
