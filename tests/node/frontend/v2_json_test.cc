#include "node/frontend/v2_json.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// `json` followed by `binary`, padded as the server pads bodies.
absl::StatusOr<V2InferJson> Read(const std::string& json, const std::string& binary = "",
                                 uint64_t max_bytes = 1 << 20) {
  const std::string body = json + binary + std::string(HttpRequest::kBodyPadding, '\0');
  return ReadV2InferJson(absl::string_view(body).substr(0, json.size()),
                         absl::string_view(body).substr(json.size(), binary.size()), max_bytes);
}

absl::StatusOr<V2InferJson> ReadInput(const std::string& input) { return Read("{\"inputs\":[" + input + "]}"); }

void ExpectRefused(const absl::StatusOr<V2InferJson>& request, const std::string& message,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  EXPECT_EQ(request.status().code(), code) << request.status();
  EXPECT_THAT(std::string(request.status().message()), HasSubstr(message));
}

TEST(V2JsonTest, FlatAndNestedDataAreOne) {
  for (const char* data : {"[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", "[[1,2],[3,4],[5,6]]"}) {
    const auto request = ReadInput(absl::StrCat(R"({"name":"x","shape":[2,3],"datatype":"FP32","data":)", data, "}"));
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(request->inputs[0].name, "x");
    EXPECT_THAT(request->inputs[0].tensor.shape(), ElementsAre(2, 3));
    EXPECT_THAT(request->inputs[0].tensor.data<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
  }
}

TEST(V2JsonTest, TensorsBehindACutTextDoNotGoOnWithIt) {
  // Each with what would go on with the text, were it text: the parser believes in it.
  for (const auto& [json, binary] : std::vector<std::pair<std::string, std::string>>{
           {R"({"inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data")", R"(:rs":{"a":7)"},
           {R"({"inputs":[{"name":"x","shape":[2],"datatype":"FP64","data":[1,278)", ",999999e999440[{\"n\"15"},
           {R"({"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,)", std::string(4096, '9')},
           {R"({"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":[)", "\"" + std::string(4096, 'a')},
           {R"({"inputs":)", "[{"}}) {
    const auto request = Read(json, binary);
    EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument) << json << ": " << request.status();
  }
}

TEST(V2JsonTest, WhatIsNoJsonMayNotHaveMoreTensorsTheSecondTime) {
  const auto request = Read(
      R"({"inputs":[{"name":"h","shape":[2],"dWtae":"","data":[5],"a"::5],"datatype":"UINT64","dawa":[1e[:2]"e,"dWt:[5],"data"~:n15]}]})");
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument) << request.status();
}

TEST(V2JsonTest, DataMayComeFirst) {
  const auto request = Read(
      R"({"outputs":[{"name":"o","parameters":{"binary_data":true}}],
          "inputs":[{"data":[true,false],"datatype":"BOOL","shape":[2],"name":"b"},
                    {"name":"s","data":["a","\u00e9"],"shape":[2],"datatype":"BYTES"},
                    {"name":"i","shape":[],"datatype":"INT64","data":[-9223372036854775808]}],
          "id":"42","parameters":{"signature":"other","timeout":2000000,"custom":{"deep":[1]},"priority":2}})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->inputs[0].tensor.data<bool>(), ElementsAre(true, false));
  EXPECT_EQ(request->inputs[1].tensor.StringAt(1), "\xc3\xa9");
  EXPECT_THAT(request->inputs[2].tensor.data<int64_t>(), ElementsAre(INT64_MIN));
  EXPECT_TRUE(request->inputs[2].tensor.shape().empty());
  EXPECT_EQ(request->id, "42");
  EXPECT_EQ(request->parameters.signature, "other");
  EXPECT_EQ(request->parameters.timeout, absl::Seconds(2));
  ASSERT_EQ(request->outputs.size(), 1u);
  EXPECT_EQ(request->outputs[0].name, "o");
  EXPECT_EQ(request->outputs[0].parameters.binary_data, true);
}

TEST(V2JsonTest, SpecialNumbersAndEmptyTensors) {
  const auto request = Read(
      R"({"inputs":[{"name":"x","shape":[3],"datatype":"FP64","data":[NaN,-Infinity,Infinity]},
                    {"name":"e","shape":[0,4],"datatype":"INT8","data":[]}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  const auto values = request->inputs[0].tensor.data<double>();
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], -HUGE_VAL);
  EXPECT_EQ(values[2], HUGE_VAL);
  EXPECT_THAT(request->inputs[1].tensor.shape(), ElementsAre(0, 4));
}

TEST(V2JsonTest, WhatIsWrongIsNamed) {
  ExpectRefused(ReadInput(R"({"name":"x","shape":[2],"datatype":"FP64","data":[1,1e999]})"),
                "got 1e999, want a number that a double holds");
  ExpectRefused(Read(""), "empty");
  ExpectRefused(Read("[]"), "want an object");
  ExpectRefused(Read("{}"), "no 'inputs'");
  ExpectRefused(Read(R"({"inputs":7})"), "'inputs'");
  ExpectRefused(Read(R"({"inputs":[]} x)"), "JSON Parse error");
  ExpectRefused(Read(R"({"inputs":[],"inputs":[]})"), "twice");
  ExpectRefused(ReadInput(R"({"name":"x","name":"y","shape":[1],"datatype":"FP32","data":[1]})"), "twice");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[2],"datatype":"FP32","data":[1]})"), "input 'x'");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[2],"datatype":"FP32","data":[[1],2]})"), "Expecting");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[-1],"datatype":"FP32","data":[1]})"), "shape");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1.5],"datatype":"FP32","data":[1]})"), "shape");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1],"datatype":"float","data":[1]})"), "datatype 'float'");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1],"datatype":"INT32","data":[1.0]})"), "expected type");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1],"datatype":"INT8","data":[300]})"), "out of range");
  ExpectRefused(ReadInput(R"({"shape":[1],"datatype":"INT8","data":[3]})"), "'name'");
  ExpectRefused(ReadInput(R"({"name":"x","datatype":"INT8","data":[3]})"), "'shape'");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1],"data":[3]})"), "'datatype'");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[1],"datatype":"INT8"})"), "neither");
  ExpectRefused(ReadInput(R"({"name":"x","shape":[4611686018427387904,4],"datatype":"INT8","data":[3]})"), "input 'x'");
  ExpectRefused(Read(R"({"inputs":[],"parameters":{"sequence_id":3}})"), "sequence_id",
                absl::StatusCode::kUnimplemented);
  ExpectRefused(Read(R"({"inputs":[],"parameters":{"timeout":"soon"}})"), "timeout");
  ExpectRefused(Read(R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[3]})"), "JSON Parse error");
}

TEST(V2JsonTest, DeepNestingIsRefused) {
  const std::string deep(500000, '[');
  EXPECT_FALSE(Read("{\"inputs\":" + deep).ok());
  EXPECT_FALSE(ReadInput(R"({"name":"x","shape":[1],"datatype":"INT8","data":)" + deep).ok());
  EXPECT_FALSE(Read("{\"parameters\":{\"p\":" + deep).ok());
}

TEST(V2JsonTest, EveryCutIsRefused) {
  const std::string whole =
      R"({"id":"1","inputs":[{"data":[1,2],"name":"x","shape":[2],"datatype":"INT32","parameters":{"a":[1]}}],"outputs":[{"name":"o"}]})";
  ASSERT_TRUE(Read(whole).ok());
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_FALSE(Read(whole.substr(0, i)).ok()) << i;
}

TEST(V2JsonTest, BinaryDataFollowsInOrder) {
  const std::string json =
      R"({"inputs":[{"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}},
                    {"name":"y","shape":[1],"datatype":"INT8","data":[5]},
                    {"name":"s","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]})";
  const std::string binary(
      "\1\0\2\0"
      "\1\0\0\0a"
      "\0\0\0\0",
      13);
  const auto request = Read(json, binary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->inputs[0].tensor.data<int16_t>(), ElementsAre(1, 2));
  EXPECT_THAT(request->inputs[1].tensor.data<int8_t>(), ElementsAre(5));
  EXPECT_EQ(request->inputs[2].tensor.StringAt(0), "a");
  EXPECT_EQ(request->inputs[2].tensor.StringAt(1), "");

  ExpectRefused(Read(json, binary.substr(0, 12)), "input 's'");
  ExpectRefused(Read(json, binary.substr(0, 3)), "input 'x'");
  ExpectRefused(Read(json, binary + "x"), "belong to no input");
  ExpectRefused(Read(json, ""), "Inference-Header-Content-Length");
}

TEST(V2JsonTest, BinarySizesThatLieAreRefused) {
  const auto with_size = [](const std::string& size, const std::string& binary) {
    return Read(
        R"({"inputs":[{"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":)" + size + "}}]}",
        binary);
  };
  ExpectRefused(with_size("18446744073709551615", "1234"), "input 'x'");
  ExpectRefused(with_size("-1", "1234"), "binary_data_size");
  ExpectRefused(with_size("3", "123"), "input 'x'");
  ExpectRefused(with_size("\"4\"", "1234"), "binary_data_size");
  ExpectRefused(Read(R"({"inputs":[{"name":"x","shape":[2],"datatype":"INT16","data":[1,2],
                                    "parameters":{"binary_data_size":4}}]})",
                     "1234"),
                "both");
  ExpectRefused(Read(R"({"inputs":[{"name":"x","shape":[1000],"datatype":"BYTES",
                                    "parameters":{"binary_data_size":4000}}]})",
                     std::string(4000, '\0'), /*max_bytes=*/4096),
                "at most 4096");
}

TEST(V2JsonTest, RawBodyTakesTheShapeFromItsLength) {
  Signature signature;
  signature.name = "serving_default";
  TensorSpec& spec = signature.inputs.emplace_back();
  spec.name = "x";
  spec.dtype = DType::kFloat;
  spec.dims = {{-1, "N"}, {2, ""}};
  const auto tensor = ReadV2RawBody(signature, std::string(24, '\0'));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_THAT(tensor->shape(), ElementsAre(3, 2));
  EXPECT_FALSE(ReadV2RawBody(signature, std::string(20, '\0')).ok());
  spec.dims = {{-1, "N"}, {-1, "M"}};
  EXPECT_FALSE(ReadV2RawBody(signature, std::string(24, '\0')).ok());
  spec.dims = {{3, ""}};
  EXPECT_FALSE(ReadV2RawBody(signature, std::string(24, '\0')).ok());
  EXPECT_TRUE(ReadV2RawBody(signature, std::string(12, '\0')).ok());
  spec.dims = {{-1, "N"}, {int64_t{1} << 60, ""}, {int64_t{1} << 60, ""}};
  EXPECT_FALSE(ReadV2RawBody(signature, std::string(24, '\0')).ok());
  spec.dtype = DType::kString;
  spec.dims = {{-1, "N"}};
  EXPECT_EQ(ReadV2RawBody(signature, "whole")->StringAt(0), "whole");
  signature.inputs.emplace_back();
  EXPECT_FALSE(ReadV2RawBody(signature, "whole").ok());
}

TEST(V2JsonTest, AnswerIsJsonThenBinary) {
  Signature signature;
  signature.outputs.resize(3);
  signature.outputs[0].name = "f";
  signature.outputs[1].name = "s";
  signature.outputs[2].name = "n";
  const std::vector<Tensor> outputs = {Tensor::Of<float>({1, 2}, {0.5f, 3.0f}),
                                       Tensor::OfStrings({2}, std::vector<std::string>{"a", "\""}),
                                       Tensor::Of<int64_t>({}, {-7})};
  const std::vector<int> selected = {0, 1, 2};
  const auto json = WriteV2InferJson({"m", 3, "id"}, signature, selected, {false, false, false}, outputs);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->bytes, R"({"id":"id","model_name":"m","model_version":"3","outputs":[)"
                         R"({"name":"f","datatype":"FP32","shape":[1,2],"data":[0.5,3.0]},)"
                         R"({"name":"s","datatype":"BYTES","shape":[2],"data":["a","\""]},)"
                         R"({"name":"n","datatype":"INT64","shape":[],"data":[-7]}]})");
  EXPECT_EQ(json->json, json->bytes.size());
  EXPECT_THAT(WriteV2InferJson({"m", 3, "", "", "p mark 0-3"}, signature, {2}, {false}, outputs)->bytes,
              HasSubstr(R"("model_version":"3","parameters":{"portico_rows":"p mark 0-3"},"outputs":[)"));
  EXPECT_THAT(WriteV2InferJson({"m", 3, "", "\"p\"", "q"}, signature, {2}, {false}, outputs)->bytes,
              HasSubstr(R"("parameters":{"portico_fallback":"\"p\"","portico_rows":"q"},"outputs":[)"));
  const auto binary = WriteV2InferJson({"m", 3, ""}, signature, selected, {true, true, false}, outputs);
  ASSERT_TRUE(binary.ok()) << binary.status();
  EXPECT_THAT(binary->bytes, HasSubstr(R"("parameters":{"binary_data_size":8})"));
  EXPECT_THAT(binary->bytes, HasSubstr(R"("parameters":{"binary_data_size":10})"));
  EXPECT_EQ(binary->bytes.size() - binary->json, 18u);
  EXPECT_EQ(binary->bytes.substr(binary->json + 8), std::string("\1\0\0\0a\1\0\0\0\"", 10));

  const std::vector<Tensor> bad = {Tensor::OfStrings({1}, std::vector<std::string>{"\xff"})};
  EXPECT_EQ(WriteV2InferJson({"m", 3, ""}, signature, {0}, {false}, bad).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(WriteV2InferJson({"m", 3, ""}, signature, {0}, {true}, bad).ok());
}

}  // namespace
}  // namespace portico
