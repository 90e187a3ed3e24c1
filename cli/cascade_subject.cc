#include "cli/cascade_subject.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/npy.h"
#include "cli/npz.h"
#include "cli/recorded_requests.h"
#include "deploy/hub_modules.h"
#include "deploy/mesh.h"
#include "models/calibrate/guess.h"
#include "models/package/package.h"
#include "node/frontend/tfs_codec.h"

namespace portico {
namespace {

constexpr absl::Duration kProgressPeriod = absl::Milliseconds(200);
constexpr absl::Duration kCostTime = absl::Milliseconds(300);
/// Of one recorded request's tensors.
constexpr uint64_t kMaxTensorBytes = uint64_t{2} << 30;

// The models.

/// A model by its path: a file, a version folder, or the folder of all versions, of which the highest counts.
absl::StatusOr<std::shared_ptr<const Package>> LoadModel(const std::string& path) {
  WeightStore store;
  std::error_code ignored;
  std::string folder = path;
  if (!std::filesystem::is_directory(path, ignored)) {
    ASSIGN_OR_RETURN(Model model, Model::Load(path, store));
    ASSIGN_OR_RETURN(Signature signature, GraphSignature(model));
    return std::make_shared<const Package>(
        Package{.name = path, .folder = path, .model = std::move(model), .signatures = {std::move(signature)}});
  }
  if (!std::filesystem::exists(std::filesystem::path(path) / "model.onnx", ignored)) {
    ASSIGN_OR_RETURN(const std::vector<VersionFolder> versions, ListVersions(path));
    if (versions.empty()) {
      return absl::NotFoundError(
          absl::StrCat("folder '", path, "': got no version, want model.onnx, or N/model.onnx for version N"));
    }
    folder = versions.back().folder;
  }
  ASSIGN_OR_RETURN(Package package, LoadPackage(path, folder, store));
  return std::make_shared<const Package>(std::move(package));
}

absl::StatusOr<Ingredient> FindByPath(const std::string& path, bool) {
  ASSIGN_OR_RETURN(std::shared_ptr<const Package> package, LoadModel(path));
  return Ingredient{.digest = package->digest,
                    .signatures = package->signatures,
                    .axes_declared = package->axes_declared,
                    .package = package};
}

absl::StatusOr<CascadeSource> OpenCascade(const CascadeFlags& flags) {
  const bool two = !flags.trigger.empty() && !flags.full.empty();
  if (flags.mesh_file.empty() != two || flags.trigger.empty() != flags.full.empty()) {
    return absl::InvalidArgumentError("cascade: want a mesh file, or --trigger and --full, one of both");
  }
  if (!two) return ReadCascade(flags.mesh_file, flags.model, PullModules());
  Composition cascade;
  cascade.name = "cascade";
  cascade.kind = Composition::Kind::kCascade;
  cascade.file = "command line";
  cascade.line = 1;
  for (const std::string& path : {flags.trigger, flags.full}) {
    CompositionMember& member = cascade.members.emplace_back();
    member.model = path;
    member.line = 1;
  }
  return CascadeSource{std::make_shared<const Composition>(std::move(cascade)), FindByPath};
}

// The rows.

/// Element `index` of an array of numbers.
absl::StatusOr<double> NumberAt(const Tensor& array, uint64_t index) {
  const auto i = static_cast<size_t>(index);
  switch (array.dtype()) {
    case DType::kFloat:
      return array.data<float>()[i];
    case DType::kDouble:
      return array.data<double>()[i];
    case DType::kInt8:
      return array.data<int8_t>()[i];
    case DType::kInt16:
      return array.data<int16_t>()[i];
    case DType::kInt32:
      return array.data<int32_t>()[i];
    case DType::kInt64:
      return static_cast<double>(array.data<int64_t>()[i]);
    case DType::kUint8:
      return array.data<uint8_t>()[i];
    case DType::kUint16:
      return array.data<uint16_t>()[i];
    case DType::kUint32:
      return array.data<uint32_t>()[i];
    case DType::kUint64:
      return static_cast<double>(array.data<uint64_t>()[i]);
    case DType::kBool:
      return array.data<bool>()[i] ? 1 : 0;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("--labels: got ", DTypeName(array.dtype()), ", want numbers, truth values or text"));
  }
}

absl::StatusOr<std::vector<NamedTensor>> ReadArrays(const CascadeFlags& flags) {
  std::vector<NamedTensor> arrays;
  if (!flags.data.empty()) {
    ASSIGN_OR_RETURN(arrays, ReadNpz(flags.data));
  }
  for (const std::string& flag : flags.inputs) {
    const size_t equals = flag.find("=@");
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--input: got '", flag, "', want NAME=@FILE.npy"));
    }
    ASSIGN_OR_RETURN(Tensor array, ReadNpy(flag.substr(equals + 2)));
    arrays.push_back({flag.substr(0, equals), std::move(array)});
  }
  return arrays;
}

absl::Status AddArrays(const CascadeFlags& flags, std::vector<NamedTensor> arrays, CascadeSubject& subject) {
  for (NamedTensor& array : arrays) {
    if (array.name == flags.labels) subject.labels = array.tensor;
    const auto spec =
        absl::c_find_if(subject.data.inputs(), [&](const TensorSpec& input) { return input.name == array.name; });
    const bool cut = spec != subject.data.inputs().end() && spec->axis == AxisKind::kRows && flags.limit > 0 &&
                     !array.tensor.shape().empty() && array.tensor.rows() > flags.limit;
    if (cut) array.tensor = array.tensor.Slice(0, flags.limit);
  }
  RETURN_IF_ERROR(subject.data.Add(arrays));
  if (flags.labels.empty()) return absl::OkStatus();
  if (!subject.labels.valid() && !absl::EndsWith(flags.labels, ".npy")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--labels: got '", flags.labels, "', want a file of numpy.save(), *.npy, or an array of --data"));
  }
  if (!subject.labels.valid()) {
    ASSIGN_OR_RETURN(subject.labels, ReadNpy(flags.labels));
  }
  if (flags.limit > 0 && !subject.labels.shape().empty() && subject.labels.rows() > flags.limit) {
    subject.labels = subject.labels.Slice(0, flags.limit);
  }
  return absl::OkStatus();
}

/// Adds one recorded request's rows; why not, where it has none for these models. One to another model than those that
/// count is no error.
absl::Status AddRequest(const RecordedRequest& request, CascadeSubject& subject) {
  ASSIGN_OR_RETURN(const PredictRequestView view, ReadPredictRequest(request.log.request));
  if (!subject.log_model.empty() && view.spec.name != subject.log_model) {
    ++subject.to_others;
    return absl::OkStatus();
  }
  if (request.log.code != absl::StatusCode::kOk) {
    return absl::InvalidArgumentError(absl::StrCat("got a request that failed: ", request.log.message));
  }
  ASSIGN_OR_RETURN(const std::vector<NamedTensor> inputs, ReadPredictInputs(view, request.file, kMaxTensorBytes));
  RETURN_IF_ERROR(subject.data.Add(inputs));
  if (subject.first_model.empty()) subject.first_model = std::string(view.spec.name);
  if (view.spec.name != subject.first_model) ++subject.to_others;
  return absl::OkStatus();
}

absl::Status AddLogs(const CascadeFlags& flags, CascadeSubject& subject) {
  // A node that serves the full model too records what it is asked with the same inputs; these rows would count twice.
  subject.log_model = flags.log_model;
  if (subject.log_model.empty() && !flags.mesh_file.empty()) subject.log_model = subject.cascade->name;
  ASSIGN_OR_RETURN(RecordedRequests requests, RecordedRequests::Open(flags.logs));
  while (flags.limit == 0 || subject.data.rows() < flags.limit) {
    const absl::StatusOr<std::optional<RecordedRequest>> request = requests.Next();
    if (request.ok() && !request->has_value()) break;
    // What is damaged is left out with what stands behind it in its file.
    const absl::Status added = request.ok() ? AddRequest(**request, subject) : request.status();
    if (added.ok()) continue;
    if (subject.left_out++ == 0) {
      subject.why_left_out = request.ok() ? absl::StrCat("record ", (*request)->index, ": ", added.message())
                                          : std::string(added.message());
    }
  }
  if (subject.data.rows() > 0) return absl::OkStatus();
  std::string got = "logs: got no row for these models";
  if (subject.to_others > 0) {
    absl::StrAppend(&got, "; ", subject.to_others, " requests are to other models than '", subject.log_model,
                    "', --log-model says which count");
  }
  if (subject.left_out > 0) absl::StrAppend(&got, "; ", subject.why_left_out);
  return absl::NotFoundError(got);
}

}  // namespace

absl::StatusOr<CascadeSubject> CascadeSubject::Open(const CascadeFlags& flags) {
  const bool arrays = !flags.data.empty() || !flags.inputs.empty();
  if (arrays == !flags.logs.empty()) {
    return absl::InvalidArgumentError(
        "rows: want --data or --input with arrays, or --log with recorded requests, one of both");
  }
  if (!arrays && !flags.labels.empty()) {
    return absl::InvalidArgumentError("--labels: got it beside --log, want none: recorded requests have no labels");
  }
  if ((flags.trigger_cost_us > 0) != (flags.full_cost_us > 0)) {
    return absl::InvalidArgumentError("--trigger-cost, --full-cost: got one, want both or none");
  }
  CascadeSubject subject;
  ASSIGN_OR_RETURN(const CascadeSource source, OpenCascade(flags));
  subject.cascade = source.cascade;
  ASSIGN_OR_RETURN(subject.trial, CascadeTrial::Create(*source.cascade, source.find));
  TrialData data(subject.trial->inputs());
  std::swap(subject.data, data);
  if (!arrays) {
    RETURN_IF_ERROR(AddLogs(flags, subject));
    return subject;
  }
  ASSIGN_OR_RETURN(std::vector<NamedTensor> read, ReadArrays(flags));
  RETURN_IF_ERROR(AddArrays(flags, std::move(read), subject));
  return subject;
}

absl::StatusOr<Expression> CascadeSubject::Decision(const CascadeFlags& flags,
                                                    const std::vector<Tensor>& sample) const {
  if (!flags.decide.empty()) return Expression::Parse(flags.decide);
  ASSIGN_OR_RETURN(const std::string decision, GuessDecision(trial->answers(), trial->AnswersOf(sample)));
  return Expression::Parse(decision);
}

absl::StatusOr<TrialColumns> CascadeSubject::Run(const CascadeFlags& flags,
                                                 const std::vector<RowValues::Wanted>& of_trigger,
                                                 const Expression& decision) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  absl::Time next = absl::Now() + kProgressPeriod;
  bool shown = false;
  auto columns = trial->Run(data, flags.batch, of_trigger, decision, [&](int64_t done) {
    if (!terminal || absl::Now() < next) return;
    next = absl::Now() + kProgressPeriod;
    shown = true;
    std::fprintf(stderr, "\r%3.0f %%, %lld of %lld rows answered by both models",
                 100 * static_cast<double>(done) / static_cast<double>(data.rows()), static_cast<long long>(done),
                 static_cast<long long>(data.rows()));
  });
  if (shown) std::fputs("\r\x1b[K", stderr);
  return columns;
}

absl::StatusOr<std::vector<double>> CascadeSubject::Labels(const TrialColumns& columns) const {
  std::vector<double> numbers;
  if (!labels.valid()) return numbers;
  const bool text = labels.dtype() == DType::kString;
  if (labels.num_elements() != static_cast<uint64_t>(columns.rows) || text != columns.decides_text) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--labels: got ", DTypeName(labels.dtype()), ShapeString(labels.shape()), ", want ",
        columns.decides_text ? "text" : "a number", " for each of ", columns.rows, " rows, as --decide gives"));
  }
  for (int64_t i = 0; i < columns.rows; ++i) {
    const auto at = static_cast<uint64_t>(i);
    if (text) {
      const auto known = columns.texts.find(labels.StringAt(at));
      numbers.push_back(known == columns.texts.end() ? -1 : known->second);
      continue;
    }
    ASSIGN_OR_RETURN(const double number, NumberAt(labels, at));
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<TrialCost> CascadeSubject::Cost(const CascadeFlags& flags) {
  if (flags.full_cost_us > 0) {
    return TrialCost{absl::Microseconds(flags.trigger_cost_us), absl::Microseconds(flags.full_cost_us), 0};
  }
  return trial->Measure(data, flags.batch, kCostTime);
}

std::string CascadeSubject::Intro(const Expression& decision, int64_t rows, bool labelled) const {
  std::string text =
      absl::StrCat(rows, " rows", labelled ? " with labels" : "", "; trigger '", cascade->members[0].model,
                   "', full model '", cascade->members[1].model, "'; compared: ", decision.text, "\n");
  if (left_out > 0) {
    absl::StrAppend(&text, left_out, " requests left out; ", why_left_out, "\n");
  }
  if (to_others > 0 && !log_model.empty()) {
    absl::StrAppend(&text, to_others, " requests to other models than '", log_model, "' left out\n");
  } else if (to_others > 0) {
    absl::StrAppend(&text, "among them rows of ", to_others, " requests to other models than '", first_model,
                    "'; --log-model takes those to one\n");
  }
  return absl::StrCat(text, "\n");
}

void PrintText(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace portico
