#include "node/frontend/tfs_example_calls.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "node/frontend/grpc_call.h"
#include "node/frontend/tfs_codec.h"
#include "node/frontend/tfs_example.h"

namespace portico {
namespace {

/// Of one MultiInference; far above any model's signatures.
constexpr size_t kMaxTasks = 64;

/// ClassificationRequest and RegressionRequest, which have the same fields.
struct ResultRequestView {
  bool has_spec = false;
  ModelSpecView spec;
  absl::string_view input;
};

absl::StatusOr<ResultRequestView> ReadResultRequest(absl::string_view message) {
  ResultRequestView request;
  WireReader in(message);
  bool read = true;
  while (read && in.Next()) {
    if (in.field() == 1) {
      request.has_spec = true;
      read = ReadModelSpec(in.Bytes(), &request.spec);
    } else if (in.field() == 2) {
      request.input = in.Bytes();
    }
  }
  if (!read || in.failed()) return absl::InvalidArgumentError("request: malformed protobuf");
  return request;
}

/// One Classify or Regress: Start (read, acquire) → OnServable (examples, run) → OnOutputs (write, finish).
class ResultCall final : public GrpcCall {
 public:
  ResultCall(ResultKind kind, const Entrance& entrance, uint64_t max_tensor_bytes, grpc::CallbackServerContext& call,
             grpc::ByteBuffer& response)
      : GrpcCall(entrance, call, response), kind_(kind), max_tensor_bytes_(max_tensor_bytes) {}

  void Start(const grpc::ByteBuffer& message) {
    absl::StatusOr<ServableRef> ref = Read(message);
    if (!ref.ok()) return Complete(ref.status());
    inference().servables().Acquire(*ref, context(), [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) {
      OnServable(std::move(servable));
    });
  }

 private:
  absl::StatusOr<ServableRef> Read(const grpc::ByteBuffer& message) {
    RETURN_IF_ERROR(Enter(message));
    ASSIGN_OR_RETURN(request_, ReadResultRequest(received_.bytes));
    return RefOfModelSpec(request_.has_spec, request_.spec);
  }

  void OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return Complete(servable.status());
    servable_ = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = Prepare();
    if (!inputs.ok()) return Complete(inputs.status());
    const Signature& signature = *signature_;
    inference().Run(RequestApi::kTfsGrpc, servable_, signature, context(), *std::move(inputs),
                    [this](absl::StatusOr<std::vector<Tensor>> outputs) { OnOutputs(std::move(outputs)); });
  }

  absl::StatusOr<std::vector<Tensor>> Prepare() {
    signature_ = servable_->FindSignature(request_.spec.signature);
    if (signature_ == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("No signature was found with the name: ", request_.spec.signature));
    }
    RETURN_IF_ERROR(CheckResultSignature(kind_, *signature_));
    ASSIGN_OR_RETURN(const ExamplesView examples, ReadExamples(request_.input));
    ASSIGN_OR_RETURN(std::vector<Tensor> inputs, ExampleTensors(*signature_, examples, max_tensor_bytes_));
    examples_ = static_cast<int64_t>(examples.examples.size());
    received_ = {};
    return inputs;
  }

  void OnOutputs(absl::StatusOr<std::vector<Tensor>> outputs) {
    if (!outputs.ok()) return Complete(outputs.status());
    const absl::StatusOr<ExampleResults> results = ExampleResults::Of(kind_, *signature_, *outputs, examples_);
    if (!results.ok()) return Complete(results.status());
    std::string list;
    AppendResultsProto(*results, &list);
    SplicedMessage message;
    WireWriter(&message.bytes).Bytes(1, list);
    AppendModelSpec(2, servable_->name(), servable_->version(), signature_->name, &message.bytes);
    Answer(std::move(message));
  }

  const ResultKind kind_;
  const uint64_t max_tensor_bytes_;
  ResultRequestView request_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  int64_t examples_ = 0;
};

/// One MultiInference: Start (read, acquire) → OnServable (check all tasks, run each) → OnOutputs (per task) →
/// FinishAll (after the last).
class MultiInferenceCall final : public GrpcCall {
 public:
  MultiInferenceCall(const Entrance& entrance, uint64_t max_tensor_bytes, grpc::CallbackServerContext& call,
                     grpc::ByteBuffer& response)
      : GrpcCall(entrance, call, response), max_tensor_bytes_(max_tensor_bytes) {}

  void Start(const grpc::ByteBuffer& message) {
    absl::StatusOr<ServableRef> ref = Read(message);
    if (!ref.ok()) return Complete(ref.status());
    inference().servables().Acquire(*ref, context(), [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) {
      OnServable(std::move(servable));
    });
  }

 private:
  struct Task {
    ModelSpecView spec;
    absl::string_view method;
    ResultKind kind = ResultKind::kClassify;
    const Signature* signature = nullptr;
    std::vector<Tensor> inputs;
    absl::StatusOr<std::vector<Tensor>> outputs;
  };

  absl::StatusOr<ServableRef> Read(const grpc::ByteBuffer& message) {
    RETURN_IF_ERROR(Enter(message));
    WireReader in(received_.bytes);
    bool read = true;
    while (read && in.Next()) {
      if (in.field() == 1) {
        if (tasks_.size() == kMaxTasks) {
          return absl::InvalidArgumentError(
              absl::StrCat("MultiInferenceRequest: got over ", kMaxTasks, " tasks, want at most that"));
        }
        read = ReadTask(in.Bytes(), &tasks_.emplace_back());
      } else if (in.field() == 2) {
        input_ = in.Bytes();
      }
    }
    if (!read || in.failed()) return absl::InvalidArgumentError("MultiInferenceRequest: malformed protobuf");
    return CommonRef();
  }

  static bool ReadTask(absl::string_view bytes, Task* task) {
    WireReader in(bytes);
    while (in.Next()) {
      if (in.field() == 1 && !ReadModelSpec(in.Bytes(), &task->spec)) return false;
      if (in.field() == 2) task->method = in.Bytes();
    }
    return !in.failed();
  }

  /// What all tasks mean: one model, one version.
  absl::StatusOr<ServableRef> CommonRef() const {
    if (tasks_.empty()) return absl::InvalidArgumentError("MultiInferenceRequest: got no tasks, want at least one");
    const ModelSpecView& first = tasks_[0].spec;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      const ModelSpecView& spec = tasks_[i].spec;
      if (spec.name.empty()) return absl::InvalidArgumentError("Found ModelSpec with an empty model name.");
      if (spec.name != first.name) {
        return absl::InvalidArgumentError("All ModelSpecs in a MultiInferenceRequest must access the same model name.");
      }
      if (spec.has_version != first.has_version || spec.version != first.version || spec.label != first.label) {
        return absl::InvalidArgumentError(absl::StrCat("MultiInferenceRequest: task ", i,
                                                       " wants another version or label than task 0, want one for "
                                                       "all tasks"));
      }
    }
    return RefOfModelSpec(true, first);
  }

  void OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return Complete(servable.status());
    servable_ = *std::move(servable);
    if (const absl::Status status = Prepare(); !status.ok()) return Complete(status);
    running_.store(tasks_.size(), std::memory_order_relaxed);
    // The last completion frees this call, and may come inside Run(): nothing of it is touched behind the last one.
    const size_t count = tasks_.size();
    for (size_t i = 0; i < count; ++i) {
      Task& task = tasks_[i];
      inference().Run(
          RequestApi::kTfsGrpc, servable_, *task.signature, context(), std::move(task.inputs),
          [this, &task](absl::StatusOr<std::vector<Tensor>> outputs) { OnOutputs(task, std::move(outputs)); });
    }
  }

  absl::Status Prepare() {
    for (size_t i = 0; i < tasks_.size(); ++i) {
      Task& task = tasks_[i];
      task.signature = servable_->FindSignature(task.spec.signature);
      if (task.signature == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("Requested signature not found in model graph: ", task.spec.signature));
      }
      for (size_t other = 0; other < i; ++other) {
        if (tasks_[other].signature == task.signature) {
          return absl::InvalidArgumentError(absl::StrCat("Duplicate evaluation of signature: ", task.signature->name));
        }
      }
      ASSIGN_OR_RETURN(task.kind, ResultKindOf(task.method));
      RETURN_IF_ERROR(CheckResultSignature(task.kind, *task.signature));
    }
    ASSIGN_OR_RETURN(const ExamplesView examples, ReadExamples(input_));
    examples_ = static_cast<int64_t>(examples.examples.size());
    for (Task& task : tasks_) {
      ASSIGN_OR_RETURN(task.inputs, ExampleTensors(*task.signature, examples, max_tensor_bytes_ / tasks_.size()));
    }
    return absl::OkStatus();
  }

  void OnOutputs(Task& task, absl::StatusOr<std::vector<Tensor>> outputs) {
    task.outputs = std::move(outputs);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) FinishAll();
  }

  void FinishAll() {
    SplicedMessage message;
    for (const Task& task : tasks_) {
      if (!task.outputs.ok()) return Complete(task.outputs.status());
      const absl::StatusOr<ExampleResults> results =
          ExampleResults::Of(task.kind, *task.signature, *task.outputs, examples_);
      if (!results.ok()) return Complete(results.status());
      std::string list, result;
      AppendResultsProto(*results, &list);
      AppendModelSpec(1, servable_->name(), servable_->version(), task.signature->name, &result);
      WireWriter(&result).Bytes(task.kind == ResultKind::kClassify ? 2 : 3, list);
      WireWriter(&message.bytes).Bytes(1, result);
    }
    Answer(std::move(message));
  }

  const uint64_t max_tensor_bytes_;
  std::vector<Task> tasks_;
  absl::string_view input_;
  std::shared_ptr<const Servable> servable_;
  int64_t examples_ = 0;
  std::atomic<size_t> running_{0};
};

}  // namespace

grpc::ServerUnaryReactor* StartResultCall(ResultKind kind, const Entrance& entrance, uint64_t max_tensor_bytes,
                                          grpc::CallbackServerContext& call, const grpc::ByteBuffer& request,
                                          grpc::ByteBuffer& response) {
  auto* started = new ResultCall(kind, entrance, max_tensor_bytes, call, response);
  started->Start(request);
  return started;
}

grpc::ServerUnaryReactor* StartMultiInferenceCall(const Entrance& entrance, uint64_t max_tensor_bytes,
                                                  grpc::CallbackServerContext& call, const grpc::ByteBuffer& request,
                                                  grpc::ByteBuffer& response) {
  auto* started = new MultiInferenceCall(entrance, max_tensor_bytes, call, response);
  started->Start(request);
  return started;
}

}  // namespace portico
