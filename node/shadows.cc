#include "node/shadows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "base/answer_comparison.h"
#include "base/shadow_context.h"

namespace portico {
namespace {

/// Of models and shadows that examples are kept of.
constexpr size_t kMaxSeries = 64;

int64_t BytesOf(const std::vector<Tensor>& tensors) {
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += static_cast<int64_t>(tensor.bytes().size());
  return bytes;
}

std::vector<NamedTensor> Named(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& tensors) {
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < tensors.size(); ++i) named.push_back({specs[i].name, tensors[i]});
  return named;
}

std::vector<NamedTensor> Named(PeerMessage reply) {
  std::vector<NamedTensor> named;
  const size_t names = reply.header.tensors.size();
  for (size_t i = 0; i < reply.tensors.size(); ++i) {
    named.push_back({i < names ? std::string(reply.header.tensors[i].name) : "", std::move(reply.tensors[i])});
  }
  return named;
}

}  // namespace

/// One copy, from when there was room for it until its answer is compared or given up.
struct Shadows::Copy {
  explicit Copy(Answered of) : answered(std::move(of)) {}
  ~Copy() {
    if (copies != nullptr) copies->tally->LeaveCopy(bytes);
  }

  Answered answered;
  std::string model;
  std::shared_ptr<const TrafficArm::Copies> copies;
  int64_t bytes = 0;
  RouteTarget target;
  absl::Time sent;
};

Shadows::~Shadows() { Stop(); }

bool Shadows::Wants(const RequestContext& context) const {
  const TrafficArm& arm = *TrafficArm::Of(context);
  return arm.copies() != nullptr && arm.copies()->draw.Draws(context);
}

void Shadows::Send(Answered answered) {
  const TrafficArm& arm = *TrafficArm::Of(*answered.context);
  const std::shared_ptr<const TrafficArm::Copies>& copies = arm.copies();
  const int64_t bytes = BytesOf(answered.inputs) + BytesOf(answered.outputs);
  if (!copies->tally->EnterCopy(copies->plan, bytes)) {
    copies->tally->Compared(ArmTally::Copy::kDropped, -1, absl::ZeroDuration(), absl::ZeroDuration());
    return;
  }
  auto copy = std::make_unique<Copy>(std::move(answered));
  copy->model = arm.model();
  copy->copies = copies;
  copy->bytes = bytes;
  Schedule([this, copy = std::move(copy)]() mutable { Start(std::move(copy)); });
}

void Shadows::Schedule(Executor::Task task) {
  MutexLock lock(&thread_mutex_);
  if (stopped_) return;
  if (thread_ == nullptr) thread_ = std::make_unique<ThreadPool>(ThreadPool::Options{1, "shadow", 10});
  thread_->Schedule(std::move(task));
}

void Shadows::Start(std::unique_ptr<Copy> copy) {
  const Signature& signature = *copy->answered.signature;
  copy->target.servable.name = copy->copies->plan.to.model;
  copy->target.servable.digest = copy->copies->digest;
  if (copy->copies->digest.empty()) copy->target.servable.version = copy->copies->plan.to.version;
  copy->target.signature = signature.name;
  for (const TensorSpec& input : signature.inputs) copy->target.input_names.push_back(input.name);
  copy->sent = clock_.Now();
  // The copy may be gone before Call() returns.
  const std::vector<Tensor> inputs = std::exchange(copy->answered.inputs, {});
  const Ref<const RequestContext> context = ShadowContext(*copy->answered.context, copy->copies->plan.timeout, clock_);
  const RouteTarget& target = copy->target;
  router_.Call(target, context, inputs, [this, copy = std::move(copy)](absl::StatusOr<PeerMessage> reply) mutable {
    Schedule([this, copy = std::move(copy), reply = std::move(reply)]() mutable {
      OnReply(std::move(copy), std::move(reply));
    });
  });
}

void Shadows::OnReply(std::unique_ptr<Copy> copy, absl::StatusOr<PeerMessage> reply) {
  const absl::Duration took = clock_.Now() - copy->sent, answer = copy->answered.latency;
  const std::shared_ptr<ArmTally> tally = copy->copies->tally;
  ArmTally::Copy result = ArmTally::Copy::kFailed;
  AnswerComparison comparison{.agrees = false, .difference = std::numeric_limits<double>::infinity(), .where = {}};
  if (reply.ok()) {
    comparison =
        CompareAnswers(Named(*std::move(reply)), Named(copy->answered.signature->outputs, copy->answered.outputs),
                       copy->copies->plan.tolerance);
    result = comparison.agrees ? ArmTally::Copy::kAgreed : ArmTally::Copy::kDisagreed;
  } else {
    comparison.where = std::string(reply.status().message());
  }
  if (!comparison.agrees) Note(*copy, comparison);
  // Who sees the count finds room for another copy.
  copy.reset();
  // What is no number is no difference to draw a histogram of.
  tally->Compared(result, std::isfinite(comparison.difference) ? comparison.difference : -1, answer, took);
}

void Shadows::Note(const Copy& copy, const AnswerComparison& comparison) {
  constexpr size_t kMaxWhere = 256;
  const TraceContext& trace = copy.answered.context->trace;
  Example example{clock_.Now(), absl::StrFormat("%016x%016x", trace.trace_id_high, trace.trace_id_low),
                  comparison.difference, comparison.where.substr(0, kMaxWhere)};
  MutexLock lock(&examples_mutex_);
  const std::pair<std::string, std::string> series(copy.model, copy.copies->plan.to.name);
  if (!examples_.contains(series) && examples_.size() >= kMaxSeries) return;
  std::vector<Example>& worst = examples_[series];
  // Later ones of the same size come first, so that what is seen is not of long ago.
  const auto at = std::find_if(worst.begin(), worst.end(),
                               [&](const Example& one) { return one.difference <= comparison.difference; });
  worst.insert(at, std::move(example));
  if (worst.size() > kMaxExamples) worst.pop_back();
}

std::map<std::pair<std::string, std::string>, std::vector<Shadows::Example>> Shadows::Examples() const {
  MutexLock lock(&examples_mutex_);
  return examples_;
}

void Shadows::Stop() {
  std::unique_ptr<ThreadPool> thread;
  {
    MutexLock lock(&thread_mutex_);
    stopped_ = true;
    thread = std::move(thread_);
  }
  // Joins.
  thread.reset();
}

}  // namespace portico
