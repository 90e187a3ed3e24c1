#include "node/frontend/tfs_json.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TensorSpec Spec(const std::string& name, DType dtype, std::vector<Dim> dims = {}) {
  TensorSpec spec;
  spec.name = name;
  spec.dtype = dtype;
  spec.dims = std::move(dims);
  return spec;
}

Signature With(std::vector<TensorSpec> inputs) {
  Signature signature;
  signature.name = "serving_default";
  signature.inputs = std::move(inputs);
  return signature;
}

absl::StatusOr<PredictJson> Read(const Signature& signature, absl::string_view body) {
  std::string padded(body);
  padded.append(HttpRequest::kBodyPadding, '\0');
  return ReadPredictJson({padded.data(), body.size()}, [&](absl::string_view name) {
    return name.empty() || name == signature.name ? &signature : nullptr;
  });
}

absl::StatusOr<Tensor> ReadOne(DType dtype, absl::string_view body) {
  const Signature signature = With({Spec("x", dtype)});
  absl::StatusOr<PredictJson> request = Read(signature, body);
  if (!request.ok()) return request.status();
  return request->inputs[0];
}

std::string ErrorOf(const absl::StatusOr<Tensor>& tensor) {
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument) << tensor.status();
  return std::string(tensor.status().message());
}

template <typename T>
std::vector<T> Values(const absl::StatusOr<Tensor>& tensor) {
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  const Tensor aligned = tensor->Aligned();
  const auto data = aligned.data<T>();
  return {data.begin(), data.end()};
}

TEST(TfsJsonReadTest, RowFormatStacksInstances) {
  const auto tensor = ReadOne(DType::kFloat, R"({"instances": [[1, 2.5], [3, -4e-1]]})");
  EXPECT_THAT(Values<float>(tensor), ElementsAre(1, 2.5f, 3, -0.4f));
  EXPECT_EQ(tensor->shape(), (Shape{2, 2}));
}

TEST(TfsJsonReadTest, ColumnFormatTakesOneValue) {
  EXPECT_EQ(ReadOne(DType::kInt64, R"({"inputs": 5})")->shape(), Shape{});
  EXPECT_EQ(ReadOne(DType::kInt64, R"({"inputs": [[[5]]]})")->shape(), (Shape{1, 1, 1}));
  EXPECT_EQ(ReadOne(DType::kInt64, R"({"inputs": {"x": [5, 6]}})")->shape(), Shape{2});
}

TEST(TfsJsonReadTest, NamedInputsOfBothFormatsComeInTheSignaturesOrder) {
  const Signature signature = With({Spec("a", DType::kFloat), Spec("b", DType::kString)});
  for (const char* body : {R"({"instances": [{"b": "p", "a": [1]}, {"a": [2], "b": "q"}]})",
                           R"({"inputs": {"b": ["p", "q"], "a": [[1], [2]]}})"}) {
    const auto request = Read(signature, body);
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_THAT(Values<float>(request->inputs[0]), ElementsAre(1, 2));
    EXPECT_EQ(request->inputs[0].shape(), (Shape{2, 1}));
    EXPECT_EQ(request->inputs[1].shape(), Shape{2});
    EXPECT_EQ(request->inputs[1].StringAt(1), "q");
  }
}

TEST(TfsJsonReadTest, SignatureNameMayComeLast) {
  const Signature signature = With({Spec("x", DType::kFloat)});
  EXPECT_TRUE(Read(signature, R"({"instances": [1], "signature_name": "serving_default"})").ok());
  const auto unknown = Read(signature, R"({"instances": [1], "signature_name": "x"})");
  EXPECT_EQ(unknown.status().message(), "Serving signature name: \"x\" not found in signature def");
}

TEST(TfsJsonReadTest, Base64StandsForBytes) {
  const auto rows = ReadOne(DType::kString, R"({"instances": [{"b64": "AP8="}, "plain \u00e9\n"]})");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->StringAt(0), absl::string_view("\0\xff", 2));
  EXPECT_EQ(rows->StringAt(1), "plain \xc3\xa9\n");
  EXPECT_EQ(ReadOne(DType::kString, R"({"inputs": {"b64": "aGk="}})")->StringAt(0), "hi");
  EXPECT_EQ(ReadOne(DType::kString, R"({"inputs": {"x": [{"b64": "aGk="}]}})")->StringAt(0), "hi");
  EXPECT_THAT(ErrorOf(ReadOne(DType::kString, R"({"instances": [{"b64": "*"}]})")), HasSubstr("not base64"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [{"b64": "aGk="}]})")), HasSubstr("got object"));
}

TEST(TfsJsonReadTest, RaggedAndMixedListsAreRefused) {
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [[1,2],[3,4],[5,6,7]]})")),
              HasSubstr("Expecting tensor size"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"inputs": [[1,2],[3]]})")), HasSubstr("Expecting tensor size"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [1,[1]]})")), HasSubstr("Expecting shape"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [[1],1]})")), HasSubstr("Expecting shape"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [[[]],[1]]})")), HasSubstr("Expecting shape"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [{"x": 1}, [1]]})")),
              HasSubstr("Expecting object but got list"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [1, {"x": 1}]})")),
              HasSubstr("Expecting value/list but got object"));
}

TEST(TfsJsonReadTest, ValuesOfTheWrongTypeAreRefused) {
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": ["x"]})")), HasSubstr("not of expected type: float"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [null]})")), HasSubstr("not of expected type: float"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [true]})")), HasSubstr("not of expected type: float"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kInt64, R"({"instances": [10.0]})")), HasSubstr("not of expected type: int64"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kInt32, R"({"instances": [2147483648]})")),
              HasSubstr("not of expected type: int32"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kUint8, R"({"instances": [-1]})")), HasSubstr("not of expected type: uint8"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kUint8, R"({"instances": [256]})")), HasSubstr("not of expected type: uint8"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kInt4, R"({"instances": [8]})")), HasSubstr("not of expected type: int4"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kBool, R"({"instances": [1]})")), HasSubstr("not of expected type: bool"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kString, R"({"instances": [1]})")), HasSubstr("not of expected type: string"));
  EXPECT_EQ(ReadOne(DType::kComplex64, R"({"instances": [1]})").status().code(), absl::StatusCode::kUnimplemented);
}

TEST(TfsJsonReadTest, IntegersAreExact) {
  EXPECT_THAT(Values<int64_t>(ReadOne(DType::kInt64, R"({"inputs": [9007199254740993, -9223372036854775808]})")),
              ElementsAre(9007199254740993, std::numeric_limits<int64_t>::min()));
  EXPECT_THAT(Values<uint64_t>(ReadOne(DType::kUint64, R"({"inputs": [18446744073709551615]})")),
              ElementsAre(std::numeric_limits<uint64_t>::max()));
  EXPECT_EQ(ReadOne(DType::kBool, R"({"inputs": [true, false]})")->bytes(), absl::string_view("\1\0", 2));
  EXPECT_EQ(ReadOne(DType::kInt4, R"({"inputs": [1, -2, 7]})")->bytes(), absl::string_view("\xe1\x07", 2));
}

TEST(TfsJsonReadTest, NonFiniteRealsAreBareTokens) {
  const auto values = Values<float>(ReadOne(DType::kFloat, R"({"instances": [NaN, Infinity , -Infinity, 1e39]})"));
  ASSERT_EQ(values.size(), 4u);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], HUGE_VALF);
  EXPECT_EQ(values[2], -HUGE_VALF);
  EXPECT_EQ(values[3], HUGE_VALF);
  const Signature named = With({Spec("x", DType::kDouble), Spec("y", DType::kDouble)});
  EXPECT_TRUE(Read(named, R"({"inputs": {"x": NaN, "y": -Infinity}})").ok());
  EXPECT_FALSE(ReadOne(DType::kInt64, R"({"instances": [NaN]})").ok());
  EXPECT_FALSE(ReadOne(DType::kFloat, R"({"instances": [nan]})").ok());
  EXPECT_FALSE(ReadOne(DType::kFloat, R"({"instances": [Infinit]})").ok());
}

TEST(TfsJsonReadTest, NumbersThatNoDoubleHoldsAreRefused) {
  const auto message = [](DType dtype, const std::string& body) {
    const auto read = ReadOne(dtype, body);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  };
  for (const DType dtype : {DType::kFloat, DType::kDouble, DType::kFloat16}) {
    for (const std::string number : {"1e999", "-1e400", "1.8e308"}) {
      // In a run of numbers, in one of other things, and alone.
      for (const std::string& values : {"[1, " + number + "]", "[NaN, " + number + "]", "[" + number + "]"}) {
        EXPECT_THAT(message(dtype, "{\"instances\": " + values + "}"),
                    HasSubstr("got " + number + ", want a number that a double holds"))
            << values;
      }
    }
  }
  const std::string digits(400, '9');
  EXPECT_THAT(message(DType::kFloat, "{\"inputs\": [" + digits + "]}"),
              HasSubstr("got " + digits.substr(0, 64) + "… (400 characters), want a number that a double holds"));
  EXPECT_THAT(Values<double>(ReadOne(DType::kDouble, R"({"inputs": [1e-999, 1.7976931348623157e308]})")),
              ElementsAre(0, std::numeric_limits<double>::max()));
}

TEST(TfsJsonReadTest, SmallFloatsAreRounded) {
  const auto half = ReadOne(DType::kFloat16, R"({"inputs": [1, -2.5, 65520, 5.960464477539063e-08]})");
  ASSERT_TRUE(half.ok());
  EXPECT_EQ(half->bytes(), absl::string_view("\x00\x3c\x00\xc1\x00\x7c\x01\x00", 8));
  EXPECT_EQ(ReadOne(DType::kBfloat16, R"({"inputs": [1]})")->bytes(), absl::string_view("\x80\x3f", 2));
}

TEST(TfsJsonReadTest, BodiesThatAreNoRequestsAreRefused) {
  EXPECT_EQ(ErrorOf(ReadOne(DType::kFloat, "")), "JSON Parse error: The document is empty");
  EXPECT_EQ(ErrorOf(ReadOne(DType::kFloat, " \n")), "JSON Parse error: The document is empty");
  for (const char* body :
       {"[1]", "5", "{", "{\"instances\": [1", "{\"instances\": [1, 2}", "{\"instances\": [1 2]}",
        "{\"instances\": [1,]}", "{\"instances\": [01]}", "{\"instances\": [1]} x", "{\"instances\": [1]} {}",
        "{\"instances\": [\"\x01\"]}", "{\"instances\": [1], \"instances\": [1]}", "{\"inputs\": {\"x\": 1, \"x\": 1}}",
        "{\"instances\": 5}", "{\"instances\": [1], \"signature_name\": 5}", "{\"instances\" [1]}",
        "{'instances': [1]}", "nonsense"}) {
    ErrorOf(ReadOne(DType::kFloat, body));
  }
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, R"({"instances": [1], "inputs": [1]})")),
              HasSubstr("Not formatted correctly"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, "{}")), HasSubstr("neither of 'instances' and 'inputs'"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kString, "{\"instances\": [\"\xff\"]}")), HasSubstr("UTF-8"));
}

TEST(TfsJsonReadTest, EveryTruncationIsRefused) {
  const std::string whole = R"({"signature_name": "serving_default", "instances": [{"x": [1.5, "a"]}, {"x": NaN}]})";
  for (size_t length = 0; length < whole.size(); ++length) ErrorOf(ReadOne(DType::kFloat, whole.substr(0, length)));
}

TEST(TfsJsonReadTest, EveryTruncationOfAGoodBodyIsRefused) {
  const Signature signature = With({Spec("a", DType::kFloat), Spec("b", DType::kString)});
  for (const std::string whole :
       {R"({"signature_name": "serving_default", "instances": [{"a": [1.5, -2e3], "b": "x\u00e9"}, {"a": [NaN, 1],)"
        R"( "b": {"b64": "YQ=="}}]})",
        R"({"inputs": {"b": [["é", "c"]], "a": [[1, 2], [3, -Infinity]]}, "signature_name": "serving_default"})"}) {
    EXPECT_TRUE(Read(signature, whole).ok()) << Read(signature, whole).status();
    for (size_t length = 0; length < whole.size(); ++length) {
      EXPECT_EQ(Read(signature, whole.substr(0, length)).status().code(), absl::StatusCode::kInvalidArgument) << length;
    }
  }
}

TEST(TfsJsonReadTest, LongListsOfNumbersComeInOnePiece) {
  std::string floats = "{\"inputs\": [[", integers = "{\"instances\": [[[";
  for (int i = 0; i < 3000; ++i) {
    absl::StrAppend(&floats, i == 0 ? "" : ",\n ", i == 700 ? "-Infinity" : absl::StrCat(i, ".5"));
    absl::StrAppend(&integers, i == 0 ? "" : " , ", i % 2 == 0 ? i : -i);
  }
  absl::StatusOr<Tensor> tensor = ReadOne(DType::kFloat, absl::StrCat(floats, "]]}"));
  const std::vector<float> reals = Values<float>(tensor);
  ASSERT_EQ(reals.size(), 3000u);
  EXPECT_THAT(tensor->shape(), ElementsAre(1, 3000));
  for (int i = 0; i < 3000; ++i) {
    EXPECT_EQ(reals[static_cast<size_t>(i)], i == 700 ? -HUGE_VALF : static_cast<float>(i) + 0.5f);
  }
  tensor = ReadOne(DType::kInt32, absl::StrCat(integers, "]]]}"));
  const std::vector<int32_t> whole = Values<int32_t>(tensor);
  ASSERT_EQ(whole.size(), 3000u);
  EXPECT_THAT(tensor->shape(), ElementsAre(1, 1, 3000));
  for (int i = 0; i < 3000; ++i) EXPECT_EQ(whole[static_cast<size_t>(i)], i % 2 == 0 ? i : -i);
  // What is wrong behind the first piece is found, too.
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, absl::StrCat(floats, ", [1]]]}"))), HasSubstr("Expecting shape"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, absl::StrCat(floats, ", true]]}"))), HasSubstr("not of expected type"));
  EXPECT_THAT(ErrorOf(ReadOne(DType::kInt32, absl::StrCat(integers, ", 2147483648]]]}"))), HasSubstr("out of range"));
}

TEST(TfsJsonReadTest, RepeatedKeysAreRefused) {
  for (const char* body :
       {R"({"inputs": [1], "inputs": [1]})", R"({"instances": [1], "instances": [1]})",
        R"({"signature_name": "serving_default", "signature_name": "serving_default", "inputs": [1]})",
        R"({"inputs": {"x": [1], "x": [1]}})", R"({"instances": [{"x": 1, "x": 1}]})"}) {
    EXPECT_THAT(ErrorOf(ReadOne(DType::kFloat, body)), HasSubstr("twice")) << body;
  }
}

TEST(TfsJsonReadTest, HalfAMillionLevelsAreRefused) {
  const std::string open(500000, '['), close(500000, ']');
  ErrorOf(ReadOne(DType::kFloat, absl::StrCat("{\"instances\": ", open, close, "}")));
  ErrorOf(ReadOne(DType::kFloat, absl::StrCat("{\"instances\": ", open)));
  ErrorOf(ReadOne(DType::kFloat, open));
  std::string objects;
  for (int i = 0; i < 500000; ++i) objects += "{\"x\":";
  ErrorOf(ReadOne(DType::kFloat, absl::StrCat("{\"inputs\": ", objects, "1", std::string(500000, '}'), "}")));
}

TEST(TfsJsonReadTest, MissingAndExtraInputsAreNamed) {
  const Signature signature = With({Spec("a", DType::kFloat), Spec("b", DType::kFloat)});
  EXPECT_THAT(std::string(Read(signature, R"({"inputs": {"a": 1}})").status().message()),
              HasSubstr("input size does not match signature: 1!=2 len({a}) != len({a,b})"));
  EXPECT_THAT(std::string(Read(signature, R"({"instances": [{"a": 1, "b": 1}, {"a": 1, "c": 2}]})").status().message()),
              HasSubstr("instance 1: input 'b'"));
  EXPECT_THAT(std::string(Read(signature, R"({"instances": [1]})").status().message()), HasSubstr("want an object"));
}

TEST(TfsJsonReadTest, EmptyListsTakeTheDeclaredShape) {
  const Signature signature = With({Spec("x", DType::kFloat, {Dim{-1, "N"}, Dim{2, ""}})});
  EXPECT_EQ(Read(signature, R"({"instances": []})")->inputs[0].shape(), (Shape{0, 2}));
  EXPECT_EQ(Read(signature, R"({"inputs": [[]]})")->inputs[0].shape(), (Shape{1, 0}));
}

absl::StatusOr<std::string> Write(std::vector<std::string> names, const std::vector<Tensor>& outputs, bool row_format) {
  Signature signature;
  for (std::string& name : names) signature.outputs.push_back(Spec(name, DType::kFloat));
  return WritePredictJson(signature, outputs, row_format);
}

TEST(TfsJsonWriteTest, OneOutputDropsItsName) {
  const Tensor y = Tensor::Of<float>({2, 2}, {1, 2.5f, -3, 0});
  EXPECT_EQ(*Write({"y"}, {y}, true), R"({"predictions": [[1.0,2.5],[-3.0,0.0]]})");
  EXPECT_EQ(*Write({"y"}, {y}, false), R"({"outputs": [[1.0,2.5],[-3.0,0.0]]})");
  EXPECT_EQ(*Write({"y"}, {Tensor::Of<int64_t>({}, {5})}, false), R"({"outputs": 5})");
  EXPECT_EQ(*Write({"y"}, {Tensor::Of<float>({0, 2}, {})}, true), R"({"predictions": []})");
}

TEST(TfsJsonWriteTest, SeveralOutputsKeepTheirNames) {
  const std::vector<Tensor> outputs = {Tensor::Of<int32_t>({2}, {1, 2}), Tensor::Of<bool>({2, 1}, {true, false})};
  EXPECT_EQ(*Write({"a", "b"}, outputs, true), R"({"predictions": [{"a":1,"b":[true]},{"a":2,"b":[false]}]})");
  EXPECT_EQ(*Write({"a", "b"}, outputs, false), R"({"outputs": {"a":[1,2],"b":[[true],[false]]}})");
}

TEST(TfsJsonWriteTest, RowFormatWantsOneNumberOfRows) {
  const Tensor two = Tensor::Of<float>({2}, {1, 2});
  EXPECT_THAT(std::string(Write({"a", "b"}, {two, Tensor::Of<float>({1}, {1})}, true).status().message()),
              HasSubstr("inconsistent batch size"));
  EXPECT_THAT(std::string(Write({"a"}, {Tensor::Of<float>({}, {1})}, true).status().message()),
              HasSubstr("inconsistent batch size"));
}

TEST(TfsJsonWriteTest, StringsAreTextOrBase64ByName) {
  const std::string text[] = {"a\"\\\n\x01", "\xc3\xa9"};
  const Tensor strings = Tensor::OfStrings({2}, absl::Span<const std::string>(text));
  EXPECT_EQ(*Write({"y"}, {strings}, false), "{\"outputs\": [\"a\\\"\\\\\\n\\u0001\",\"\xc3\xa9\"]}");
  const std::string raw[] = {"\xff"};
  const Tensor bytes = Tensor::OfStrings({1}, absl::Span<const std::string>(raw));
  EXPECT_EQ(*Write({"y_bytes"}, {bytes}, false), R"({"outputs": [{"b64":"/w=="}]})");
  EXPECT_EQ(Write({"y"}, {bytes}, false).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(TfsJsonWriteTest, IntegersAndSmallTypesAreWrittenExactly) {
  EXPECT_EQ(*Write({"y"}, {Tensor::Of<uint64_t>({1}, {std::numeric_limits<uint64_t>::max()})}, false),
            R"({"outputs": [18446744073709551615]})");
  EXPECT_EQ(*Write({"y"}, {Tensor::Of<int8_t>({2}, {-128, 5})}, false), R"({"outputs": [-128,5]})");
  EXPECT_EQ(*Write({"y"}, {Tensor::CopyOf(DType::kInt4, {3}, "\xe1\x07")}, false), R"({"outputs": [1,-2,7]})");
  EXPECT_EQ(*Write({"y"}, {Tensor::CopyOf(DType::kFloat16, {2}, absl::string_view("\x66\x2e\x00\x7c", 4))}, false),
            R"({"outputs": [0.0999756,Infinity]})");
  EXPECT_EQ(Write({"y"}, {Tensor::Allocate(DType::kComplex64, {1})}, false).status().code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace portico
