#include "models/runtime/session.h"

#include <onnxruntime_cxx_api.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "models/runtime/empty_tensors.h"
#include "models/runtime/ort_providers.h"
#include "models/runtime/ort_status.h"
#include "models/runtime/ort_value.h"

namespace portico {
namespace {

void ORT_API_CALL LogFromOrt(void*, OrtLoggingLevel level, const char*, const char* session, const char*,
                             const char* message) {
  const std::string line = absl::StrCat("ONNX Runtime, ", session, ": ", message);
  if (level >= ORT_LOGGING_LEVEL_ERROR) {
    LogError(line);
  } else {
    LogWarning(line);
  }
}

/// ONNX Runtime reports its use to its makers, by a thread of its own, unless this is set when its environment is made:
/// no server of ours tells anybody anything unasked, and that thread outlives what it reads when a process exits. Set
/// before main(), while no other thread can read the process's environment.
const bool kNoTelemetry = setenv("ORT_DISABLE_TELEMETRY", "1", 1) == 0;

/// One for the process, never destroyed: sessions may be dropped as late as they like.
Ort::Env& Environment() {
  static Ort::Env& env = [&]() -> Ort::Env& {
    PORTICO_CHECK(kNoTelemetry);
    auto& made = *new Ort::Env(ORT_LOGGING_LEVEL_WARNING, "portico", &LogFromOrt, nullptr);
    made.DisableTelemetryEvents();
    return made;
  }();
  return env;
}

/// A failed run is told to its caller, who knows whose request it was; the log need not hear of it too.
const OrtRunOptions* QuietRun() {
  static const Ort::RunOptions& options = [&]() -> Ort::RunOptions& {
    auto& made = *new Ort::RunOptions;
    made.SetRunLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
    return made;
  }();
  return options;
}

/// Names of the inputs and outputs of a serialized ModelProto that have a shape. ONNX Runtime tells a scalar and an
/// unknown rank alike.
absl::flat_hash_set<std::string> NamesWithShape(absl::string_view model) {
  constexpr uint32_t kGraph = 7, kInput = 11, kOutput = 12, kName = 1, kType = 2, kTensorType = 1, kShape = 2;
  absl::flat_hash_set<std::string> names;
  for (WireReader in(model); in.Next();) {
    if (in.field() != kGraph) continue;
    for (WireReader graph(in.Bytes()); graph.Next();) {
      if (graph.field() != kInput && graph.field() != kOutput) continue;
      std::string name;
      bool has_shape = false;
      for (WireReader value(graph.Bytes()); value.Next();) {
        if (value.field() == kName) name = std::string(value.Bytes());
        if (value.field() != kType) continue;
        for (WireReader type(value.Bytes()); type.Next();) {
          if (type.field() != kTensorType) continue;
          for (WireReader tensor(type.Bytes()); tensor.Next();) has_shape |= tensor.field() == kShape;
        }
      }
      if (has_shape) names.insert(std::move(name));
    }
  }
  return names;
}

/// Throws Ort::Exception. `what` is "input" or "output".
absl::StatusOr<TensorSpec> SpecOf(absl::string_view what, std::string name, const Ort::TypeInfo& info,
                                  const absl::flat_hash_set<std::string>& names_with_shape) {
  if (info.GetONNXType() != ONNX_TYPE_TENSOR) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " '", name, "': got a sequence, map, optional or sparse tensor, want a dense tensor"));
  }
  const auto type = info.GetTensorTypeAndShapeInfo();
  TensorSpec spec;
  ASSIGN_OR_RETURN(spec.dtype, DTypeFromNumber(type.GetElementType()));
  const std::vector<int64_t> extents = type.GetShape();
  std::vector<const char*> symbols(extents.size());
  type.GetSymbolicDimensions(symbols.data(), symbols.size());
  for (size_t i = 0; i < extents.size(); ++i) {
    spec.dims.push_back({.extent = extents[i], .symbol = extents[i] < 0 ? symbols[i] : ""});
  }
  spec.has_rank = !extents.empty() || names_with_shape.contains(name);
  spec.name = name;
  spec.graph_name = std::move(name);
  return spec;
}

/// Whether ONNX Runtime may read `tensor` where it is; strings are copied anyway.
bool Fits(const Tensor& tensor) { return tensor.dtype() == DType::kString || tensor.aligned(); }

/// An ONNX Runtime session and the memory it reads. Outlives the Session while tensors it made are in use.
struct Core final : public RefCounted {
  std::vector<Tensor> weights;
  std::vector<Ort::Value> weight_values;
  Ort::Session session{nullptr};
};

class OnnxSession final : public Session {
 public:
  explicit OnnxSession(std::string name) : name_(std::move(name)), core_(MakeRef<Core>()) {}

  /// Throws Ort::Exception. Called once, first.
  absl::Status Load(absl::string_view model, std::vector<std::pair<std::string, Tensor>> weights,
                    const Options& options);

  absl::StatusOr<std::vector<Tensor>> Run(absl::Span<const Tensor> inputs) override;
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }

 private:
  absl::Status AddWeights(std::vector<std::pair<std::string, Tensor>> weights, bool in_place,
                          Ort::SessionOptions& options);
  absl::Status LearnSpecs(absl::string_view model);
  absl::Status CheckNotEmpty(absl::Span<const Tensor> inputs) const;
  absl::StatusOr<std::vector<Tensor>> TakeOutputs(absl::Span<const Tensor> inputs, absl::Span<OrtValue*> values);

  const std::string name_;
  const Ref<Core> core_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  /// Views of the names in the specs, as the C API wants them.
  std::vector<const char*> input_names_;
  std::vector<const char*> output_names_;
  /// Empty tensors would end the process.
  bool divides_by_rows_ = false;
};

absl::Status OnnxSession::AddWeights(std::vector<std::pair<std::string, Tensor>> weights, bool in_place,
                                     Ort::SessionOptions& options) {
  std::vector<std::string> names;
  for (auto& [name, tensor] : weights) {
    core_->weights.push_back(tensor.Aligned());
    ASSIGN_OR_RETURN(OrtValue * value, NewOrtValue(core_->weights.back()));
    core_->weight_values.emplace_back(value);
    names.push_back(std::move(name));
  }
  if (names.empty()) return absl::OkStatus();
  // The first call makes ONNX Runtime use our memory at run time. The second lets it read the values while it prepares
  // the graph; the copies that takes are dropped when the session is ready, or, without the first, are what it uses.
  for (size_t i = 0; in_place && i < names.size(); ++i)
    options.AddInitializer(names[i].c_str(), core_->weight_values[i]);
  options.AddExternalInitializers(names, core_->weight_values);
  return absl::OkStatus();
}

absl::Status OnnxSession::Load(absl::string_view model, std::vector<std::pair<std::string, Tensor>> weights,
                               const Options& options) {
  Ort::SessionOptions settings;
  settings.SetLogId(name_.c_str());
  settings.SetIntraOpNumThreads(options.intra_op_threads);
  settings.SetInterOpNumThreads(1);
  settings.SetExecutionMode(ORT_SEQUENTIAL);
  settings.SetGraphOptimizationLevel(options.optimize ? ORT_ENABLE_ALL : ORT_DISABLE_ALL);
  settings.AddConfigEntry("session.intra_op.allow_spinning", "0");
  if (!options.prepack) settings.AddConfigEntry("session.disable_prepacking", "1");
  // A pattern is kept for every combination of input shapes ever seen, and batches come in all sizes.
  settings.DisableMemPattern();
  // An arena of the session's own keeps its peak for ever and locks; malloc is quicker (0.2 us on a tiny segment) and
  // shares what is free with everything else.
  settings.DisableCpuMemArena();
  // Before providers are loaded, which log by it.
  Ort::Env& environment = Environment();
  RETURN_IF_ERROR(AppendProviders(options.providers, settings));
  // What a list does not have at its end is not fallen back to.
  const bool cpu_last = options.providers.empty() || options.providers.back().name == "cpu";
  if (!cpu_last) settings.AddConfigEntry("session.disable_cpu_ep_fallback", "1");
  const bool in_place = options.providers.empty() || options.providers.front().name == "cpu";
  RETURN_IF_ERROR(AddWeights(std::move(weights), in_place, settings));
  divides_by_rows_ = DividesByRows(model);
  core_->session = Ort::Session(environment, model.data(), model.size(), settings);
  if (!in_place) {
    core_->weight_values.clear();
    core_->weights.clear();
  }
  return LearnSpecs(model);
}

absl::Status OnnxSession::LearnSpecs(absl::string_view model) {
  Ort::AllocatorWithDefaultOptions allocator;
  const absl::flat_hash_set<std::string> names_with_shape = NamesWithShape(model);
  for (size_t i = 0; i < core_->session.GetInputCount(); ++i) {
    ASSIGN_OR_RETURN(TensorSpec spec, SpecOf("input", core_->session.GetInputNameAllocated(i, allocator).get(),
                                             core_->session.GetInputTypeInfo(i), names_with_shape));
    inputs_.push_back(std::move(spec));
  }
  for (size_t i = 0; i < core_->session.GetOutputCount(); ++i) {
    ASSIGN_OR_RETURN(TensorSpec spec, SpecOf("output", core_->session.GetOutputNameAllocated(i, allocator).get(),
                                             core_->session.GetOutputTypeInfo(i), names_with_shape));
    outputs_.push_back(std::move(spec));
  }
  for (const TensorSpec& spec : inputs_) input_names_.push_back(spec.graph_name.c_str());
  for (const TensorSpec& spec : outputs_) output_names_.push_back(spec.graph_name.c_str());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> OnnxSession::Run(absl::Span<const Tensor> inputs) {
  if (inputs.size() != inputs_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("session '", name_, "': got ", inputs.size(), " inputs, want ", inputs_.size()));
  }
  if (!absl::c_all_of(inputs, Fits)) {
    std::vector<Tensor> copies;
    for (const Tensor& input : inputs) copies.push_back(Fits(input) ? input : input.Aligned());
    return Run(copies);
  }
  if (divides_by_rows_) RETURN_IF_ERROR(CheckNotEmpty(inputs));
  const OrtApi& api = Ort::GetApi();
  struct Values : absl::InlinedVector<OrtValue*, 8> {
    using InlinedVector::InlinedVector;
    ~Values() {
      for (OrtValue* value : *this) {
        if (value != nullptr) Ort::GetApi().ReleaseValue(value);
      }
    }
  };
  Values input_values;
  for (const Tensor& input : inputs) {
    auto value = NewOrtValue(input);
    if (!value.ok()) return WithContext(absl::StrCat("session '", name_, "'"), value.status());
    input_values.push_back(*value);
  }
  Values output_values(outputs_.size(), nullptr);
  const absl::Status ran = TakeOrtStatus(
      OrtPhase::kRun, api.Run(core_->session, QuietRun(), input_names_.data(), input_values.data(), input_values.size(),
                              output_names_.data(), output_values.size(), output_values.data()));
  if (!ran.ok()) return WithContext(absl::StrCat("session '", name_, "'"), ran);
  auto outputs = TakeOutputs(inputs, absl::MakeSpan(output_values));
  if (!outputs.ok()) return WithContext(absl::StrCat("session '", name_, "'"), outputs.status());
  return outputs;
}

absl::Status OnnxSession::CheckNotEmpty(absl::Span<const Tensor> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].num_elements() != 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("session '", name_, "': input '", inputs_[i].name, "': got ", DTypeName(inputs[i].dtype()),
                     ShapeString(inputs[i].shape()),
                     ", want at least one element: the model has a TopK, which cannot take none; send a row"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> OnnxSession::TakeOutputs(absl::Span<const Tensor> inputs,
                                                             absl::Span<OrtValue*> values) {
  std::vector<Tensor> outputs;
  outputs.reserve(values.size());
  for (OrtValue*& value : values) {
    ASSIGN_OR_RETURN(Tensor output, TakeOrtValue(std::exchange(value, nullptr), core_));
    // An output that is an input is that input's memory, which only the input keeps alive.
    for (const Tensor& input : inputs) {
      if (output.bytes().data() >= input.bytes().data() &&
          output.bytes().data() < input.bytes().data() + input.bytes().size()) {
        ASSIGN_OR_RETURN(output, Tensor::View(output.dtype(), output.shape(), output.bytes(), input.origin()));
        break;
      }
    }
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(absl::string_view model,
                                                         std::vector<std::pair<std::string, Tensor>> weights,
                                                         const Options& options) {
  const std::string context = absl::StrCat("session '", options.name, "'");
  try {
    auto session = std::make_unique<OnnxSession>(options.name);
    const absl::Status loaded = session->Load(model, std::move(weights), options);
    if (!loaded.ok()) return WithContext(context, loaded);
    return std::unique_ptr<Session>(std::move(session));
  } catch (const Ort::Exception& error) {
    return WithContext(context, OrtError(OrtPhase::kCreate, error.GetOrtErrorCode(), error.what()));
  } catch (const std::exception& error) {
    return WithContext(context, absl::InternalError(error.what()));
  }
}

}  // namespace portico
