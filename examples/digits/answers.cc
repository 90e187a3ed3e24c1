#include "examples/digits/answers.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/http_client.h"
#include "cli/tfs_client.h"
#include "cli/waterfall.h"
#include "codec/json_text.h"
#include "models/runtime/session.h"
#include "simdjson.h"

namespace portico::digits {
namespace {

constexpr int64_t kImagesPerRequest = 8;
constexpr uint64_t kMaxModelBytes = 64 << 20;
constexpr double kMaxDifference = 1e-5;

/// Adds one reply's rows.
absl::Status AddOutputs(absl::Span<const NamedTensor> outputs, Answers* answers) {
  for (const NamedTensor& output : outputs) {
    if (output.name == "probabilities" && output.tensor.dtype() == DType::kFloat) {
      const auto values = output.tensor.data<float>();
      answers->probabilities.insert(answers->probabilities.end(), values.begin(), values.end());
    } else if (output.name == "label" && output.tensor.dtype() == DType::kInt64) {
      const auto values = output.tensor.data<int64_t>();
      answers->labels.insert(answers->labels.end(), values.begin(), values.end());
    } else {
      return absl::InternalError(
          absl::StrCat("output '", output.name, "': got one that is not expected, want probabilities and label"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Answers> CheckCount(Answers answers, const Heldout& heldout) {
  const size_t images = static_cast<size_t>(heldout.size());
  if (answers.labels.size() == images && !answers.probabilities.empty() && answers.probabilities.size() % images == 0)
    return answers;
  return absl::InternalError(absl::StrCat("answers: got ", answers.labels.size(), " labels and ",
                                          answers.probabilities.size(), " probabilities for ", images,
                                          " images, want one label and a row for each"));
}

absl::Status AddJson(const std::string& body, Answers* answers) {
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element outputs = parser.parse(body)["outputs"];
    for (const simdjson::dom::element row : outputs["probabilities"].get_array()) {
      for (const simdjson::dom::element value : row.get_array()) {
        answers->probabilities.push_back(static_cast<float>(double{value.get_double()}));
      }
    }
    for (const simdjson::dom::element value : outputs["label"].get_array())
      answers->labels.push_back(value.get_int64());
    return absl::OkStatus();
  } catch (const simdjson::simdjson_error& error) {
    return absl::InternalError(absl::StrCat("REST answer: got ", error.what(), " in ", body.substr(0, 200)));
  }
}

}  // namespace

absl::StatusOr<Answers> AskUnsplit(const std::string& path, const Heldout& heldout) {
  ASSIGN_OR_RETURN(const std::string model, ReadFile(path, kMaxModelBytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Create(model, {}, {.name = path}));
  ASSIGN_OR_RETURN(std::vector<Tensor> tensors, session->Run({heldout.images}));
  std::vector<NamedTensor> outputs;
  for (size_t i = 0; i < tensors.size(); ++i) outputs.push_back({session->outputs()[i].name, std::move(tensors[i])});
  Answers answers;
  RETURN_IF_ERROR(AddOutputs(outputs, &answers));
  return CheckCount(std::move(answers), heldout);
}

absl::StatusOr<Answers> AskGrpc(const std::string& address, const std::string& product, const Heldout& heldout) {
  TfsClient client(address);
  Answers answers;
  for (int64_t begin = 0; begin < heldout.size(); begin += kImagesPerRequest) {
    const int64_t count = std::min(kImagesPerRequest, heldout.size() - begin);
    ASSIGN_OR_RETURN(const TfsClient::Prediction prediction,
                     client.Predict(product, "", {{"image", heldout.images.Slice(begin, count)}}, {}));
    RETURN_IF_ERROR(AddOutputs(prediction.outputs, &answers));
  }
  return CheckCount(std::move(answers), heldout);
}

absl::StatusOr<Answers> AskRest(const std::string& address, const std::string& product, const Heldout& heldout) {
  Answers answers;
  HttpCall call;
  call.target = absl::StrCat("/v1/models/", product, ":predict");
  for (int64_t begin = 0; begin < heldout.size(); begin += kImagesPerRequest) {
    call.body = RequestBody(heldout, begin, std::min(kImagesPerRequest, heldout.size() - begin));
    ASSIGN_OR_RETURN(const HttpAnswer answer, CallHttp(address, call));
    if (answer.code != 200)
      return absl::InternalError(absl::StrCat("HTTP ", answer.code, " from '", address, "': ", answer.body));
    RETURN_IF_ERROR(AddJson(answer.body, &answers));
  }
  return CheckCount(std::move(answers), heldout);
}

absl::StatusOr<std::string> TraceOne(const std::string& grpc, const std::string& http, const std::string& product,
                                     const Heldout& heldout, int64_t index) {
  TfsClient client(grpc);
  TfsClient::CallOptions options;
  const std::vector<NamedTensor> image = {{"image", heldout.images.Slice(index, 1)}};
  // The first request of a connection also pays for connecting.
  RETURN_IF_ERROR(client.Predict(product, "", image, options).status());
  options.trace = {
      .trace_id_high = NewSpanId(), .trace_id_low = NewSpanId(), .parent_span_id = NewSpanId(), .sampled = true};
  RETURN_IF_ERROR(client.Predict(product, "", image, options).status());
  HttpCall call;
  call.target = absl::StrCat("/debug/traces?id=", TraceIdHex(options.trace));
  ASSIGN_OR_RETURN(const HttpAnswer answer, CallHttp(http, call));
  if (answer.code != 200)
    return absl::InternalError(absl::StrCat("HTTP ", answer.code, " from '", http, "': ", answer.body));
  return Waterfall(answer.body);
}

std::string RequestBody(const Heldout& heldout, int64_t begin, int64_t count) {
  std::string body = "{\"inputs\":[";
  for (int64_t index = begin; index < begin + count; ++index) {
    body.append(index == begin ? "[" : ",[");
    bool first = true;
    for (const float pixel : heldout.Image(index)) {
      if (!std::exchange(first, false)) body.push_back(',');
      AppendJsonFloat(pixel, &body);
    }
    body.push_back(']');
  }
  return body + "]}";
}

absl::Status CompareAnswers(const std::string& what, const Answers& got, const Answers& want) {
  if (got.probabilities.size() != want.probabilities.size()) {
    return absl::InternalError(absl::StrCat(what, ": got ", got.classes(), " classes, want ", want.classes()));
  }
  for (size_t i = 0; i < want.labels.size(); ++i) {
    if (got.labels[i] != want.labels[i]) {
      return absl::InternalError(absl::StrCat(what, ": image ", i, ": got label ", got.labels[i], ", want ",
                                              want.labels[i], " as the unsplit model says"));
    }
  }
  for (size_t i = 0; i < want.probabilities.size(); ++i) {
    // Not "greater": NaN must not pass.
    if (!(std::abs(double{got.probabilities[i]} - want.probabilities[i]) <= kMaxDifference)) {
      return absl::InternalError(absl::StrCat(what, ": image ", static_cast<int64_t>(i) / want.classes(),
                                              ": got probability ", got.probabilities[i], ", want ",
                                              want.probabilities[i], " within ", kMaxDifference));
    }
  }
  return absl::OkStatus();
}

}  // namespace portico::digits
