// Writes the seed corpora of all fuzzers: make_corpus FOLDER makes FOLDER/FUZZER/NAME, one file per seed. Seeds are
// what real clients and peers send, written by the product's own writers where it has them.
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/wire.h"
#include "codec/tensor_proto.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"
#include "hub/manifest.h"
#include "hub/store_index.h"
#include "node/observe/prediction_log.h"
#include "node/observe/tf_record.h"
#include "router/revision.h"
#include "tests/fuzz/corpus.h"
#include "tests/fuzz/fuzz.h"
#include "transport/stream_frame.h"
#include "transport/stream_lender.h"
#include "transport/zmq_pack.h"

namespace portico {
namespace {

std::vector<Tensor> SampleTensors() {
  const std::vector<std::string> words = {"ab", "", "\xc3\xa9"};
  return {Tensor::Of<float>({2, 2}, {1, -2.5f, 3e30f, 0}),
          Tensor::Of<int64_t>({3}, {1, -1, 1LL << 62}),
          Tensor::Of<uint8_t>({}, {7}),
          Tensor::OfStrings({3}, words),
          Tensor::Of<double>({0, 4}, {}),
          Tensor::CopyOf(DType::kFloat16, {2}, absl::string_view("\x00\x3c\x00\xc0", 4)),
          Tensor::Of<bool>({2}, {true, false})};
}

std::string TensorProtoBytes(const Tensor& tensor) {
  const auto encoded = EncodeTensorProto(tensor);
  FuzzCheckOk(encoded.status(), "a tensor is written");
  return absl::StrCat(encoded->head, encoded->content.bytes());
}

/// A TensorProto with values in typed fields, as numpy-less clients write it. `field` of tensor.proto; `packed` bytes.
std::string TypedTensorProto(int dtype, int64_t extent, uint32_t field, absl::string_view packed) {
  std::string dim, shape, out;
  WireWriter(&dim).Int(1, extent);
  WireWriter(&shape).Bytes(2, dim);
  WireWriter writer(&out);
  writer.Int(1, dtype);
  writer.Bytes(2, shape);
  writer.Bytes(field, packed);
  return out;
}

std::string PredictRequest(const std::vector<std::pair<std::string, std::string>>& inputs, absl::string_view filter) {
  std::string spec, version, out;
  WireWriter(&version).Int(1, 3);
  WireWriter spec_writer(&spec);
  spec_writer.Bytes(1, "digit");
  spec_writer.Bytes(2, version);
  spec_writer.Bytes(3, "serving_default");
  WireWriter writer(&out);
  writer.Bytes(1, spec);
  for (const auto& [name, tensor] : inputs) {
    std::string entry;
    WireWriter entry_writer(&entry);
    entry_writer.Bytes(1, name);
    entry_writer.Bytes(2, tensor);
    writer.Bytes(2, entry);
  }
  if (!filter.empty()) writer.Bytes(3, filter);
  return out;
}

void MakePredictRequest(const std::string& folder) {
  Corpus corpus(folder, "predict_request");
  std::vector<std::pair<std::string, std::string>> all;
  for (const Tensor& tensor : SampleTensors()) {
    const std::string proto = TensorProtoBytes(tensor);
    corpus.Add(proto);
    all.emplace_back(absl::StrCat("input", all.size()), proto);
    corpus.Add(PredictRequest({{"x", proto}}, ""));
  }
  corpus.Add(PredictRequest(all, "input1"));
  corpus.Add(TypedTensorProto(1, 4, 5, absl::string_view("\0\0\x80\x3f\0\0\0\x40", 8)));
  corpus.Add(TypedTensorProto(9, 5, 10, "\x01\x02\xff\x01"));
  corpus.Add(TypedTensorProto(3, 5, 7, "\x01\x02\xff\x01"));
  corpus.Add(TypedTensorProto(10, 3, 11, "\x01"));
  corpus.Add(TypedTensorProto(19, 2, 13, absl::string_view("\x80\x78", 2)));
  corpus.Add(TypedTensorProto(7, 2, 8, "text"));
}

void MakePredictJson(const std::string& folder) {
  Corpus corpus(folder, "predict_json");
  for (const absl::string_view body :
       {R"({"instances": [1.0, 2.5e3, -0.0]})", R"({"instances": [[1,2],[3,4]]})",
        R"({"inputs": {"x": [[1.5, NaN], [Infinity, -Infinity]]}})",
        R"({"signature_name":"two","instances":[{"a":1,"b":"t"},{"b":"u","a":[2]}]})",
        R"({"signature_name":"two","inputs":{"a":[1,2],"b":["x","y"]}})",
        R"({"signature_name":"bytes","instances":[{"b64":"aGVsbG8="},{"b64":""}]})",
        R"({"signature_name":"string","inputs":["\u00e9\ud83d\ude00","\"\\\n"]})",
        R"({"signature_name":"int64","instances":[9223372036854775807,-9223372036854775808]})",
        R"({"signature_name":"uint64","inputs":18446744073709551615})",
        R"({"signature_name":"bool","instances":[true,false]})",
        R"({"signature_name":"float16","instances":[0.1,65504,1e-8]})",
        R"({"signature_name":"bfloat16","instances":[3.14159]})",
        R"({"signature_name":"int8","instances":[[[-128],[127]]]})",
        R"({"signature_name":"fixed","instances":[{"x":[1,2,3]}]})", R"({"instances": []})", R"({"inputs": [[],[]]})",
        R"({"instances": [[1],[2,3]]})", R"({"instances": [[[[[[[[1]]]]]]]]})"}) {
    corpus.Add(body);
  }
}

std::string CallHeader(uint64_t call_id, absl::Span<const Tensor> tensors, std::vector<std::string>* names) {
  PeerHeader header;
  header.kind = PeerHeader::Kind::kCall;
  header.servable = "hub/digit-encoder";
  header.version = 3;
  header.digest = "0123456789abcdef0123456789abcdef";
  header.signature = "serving_default";
  header.tenant = "acme";
  header.trace_id_high = 1;
  header.parent_span_id = 2;
  header.sampled = true;
  header.trace_state = "vendor=1";
  for (size_t i = 0; i < tensors.size(); ++i) names->push_back(absl::StrCat("t", i));
  for (size_t i = 0; i < tensors.size(); ++i) {
    header.tensors.push_back({(*names)[i], tensors[i].dtype(), tensors[i].shape(), tensors[i].bytes().size()});
  }
  header.hop = 2;
  std::string bytes;
  EncodeHeader(header, {PeerHeader::Kind::kCall, call_id, 250'000, tensors}, &bytes);
  return bytes;
}

/// One header of each other kind.
std::vector<std::string> OtherHeaders() {
  std::vector<std::string> headers;
  PeerHeader reply;
  reply.kind = PeerHeader::Kind::kReply;
  reply.call_id = 9;
  reply.code = 14;
  reply.message = "no replica";
  reply.row_status.push_back({1, 3, "bad row", "\x01\x02", "hub/full", "mark"});
  reply.notes.push_back("cheap");
  reply.spans.push_back({1, 2, "segment", "hub/0", 5, 6, "CANCELLED"});
  EncodeHeader(reply, &headers.emplace_back());
  PeerHeader hello;
  hello.kind = PeerHeader::Kind::kHello;
  hello.incarnation = 77;
  hello.node = "hub/0";
  hello.served.push_back({"hub/digit-encoder", 1, "0123456789abcdef0123456789abcdef"});
  EncodeHeader(hello, &headers.emplace_back());
  for (const PeerHeader::Kind kind : {PeerHeader::Kind::kCancel, PeerHeader::Kind::kGoaway}) {
    PeerHeader header;
    header.kind = kind;
    header.call_id = 4;
    EncodeHeader(header, &headers.emplace_back());
  }
  return headers;
}

std::string Drain(StreamQueue& queue) {
  std::string bytes;
  while (!queue.empty()) {
    iovec piece;
    queue.Pieces(&piece, 1);
    bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    queue.Consume(piece.iov_len);
  }
  return bytes;
}

/// What stream_fuzz.cc reads: how the bytes are cut, then the bytes.
void MakeStream(const std::string& folder) {
  Corpus streams(folder, "stream");
  StreamQueue queue;
  std::vector<std::vector<Tensor>> calls = {{}, SampleTensors()};
  calls.push_back({Tensor::CopyOf(DType::kUint8, {4200}, std::string(4200, 'L'))});
  std::string all;
  for (size_t i = 0; i < calls.size(); ++i) {
    std::vector<std::string> names;
    queue.Append(CallHeader(i + 1, calls[i], &names), calls[i]);
    queue.AppendHeartbeat();
    const std::string bytes = Drain(queue);
    streams.Add(absl::StrCat("\xff", bytes));
    streams.Add(absl::StrCat("\x07", bytes));
    all += bytes;
  }
  streams.Add(absl::StrCat("\x40", all));
  for (const std::string& header : OtherHeaders()) {
    queue.Append(header, {});
    streams.Add(absl::StrCat("\xff", Drain(queue)));
  }
}

/// What shm_fuzz.cc reads: steps of a byte that says what, a byte that says how many words of 8 bytes, and those.
void MakeShm(const std::string& folder) {
  Corpus inputs(folder, "shm");
  const auto step = [](char what, absl::string_view bytes) {
    std::string steps;
    while (!bytes.empty()) {
      const absl::string_view part = bytes.substr(0, 2040);
      bytes.remove_prefix(part.size());
      absl::StrAppend(&steps, std::string(1, what), std::string(1, static_cast<char>((part.size() + 7) / 8)), part);
    }
    return steps;
  };
  StreamQueue queue;
  std::vector<std::string> names;
  queue.Append(CallHeader(1, SampleTensors(), &names), SampleTensors());
  const std::string small = step(4, Drain(queue));
  inputs.Add(small);
  std::string loans;
  for (const DType dtype : {DType::kUint8, DType::kInt64, DType::kBool}) {
    const std::vector<Tensor> tensors = {
        Tensor::CopyOf(dtype, {8000 * 8 / BitsPerElement(dtype)}, std::string(8000, '\1'))};
    queue.Append(CallHeader(2, tensors, &names), tensors);
    std::string lent = Drain(queue);
    char loan[StreamLoan::kBytes];
    StreamLoan{64, 5, 1}.Store(loan);
    lent.replace(lent.size() - 8000, 8000, loan, sizeof(loan));
    loans += step(4, lent);
    inputs.Add(step(4, lent));
    inputs.Add(step(2, std::string(2040, 'a')) + step(4, lent) + step(3, std::string(8, 'x')) + small);
    lent.replace(lent.size() - sizeof(loan), 8, std::string(8, '\xff'));
    inputs.Add(step(4, lent + std::string(8000, 'i')));
  }
  inputs.Add(loans + step(0, std::string(8, '\x11')) + step(1, std::string(8, '\1')));
}

void MakePeer(const std::string& folder) {
  Corpus headers(folder, "peer_header"), packs(folder, "zmq_pack"), messages(folder, "grpc_message");
  std::vector<std::vector<Tensor>> calls = {{}, SampleTensors()};
  for (const Tensor& tensor : SampleTensors()) calls.push_back({tensor});
  calls.push_back({Tensor::CopyOf(DType::kUint8, {4200}, std::string(4200, 'L'))});
  Pack all;
  for (size_t i = 0; i < calls.size(); ++i) {
    std::vector<std::string> names;
    const std::string header = CallHeader(i + 1, calls[i], &names);
    headers.Add(header);
    all.Append(header, calls[i]);
    Pack pack;
    pack.Append(header, calls[i]);
    std::string frames(1, static_cast<char>(pack.frames.size()));
    std::string bytes = pack.head;
    if (!pack.frames.empty()) {
      FuzzCheck(pack.head.size() % 8 == 0 && pack.frames.size() == 1, "the head is padded");
      frames += {static_cast<char>(pack.head.size() / 8 >> 8), static_cast<char>(pack.head.size() / 8)};
      bytes += std::string(pack.frames[0].bytes());
    }
    packs.Add(frames + bytes);
    std::string message = {4, 9};
    WireWriter(&message).RawVarint(header.size());
    message += header;
    for (const Tensor& tensor : calls[i]) message += std::string(tensor.bytes());
    messages.Add(message);
  }
  for (const std::string& header : OtherHeaders()) {
    headers.Add(header);
    Pack pack;
    pack.Append(header, {});
    packs.Add(absl::StrCat(std::string(1, '\0'), pack.head));
    std::string message = {0, 1};
    WireWriter(&message).RawVarint(header.size());
    messages.Add(message + header);
  }
}

void MakeFiles(const std::string& folder) {
  Corpus mesh(folder, "mesh_file");
  mesh.Add(
      "mesh: digits\nmodels:\n  hub/digit-encoder: {path: packages/hub}\n  digit: {path: packages/digit}\nnodes:\n"
      "  hub: {serve: [hub/digit-encoder], replicas: 2}\n  apps: {serve: [digit], grpc: 8500, http: 8501}\npolicies:\n"
      "  default: {timeout: 100ms, balance: p2c}\n  hub/digit-encoder: {timeout: 50ms}\n");
  mesh.Add(
      "mesh: a\nmodels: {m: &m {path: /nowhere}, n: *m}\nnodes: {x: {serve: [m], peer: 'zmq+ipc:///tmp/x', workers: "
      "2}}\n");
  mesh.Add("mesh: 'a b'\nmodels: {}\nnodes: {x: {serve: [], http: '0.0.0.0:0'}}\n");
  mesh.Add(
      "number: 4\nmesh: digits\nmodels:\n  - {name: digit, path: /packages/digit}\nnodes:\n  - {name: apps, replica: "
      "0, serve: [digit], "
      "peer: 'zmq+tcp://127.0.0.1:9', grpc: '127.0.0.1:8500'}\ndefault_policy: {timeout: 1s}\n");
  Revision revision;
  revision.number = 7;
  revision.mesh = "digits";
  revision.models = {{"digit", "/packages/digit"}, {"hub/enc", "/packages/enc"}};
  revision.nodes.push_back({"apps", 1, {"digit"}, "zmq+tcp://127.0.0.1:9000", "127.0.0.1:8500", "127.0.0.1:8501", 3});
  mesh.Add(FormatRevision(revision));

  mesh.Add(
      "mesh: m\nmodels:\n  spam: {cascade: {stages: [trigger, {model: full, when: 's > 0.1', pin: true, shared: [t]}], "
      "on_row_error: cheap, row_status: true, outputs: [s]}}\n  breeds: {experts: {gate: {model: g, inline: false}, "
      "gate_output: g, experts: [a, b], k: 2, k_min: 1, k_min_after: 20ms, capacity: 1.5}}\n  p: {sequence: [a, "
      "{model: "
      "b, inputs: {x: y}}]}\n  e: {ensemble: {models: [a, b], combine: mean, weights: [1, 2]}}\nnodes: {x: {serve: "
      "[p]}}\n");

  mesh.Add(
      "mesh: m\nhub: https://h/x\nmodels:\n  acme/encoder/1: {hub: store, on_demand: true}\nnodes: {n: {serve: "
      "[acme/encoder/1]}}\n");

  Corpus hub(folder, "hub_manifest");
  Manifest manifest;
  manifest.handle = {"acme", "encoder", 3};
  manifest.digest = Sha256("digest");
  manifest.family = "image";
  manifest.files = {{"assets/words.txt", 8, Sha256("a")}, {"model.onnx", 100, Sha256("b")}};
  manifest.signatures = {{"serving_default", {{"x", "x", DType::kFloat, true, {{-1, "N"}, {64, ""}}}}, {}}};
  manifest.portals = {{"acme/other", Sha256("other")}};
  hub.Add(absl::StrCat(absl::string_view("\0", 1), FormatManifest(manifest)));
  hub.Add(absl::StrCat("\1", FormatIndex({{manifest.handle, manifest.digest, "image", 108}})));
  hub.Add(
      "\2<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a/b/1/manifest.json</Key></Contents>"
      "<NextContinuationToken>t</NextContinuationToken></ListBucketResult>");
  hub.Add("\3acme/encoder/3");

  Corpus expression(folder, "expression");
  for (const absl::string_view condition :
       {"s > 0.1 && s < 0.9", "d == \"example.com\" || !f", "margin(p) < 0.2 && entropy(softmax(p)) > 1e-1",
        "argmax(q) != -1 || max(p) - min(p) <= w * 2 / n + abs(s)", "`d` == 'a\\'b' && e != d",
        "p[3] > q[0] && isnan(p)", "(((s > 1))) == (f && true)", "- -s >= .5"}) {
    expression.Add(condition);
  }

  Corpus servable(folder, "servable_yaml");
  servable.Add(
      "signatures:\n  serving_default:\n    inputs:  {image: {tensor: input_0, axis: rows}}\n    outputs: {p: {tensor: "
      "y}}\n"
      "batching: {max_batch_size: 64, max_delay_us: 0, max_queue_rows: 16384, max_running: 0}\nintra_op_threads: 1\n");
  servable.Add("signatures: {a: {inputs: [x, y]}, b: {outputs: {z: }}}\n");
  servable.Add("batching:\n  max_batch_size: -1\n");
  servable.Add("{}");

  Corpus paths(folder, "http_path");
  for (const absl::string_view path :
       {"\1/v1/models/digit:predict", "\1/v1/models/digit/versions/3:classify",
        "\1/v1/models/digit/labels/canary:regress", "/v1/models/digit", "/v1/models/digit/metadata",
        "\2/v1/models/hub--enc/versions/18446744073709551616", "\1/v2/models/digit/versions/1/infer",
        "/v2/models/digit/ready", "/v2/health/live", "\1/v2/repository/models/digit/unload",
        "/v1/models/%2e%2e/versions/-1"}) {
    paths.Add(absl::StrCat(path[0] == '/' ? absl::string_view("\0", 1) : "", path));
  }
}

/// An infer request with these inputs, name → (datatype, tensor), raw; or typed `contents` where they are given.
std::string V2Request(const std::vector<Tensor>& tensors, absl::string_view datatype, absl::string_view contents) {
  std::string out;
  WireWriter writer(&out);
  writer.Bytes(1, "simple");
  writer.Bytes(2, "1");
  writer.Bytes(3, "42");
  std::string value, parameter;
  WireWriter(&value).Varint(2, 1000);
  WireWriter parameter_writer(&parameter);
  parameter_writer.Bytes(1, "timeout");
  parameter_writer.Bytes(2, value);
  writer.Bytes(4, parameter);
  std::vector<std::string> raws;
  for (const Tensor& tensor : tensors) {
    std::string input, extents;
    WireWriter input_writer(&input);
    input_writer.Bytes(1, absl::StrCat("INPUT", raws.size()));
    input_writer.Bytes(2, datatype.empty() ? V2TypeName(tensor.dtype()) : datatype);
    WireWriter extents_writer(&extents);
    for (const int64_t extent : tensor.shape()) extents_writer.RawVarint(static_cast<uint64_t>(extent));
    input_writer.Bytes(3, extents);
    if (!contents.empty()) input_writer.Bytes(5, contents);
    writer.Bytes(5, input);
    SplicedMessage raw;
    AppendV2Raw(tensor, &raw);
    raws.push_back(raw.bytes);
  }
  std::string requested;
  WireWriter(&requested).Bytes(1, "OUTPUT0");
  writer.Bytes(6, requested);
  for (const std::string& raw : raws) {
    if (contents.empty()) writer.Bytes(7, raw);
  }
  return out;
}

void MakeV2(const std::string& folder) {
  Corpus corpus(folder, "v2_infer");
  for (const Tensor& tensor : SampleTensors()) corpus.Add(V2Request({tensor}, "", ""));
  corpus.Add(V2Request(SampleTensors(), "", ""));
  const Tensor two = Tensor::Of<int32_t>({2}, {1, 2});
  const auto packed = [](uint32_t field, absl::string_view bytes) {
    std::string contents;
    WireWriter(&contents).Bytes(field, bytes);
    return contents;
  };
  corpus.Add(V2Request({two}, "INT32", packed(2, "\x01\x02")));
  corpus.Add(V2Request({two}, "INT64", packed(3, "\x01\x7f")));
  corpus.Add(V2Request({two}, "UINT8", packed(4, "\x01\x7f")));
  corpus.Add(V2Request({two}, "FP32", packed(6, absl::string_view("\0\0\x80\x3f\0\0\0\x40", 8))));
  corpus.Add(V2Request({two}, "BYTES", absl::StrCat(packed(8, "ab"), packed(8, "c"))));
  corpus.Add(V2Request({two}, "BOOL", packed(1, absl::string_view("\1\0", 2))));
}

void MakeV2Json(const std::string& folder) {
  Corpus corpus(folder, "v2_json");
  const auto body = [](absl::string_view json, absl::string_view binary) {
    return absl::StrCat(std::string{static_cast<char>(json.size() >> 8), static_cast<char>(json.size())}, json, binary);
  };
  corpus.Add(body(
      R"({"id":"7","inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}],"outputs":[{"name":"y","parameters":{"binary_data":false}}]})",
      ""));
  corpus.Add(body(
      R"({"parameters":{"binary_data_output":true,"timeout":5},"inputs":[{"name":"x","shape":[1,2],"datatype":"INT32","parameters":{"binary_data_size":8}}]})",
      absl::string_view("\1\0\0\0\2\0\0\0", 8)));
  corpus.Add(body(
      R"({"inputs":[{"name":"t","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":10}},{"name":"x","shape":[2,2],"datatype":"INT64","data":[[1,2],[3,-4]]}]})",
      absl::string_view("\2\0\0\0ab\0\0\0\0", 10)));
  corpus.Add(body(
      R"({"inputs":[{"name":"t","shape":[3],"datatype":"BYTES","data":["a",{"b64":"YQ=="},"\u00e9"]},{"name":"b","shape":[2],"datatype":"BOOL","data":[true,false]}]})",
      ""));
  corpus.Add(body(
      R"({"inputs":[{"name":"h","shape":[2],"datatype":"FP16","data":[NaN,-0.5]},{"name":"u","shape":[1],"datatype":"UINT64","data":[18446744073709551615]}]})",
      ""));
}

void MakeForeignReply(const std::string& folder) {
  Corpus corpus(folder, "foreign_reply");
  const auto reply = [](int api, absl::string_view json, absl::string_view binary) {
    const size_t length = binary.empty() ? 0 : json.size();
    return absl::StrCat(std::string{static_cast<char>(api), static_cast<char>(length >> 8), static_cast<char>(length)},
                        json, binary);
  };
  corpus.Add(reply(2, R"({"outputs":{"x":[1.5,NaN],"y":[[1,2]],"s":["a",{"b64":"YQ=="}],"other":[{}]}})", ""));
  corpus.Add(reply(2, R"({"outputs":[1,2.5]})", ""));
  corpus.Add(reply(2, R"({"model_version_status":[{"version":"3","state":"AVAILABLE","status":{}}]})", ""));
  corpus.Add(reply(2, R"({"error":"no such model"})", ""));
  corpus.Add(
      reply(3, R"({"outputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5],"parameters":null}]})", ""));
  corpus.Add(reply(
      3, R"({"outputs":[{"data":[[1],[2]],"name":"y","shape":[2,1],"datatype":"INT64","parameters":{"a":"b"}}]})", ""));
  corpus.Add(reply(3,
                   R"({"outputs":[{"name":"s","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":10}}]})",
                   absl::string_view("\2\0\0\0ab\0\0\0\0", 10)));
}

/// feature: name → list, `field` 1 bytes, 2 floats, 3 integers.
std::string Feature(absl::string_view name, uint32_t field, absl::string_view list) {
  std::string feature, entry, out;
  WireWriter(&feature).Bytes(field, list);
  WireWriter entry_writer(&entry);
  entry_writer.Bytes(1, name);
  entry_writer.Bytes(2, feature);
  WireWriter(&out).Bytes(1, entry);
  return out;
}

std::string ListOf(absl::string_view value) {
  std::string list;
  WireWriter(&list).Bytes(1, value);
  return list;
}

std::string Example(const std::string& features) { return ListOf(features); }

void MakeExamples(const std::string& folder) {
  Corpus corpus(folder, "tf_example");
  const std::string floats = Feature("x", 2, ListOf(absl::string_view("\0\0\x80\x3f\0\0\0\x40", 8)));
  const std::string integers = Feature("k", 3, ListOf("\x01\x02"));
  const std::string words = Feature("tag", 1, absl::StrCat(ListOf("cat"), ListOf("")));
  const std::string all = Example(absl::StrCat(floats, integers, words, Feature("y", 1, ListOf("ignored"))));
  const auto input = [](uint32_t field, absl::string_view list) {
    std::string out;
    WireWriter(&out).Bytes(field, list);
    return out;
  };
  std::string with_context;
  WireWriter writer(&with_context);
  writer.Bytes(1, Example(floats));
  writer.Bytes(2, Example(absl::StrCat(integers, words)));
  for (const char signature : {0, 1, 2}) {
    const std::string first(1, signature);
    corpus.Add(absl::StrCat(first, input(1, ListOf(all))));
    corpus.Add(absl::StrCat(first, input(1, absl::StrCat(ListOf(all), ListOf(all)))));
    corpus.Add(absl::StrCat(first, input(2, with_context)));
  }
  Corpus json(folder, "examples_json");
  json.Add(
      R"({"signature_name":"examples","context":{"k":[1,2]},"examples":[{"x":[1,2.5],"tag":["a",{"b64":"YQ=="}]},{"x":[3,4],"tag":["b","c"]}]})");
  json.Add(R"({"examples":[{"x":1},{"x":[2]}]})");
  json.Add(R"({"signature_name":"int64","examples":[{"x":true},{"x":-9223372036854775808}]})");
  json.Add(R"({"examples":[]})");
}

void MakePredictionLog(const std::string& folder) {
  Corpus corpus(folder, "prediction_log");
  PredictionRecord record;
  record.model = "digit";
  record.version = 3;
  record.signature = "serving_default";
  record.start = absl::FromUnixMicros(1'700'000'000'000'000);
  record.latency = absl::Microseconds(250);
  std::string all;
  const auto add = [&] {
    const auto log = EncodePredictionLog(record);
    FuzzCheckOk(log.status(), "a record is written");
    AppendTfRecord(*log, &all);
    corpus.Add(absl::StrCat("\1", *log));
  };
  for (const Tensor& tensor : SampleTensors()) {
    record.inputs = {{"x", tensor}};
    record.outputs = {{"y", tensor}, {"z", tensor}};
    add();
  }
  record.outputs.clear();
  record.status = absl::InternalError("broken");
  add();
  corpus.Add(absl::StrCat(absl::string_view("\0", 1), all));
  std::string other;
  WireWriter(&other).Bytes(2, "a record of a Classify");
  corpus.Add(absl::StrCat("\1", other));
}

std::string Packed(absl::string_view text, int window_bits) {
  z_stream stream{};
  FuzzCheck(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib begins");
  std::string packed(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  FuzzCheck(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib packs");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

void MakeGunzip(const std::string& folder) {
  Corpus corpus(folder, "gunzip");
  const std::string text = R"({"instances": [1, 2, 3]})";
  const std::string gzip = Packed(text, 15 + 16);
  corpus.Add(gzip);
  corpus.Add(Packed(text, 15));
  corpus.Add(Packed(std::string(100'000, 'a'), 15 + 16));
  corpus.Add(gzip + gzip);
  corpus.Add(gzip + "x");
  corpus.Add("");
}

}  // namespace
}  // namespace portico

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus FOLDER\n");
    return 2;
  }
  portico::MakePredictJson(argv[1]);
  portico::MakePredictRequest(argv[1]);
  portico::MakePeer(argv[1]);
  portico::MakeStream(argv[1]);
  portico::MakeShm(argv[1]);
  portico::MakeFiles(argv[1]);
  portico::MakeGunzip(argv[1]);
  portico::MakeTableCorpora(argv[1]);
  portico::MakeV2(argv[1]);
  portico::MakeV2Json(argv[1]);
  portico::MakeForeignReply(argv[1]);
  portico::MakeExamples(argv[1]);
  portico::MakePredictionLog(argv[1]);
}
