#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "cli/client_security_flags.h"
#include "cli/commands.h"
#include "cli/http_client.h"
#include "cli/mesh_nodes.h"
#include "cli/npy.h"
#include "cli/report_error.h"
#include "cli/tfs_client.h"
#include "cli/waterfall.h"
#include "codec/json_text.h"
#include "node/frontend/http_server.h"
#include "node/frontend/tfs_json.h"

namespace portico {
namespace {

struct PredictFlags {
  std::string grpc = "127.0.0.1:8500";
  std::string http = "127.0.0.1:8501";
  std::string model;
  std::string signature;
  std::vector<std::string> inputs;
  bool rest = false;
  bool trace = false;
  double timeout_s = 30;
  ClientSecurityFlags security;
};

/// An input as the command line gives it: "name=[[1,2]]" or "name=@array.npy".
struct InputFlag {
  std::string name;
  std::string json;
  /// Where the value is a file.
  Tensor array;
};

absl::StatusOr<std::vector<InputFlag>> ReadInputs(const std::vector<std::string>& flags) {
  std::vector<InputFlag> inputs;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == flag.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--input: got '", flag, "', want NAME=JSON or NAME=@FILE.npy, such as 'x=[[1,2]]'"));
    }
    InputFlag& input = inputs.emplace_back();
    input.name = flag.substr(0, equals);
    absl::string_view value = absl::string_view(flag).substr(equals + 1);
    if (absl::ConsumePrefix(&value, "@")) {
      ASSIGN_OR_RETURN(input.array, ReadNpy(std::string(value)));
    } else {
      input.json = std::string(value);
    }
  }
  return inputs;
}

std::string SpecsText(const std::vector<TensorSpec>& specs) {
  return absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& spec) {
    absl::StrAppend(out, "'", spec.name, "' ", spec.ToString());
  });
}

/// `{"outputs": ...}` as the REST API writes it.
absl::StatusOr<std::string> OutputsJson(std::vector<NamedTensor> outputs) {
  Signature signature;
  std::vector<Tensor> tensors;
  for (NamedTensor& output : outputs) {
    TensorSpec& spec = signature.outputs.emplace_back();
    spec.name = std::move(output.name);
    spec.dtype = output.tensor.dtype();
    tensors.push_back(std::move(output.tensor));
  }
  return WritePredictJson(signature, tensors, /*row_format=*/false);
}

/// The value alone.
absl::StatusOr<std::string> ArrayJson(const InputFlag& input) {
  ASSIGN_OR_RETURN(const std::string body, OutputsJson({{input.name, input.array}}));
  const size_t begin = body.find(':') + 1;
  return body.substr(begin, body.rfind('}') - begin);
}

/// The body of a REST request in column format.
absl::StatusOr<std::string> RequestJson(const std::string& signature, const std::vector<InputFlag>& inputs) {
  std::string body = "{";
  if (!signature.empty()) {
    body.append("\"signature_name\":");
    AppendJsonString(signature, &body);
    body.push_back(',');
  }
  body.append("\"inputs\":{");
  bool first = true;
  for (const InputFlag& input : inputs) {
    if (!std::exchange(first, false)) body.push_back(',');
    AppendJsonString(input.name, &body);
    body.push_back(':');
    if (input.array.valid()) {
      ASSIGN_OR_RETURN(const std::string json, ArrayJson(input));
      body.append(json);
    } else {
      body.append(input.json);
    }
  }
  return body + "}}";
}

/// JSON turned into the dtypes that the model takes, by the reader of the REST API; arrays as they are.
absl::StatusOr<std::vector<NamedTensor>> ToTensors(const std::string& model, const Signature& signature,
                                                   const std::vector<InputFlag>& inputs) {
  if (inputs.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("model '", model, "': got no --input, want one for each of ", SpecsText(signature.inputs)));
  }
  std::vector<NamedTensor> tensors;
  std::vector<InputFlag> json_inputs;
  Signature json_signature;
  json_signature.name = signature.name;
  for (const InputFlag& input : inputs) {
    const int index = signature.InputIndex(input.name);
    if (index < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("model '", model, "': got input '", input.name, "', want ", SpecsText(signature.inputs)));
    }
    if (input.array.valid()) {
      tensors.push_back({input.name, input.array});
      continue;
    }
    json_inputs.push_back(input);
    json_signature.inputs.push_back(signature.inputs[static_cast<size_t>(index)]);
  }
  if (json_inputs.empty()) return tensors;
  ASSIGN_OR_RETURN(std::string body, RequestJson("", json_inputs));
  body.reserve(body.size() + HttpRequest::kBodyPadding);
  ASSIGN_OR_RETURN(PredictJson read, ReadPredictJson(body, [&](absl::string_view) { return &json_signature; }));
  for (size_t i = 0; i < json_inputs.size(); ++i) tensors.push_back({json_inputs[i].name, std::move(read.inputs[i])});
  return tensors;
}

absl::StatusOr<std::string> PredictGrpc(const PredictFlags& flags, const std::vector<InputFlag>& inputs,
                                        const TraceContext& trace) {
  ASSIGN_OR_RETURN(const ClientSecurity security, flags.security.Read(flags.grpc));
  TfsClient client(flags.grpc, security);
  TfsClient::CallOptions options;
  options.timeout = absl::Seconds(flags.timeout_s);
  ASSIGN_OR_RETURN(const Signature signature, client.FetchSignature(flags.model, flags.signature, options));
  ASSIGN_OR_RETURN(const std::vector<NamedTensor> tensors, ToTensors(flags.model, signature, inputs));
  options.trace = trace;
  ASSIGN_OR_RETURN(TfsClient::Prediction prediction, client.Predict(flags.model, flags.signature, tensors, options));
  return OutputsJson(std::move(prediction.outputs));
}

absl::StatusOr<std::string> PredictRest(const PredictFlags& flags, const std::vector<InputFlag>& inputs,
                                        const TraceContext& trace) {
  HttpCall call;
  // A name can't hold a slash in a URL.
  call.target = absl::StrCat("/v1/models/", absl::StrReplaceAll(flags.model, {{"/", "--"}}), ":predict");
  call.timeout = absl::Seconds(flags.timeout_s);
  ASSIGN_OR_RETURN(call.security, flags.security.Read(flags.http));
  if (trace.sampled) call.headers.emplace_back("traceparent", FormatTraceparent(trace));
  ASSIGN_OR_RETURN(call.body, RequestJson(flags.signature, inputs));
  ASSIGN_OR_RETURN(HttpAnswer answer, CallHttp(flags.http, call));
  if (answer.code == 200) return std::move(answer.body);
  return absl::InvalidArgumentError(absl::StrCat("HTTP ", answer.code, " from '", flags.http, "': ", answer.body));
}

absl::Status PrintTrace(const PredictFlags& flags, const TraceContext& trace) {
  HttpCall call;
  ASSIGN_OR_RETURN(call.security, flags.security.Read(flags.http));
  call.target = absl::StrCat("/debug/traces?id=", TraceIdHex(trace));
  const absl::StatusOr<std::string> traces = AskNode({"", flags.http}, call);
  if (!traces.ok()) return WithContext("--trace", traces.status());
  ASSIGN_OR_RETURN(const std::string waterfall, Waterfall(*traces));
  std::printf("trace %s\n%s", TraceIdHex(trace).c_str(), waterfall.c_str());
  return absl::OkStatus();
}

absl::Status Predict(const PredictFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<InputFlag> inputs, ReadInputs(flags.inputs));
  TraceContext trace;
  if (flags.trace) {
    trace = {.trace_id_high = NewSpanId(), .trace_id_low = NewSpanId(), .parent_span_id = NewSpanId(), .sampled = true};
  }
  ASSIGN_OR_RETURN(const std::string answer,
                   flags.rest ? PredictRest(flags, inputs, trace) : PredictGrpc(flags, inputs, trace));
  std::puts(std::string(absl::StripAsciiWhitespace(answer)).c_str());
  return flags.trace ? PrintTrace(flags, trace) : absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<PredictFlags>();
  CLI::App* command = app.add_subcommand("predict", "Ask a served model, and print its outputs as JSON");
  command->add_option("model", flags->model, "Name of the model")->required();
  command->add_option("--grpc", flags->grpc, "gRPC address of a node")->capture_default_str()->type_name("HOST:PORT");
  command->add_option("--http", flags->http, "HTTP address of the same node, for --rest and --trace")
      ->capture_default_str()
      ->type_name("HOST:PORT");
  command->add_option("--signature", flags->signature, "Signature of the model; default: serving_default");
  command->add_option("--input", flags->inputs, "An input; repeatable")->type_name("NAME=JSON|NAME=@FILE.npy");
  command->add_flag("--rest", flags->rest, "Ask over REST instead of gRPC");
  command->add_flag(
      "--trace", flags->trace,
      "Show where the request's time went, hop by hop; where nodes have tenants, an admin's --token-file");
  command->add_option("--timeout", flags->timeout_s, "Seconds to wait for the answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  flags->security.AddTo(*command);
  command->footer(
      "Example:\n"
      "  portico predict --grpc 127.0.0.1:8500 digit --input image=@image.npy\n"
      "  portico predict --grpc node:8500 --tls-ca ca.pem --token-file token digit --input image=@image.npy\n"
      "  portico predict --http 127.0.0.1:8501 --rest --trace sum --input 'x=[[1,2],[3,4]]'");
  command->callback([flags, &exit_code] { exit_code = ReportError("predict", Predict(*flags)); });
}

}  // namespace portico
