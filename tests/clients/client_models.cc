// Writes the models of the foreign clients' tests: client_models FOLDER makes FOLDER/NAME/VERSION/model.onnx.
#include <cstdio>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/testing/model_builder.h"

namespace portico {
namespace {

std::string VersionFile(const std::string& folder, const std::string& model, int version) {
  const std::string path = absl::StrCat(folder, "/", model, "/", version);
  std::filesystem::create_directories(path);
  return path + "/model.onnx";
}

/// y = x / 2 + `plus`: the model of TensorFlow Serving's own examples.
void WriteHalfPlus(const std::string& file, float plus) {
  ModelBuilder()
      .Input("x", DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .Initializer("half", {}, {0.5f})
      .Initializer("plus", {}, {plus})
      .Node("Mul", {"x", "half"}, {"halved"})
      .Node("Add", {"halved", "plus"}, {"y"})
      .WriteTo(file);
}

/// OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1: the model of Triton's own examples.
void WriteSimple(const std::string& file) {
  ModelBuilder model;
  for (const char* name : {"INPUT0", "INPUT1"}) model.Input(name, DType::kInt32, {"N", 16});
  for (const char* name : {"OUTPUT0", "OUTPUT1"}) model.Output(name, DType::kInt32, {"N", 16});
  model.Node("Add", {"INPUT0", "INPUT1"}, {"OUTPUT0"}).Node("Sub", {"INPUT0", "INPUT1"}, {"OUTPUT1"}).WriteTo(file);
}

/// A tensor of each dtype, given back as it came: in_fp32 → out_fp32.
void WriteTypes(const std::string& file) {
  ModelBuilder model;
  const std::pair<const char*, DType> types[] = {
      {"fp16", DType::kFloat16},  {"fp32", DType::kFloat},    {"fp64", DType::kDouble},   {"int8", DType::kInt8},
      {"int16", DType::kInt16},   {"int32", DType::kInt32},   {"int64", DType::kInt64},   {"uint8", DType::kUint8},
      {"uint16", DType::kUint16}, {"uint32", DType::kUint32}, {"uint64", DType::kUint64}, {"bool", DType::kBool},
      {"text", DType::kString}};
  for (const auto& [name, dtype] : types) {
    model.Input(absl::StrCat("in_", name), dtype, {"N", 2}).Output(absl::StrCat("out_", name), dtype, {"N", 2});
    model.Node("Identity", {absl::StrCat("in_", name)}, {absl::StrCat("out_", name)});
  }
  model.WriteTo(file);
}

/// text string[N] → same string[N].
void WriteText(const std::string& file) {
  ModelBuilder()
      .Input("text", DType::kString, {"N"})
      .Output("same", DType::kString, {"N"})
      .Node("Identity", {"text"}, {"same"})
      .WriteTo(file);
}

/// x float16[N,2] → y float16[N,2], y = x + x.
void WriteHalfPrecision(const std::string& file) {
  ModelBuilder()
      .Input("x", DType::kFloat16, {"N", 2})
      .Output("y", DType::kFloat16, {"N", 2})
      .Node("Add", {"x", "x"}, {"y"})
      .WriteTo(file);
}

/// Signatures as Classify and Regress want them: serving_default gives classes = tag and scores = x + x, "regress"
/// outputs = the row's sum of scores.
void WriteGrade(const std::string& file) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 2}).Input("tag", DType::kString, {"N", 2});
  model.Output("classes", DType::kString, {"N", 2}).Output("scores", DType::kFloat, {"N", 2});
  model.Output("total", DType::kFloat, {"N"});
  model.Initializer("axis", Tensor::Of<int64_t>({1}, {1}));
  model.Node("Identity", {"tag"}, {"classes"})
      .Node("Add", {"x", "x"}, {"scores"})
      .Node("ReduceSum", {"scores", "axis"}, {"total"}, {Int("keepdims", 0)})
      .WriteTo(file);
  std::ofstream(std::filesystem::path(file).replace_filename("servable.yaml"))
      << "signatures:\n"
         "  serving_default:\n    inputs: {x: , tag: }\n    outputs: {classes: , scores: }\n"
         "  regress:\n    inputs: {x: , tag: }\n    outputs: {outputs: {tensor: total}}\n";
}

/// x float32[N,4] → features float32[N,3] → score float32[N,1]: to be split at `features`.
void WriteProduct(const std::string& file) {
  const std::vector<float> first(12, 0.5f), second(3, 0.25f);
  ModelBuilder()
      .Input("x", DType::kFloat, {"N", 4})
      .Output("score", DType::kFloat, {"N", 1})
      .Initializer("first", Tensor::Of<float>({4, 3}, first))
      .Initializer("second", Tensor::Of<float>({3, 1}, second))
      .Node("MatMul", {"x", "first"}, {"features"})
      .Node("MatMul", {"features", "second"}, {"score"})
      .WriteTo(file);
}

/// A name that pages, shells and JSON could trip over.
void WriteHostile(const std::string& file) {
  constexpr char kName[] = "<script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\">'\"&amp;";
  ModelBuilder()
      .Input(kName, DType::kFloat, {"N"})
      .Output("y", DType::kFloat, {"N"})
      .Node("Relu", {kName}, {"y"})
      .WriteTo(file);
}

/// A portal to a server of somebody else's make: score = 1 + what it calls "doubled", loud = its "upper".
void WriteThrough(const std::string& file, const std::string& target) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N", 1}).Input("words", DType::kString, {"N", 1});
  model.Output("score", DType::kFloat, {"N", 1}).Output("loud", DType::kString, {"N", 1});
  model.Portal("Remote", target, {"x", "words"}, {"doubled", "upper"}, {DType::kFloat, DType::kString}, {"N,1", "N,1"});
  model.Initializer("one", {}, {1.0f});
  model.Node("Add", {"doubled", "one"}, {"score"}).Node("Identity", {"upper"}, {"loud"}).WriteTo(file);
}

}  // namespace
}  // namespace portico

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: client_models FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  portico::WriteHalfPlus(portico::VersionFile(folder, "half_plus_two", 1), 2);
  portico::WriteHalfPlus(portico::VersionFile(folder, "half_plus_two", 123), 3);
  portico::WriteSimple(portico::VersionFile(folder, "simple", 1));
  portico::WriteTypes(portico::VersionFile(folder, "types", 1));
  portico::WriteText(portico::VersionFile(folder, "text", 1));
  portico::WriteGrade(portico::VersionFile(folder, "grade", 1));
  portico::WriteHalfPrecision(portico::VersionFile(folder, "float16", 1));
  portico::WriteProduct(portico::VersionFile(folder, "product", 1));
  portico::WriteHostile(portico::VersionFile(folder, "hostile", 1));
  portico::WriteThrough(portico::VersionFile(folder, "through", 1), "ranker");
}
