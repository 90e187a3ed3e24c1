#include "node/observe/request_log.h"

#include <algorithm>
#include <array>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/span.h"
#include "node/observe/tf_record.h"

namespace portico {
namespace {

constexpr char kHelp[] = "Sampled requests by what became of their records.";
constexpr std::array<const char*, 4> kDropNames = {"queue_full", "too_large", "unwritable", "unencodable"};

Counter& RecordsCounter(MetricRegistry& metrics, const char* result) {
  return metrics.NewCounter("portico_request_log_records_total", kHelp, {{"result", result}});
}

/// Memory that stays for these tensors. Neighbours often view the same.
uint64_t HeldBytes(const std::vector<NamedTensor>& tensors) {
  uint64_t bytes = 0;
  const TensorOrigin* last = nullptr;
  for (const NamedTensor& named : tensors) {
    const TensorOrigin* const origin = named.tensor.origin().get();
    if (origin != nullptr && origin == last) continue;
    last = origin;
    const auto own = static_cast<uint64_t>(named.tensor.bytes().size());
    bytes += origin == nullptr ? own : std::max(own, origin->held_bytes());
  }
  return bytes;
}

uint64_t BytesOf(const std::vector<NamedTensor>& tensors) {
  uint64_t bytes = 0;
  for (const NamedTensor& named : tensors) bytes += named.tensor.bytes().size();
  return bytes;
}

bool IsShare(double share) { return share >= 0 && share <= 1; }

}  // namespace

absl::StatusOr<std::unique_ptr<RequestLog>> RequestLog::Create(Options options, const Clock& clock,
                                                               MetricRegistry& metrics) {
  const auto refuse = [](absl::string_view what, auto got, absl::string_view want) {
    return absl::InvalidArgumentError(absl::StrCat("request log: ", what, ": got ", got, ", want ", want));
  };
  if (options.files.folder.empty()) return refuse("folder", "none", "one");
  if (!IsShare(options.sample)) return refuse("sample", options.sample, "0 to 1");
  if (options.files.file_bytes < kMinFileBytes) {
    return refuse("bytes of a file", options.files.file_bytes, absl::StrCat("at least ", kMinFileBytes));
  }
  if (options.files.total_bytes < options.files.file_bytes) {
    return refuse("bytes of all files", options.files.total_bytes,
                  absl::StrCat("at least one file's ", options.files.file_bytes));
  }
  if (options.files.file_age <= absl::ZeroDuration()) return refuse("age of a file", "none", "more than 0");
  return std::unique_ptr<RequestLog>(new RequestLog(std::move(options), clock, metrics));
}

RequestLog::RequestLog(Options options, const Clock& clock, MetricRegistry& metrics)
    : options_(std::move(options)),
      clock_(clock),
      written_(RecordsCounter(metrics, "written")),
      file_bytes_(metrics.NewGauge("portico_request_log_bytes", "Size of all files of the request log.", {})),
      highest_share_(options_.sample),
      files_(options_.files, clock) {
  static_assert(kDropNames.size() == kNumDrops);
  for (const char* name : kDropNames) dropped_.push_back(&RecordsCounter(metrics, name));
}

RequestLog::~RequestLog() { Stop(); }

void RequestLog::SetShares(std::map<std::string, double, std::less<>> shares) {
  double highest = options_.sample;
  for (const auto& [model, share] : shares) highest = std::max(highest, share);
  MutexLock lock(&shares_mutex_);
  shares_ = std::move(shares);
  highest_share_.store(highest, std::memory_order_relaxed);
}

double RequestLog::ShareOf(absl::string_view model) const {
  MutexLock lock(&shares_mutex_);
  const auto found = shares_.find(model);
  return found == shares_.end() ? options_.sample : found->second;
}

double RequestLog::Draw() {
  // xorshift64*: a few instructions, and no state that threads share.
  thread_local uint64_t state = NewSpanId();
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return static_cast<double>((state * 0x2545F4914F6CDD1Dull) >> 11) * 0x1p-53;
}

void RequestLog::Add(PredictionRecord record) {
  if (BytesOf(record.inputs) + BytesOf(record.outputs) > options_.files.file_bytes) {
    return dropped_[kTooLarge]->Increment();
  }
  const uint64_t held = HeldBytes(record.inputs) + HeldBytes(record.outputs);
  {
    MutexLock lock(&mutex_);
    if (!stopped_ && queue_.size() < options_.queue_records && queued_bytes_ + held <= options_.queue_bytes) {
      queued_bytes_ += held;
      queue_.push_back({std::move(record), held});
      if (std::exchange(writing_, true)) return;
      writer_.Schedule([this] { WriteQueued(); });
      return;
    }
  }
  dropped_[kQueueFull]->Increment();
}

uint64_t RequestLog::queued_bytes() const {
  MutexLock lock(&mutex_);
  return queued_bytes_;
}

void RequestLog::WriteQueued() {
  while (true) {
    std::vector<Queued> taken;
    {
      MutexLock lock(&mutex_);
      if (queue_.empty()) {
        writing_ = false;
        return;
      }
      std::swap(taken, queue_);
    }
    for (Queued& queued : taken) {
      Write(queued.record);
      queued.record = {};
      MutexLock lock(&mutex_);
      queued_bytes_ -= queued.held_bytes;
    }
  }
}

void RequestLog::Write(const PredictionRecord& record) {
  const absl::Time now = clock_.Now();
  if (now < retry_at_) {
    ++lost_;
    return dropped_[kUnwritable]->Increment();
  }
  const absl::StatusOr<std::string> encoded = EncodePredictionLog(record);
  if (!encoded.ok()) return dropped_[kUnencodable]->Increment();
  if (encoded->size() + kTfRecordFrameBytes > options_.files.file_bytes) return dropped_[kTooLarge]->Increment();
  const absl::Status status = files_.Append(*encoded);
  file_bytes_.Set(static_cast<double>(files_.total_bytes()));
  if (!status.ok()) {
    dropped_[kUnwritable]->Increment();
    ++lost_;
    retry_at_ = now + options_.retry_delay;
    if (!std::exchange(failing_, true)) {
      LogWarning(absl::StrCat("request log '", options_.files.folder, "': ", status.message(),
                              "; requests are served on but not recorded, it is tried again every ",
                              absl::FormatDuration(options_.retry_delay)));
    }
    return;
  }
  written_.Increment();
  if (std::exchange(failing_, false)) {
    LogInfo(absl::StrCat("request log '", options_.files.folder, "': requests are recorded again, ", lost_,
                         " were not meanwhile"));
    lost_ = 0;
  }
}

void RequestLog::Flush() {
  std::promise<void> done;
  writer_.Schedule([&done] { done.set_value(); });
  done.get_future().wait();
}

void RequestLog::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }
  writer_.Stop();
}

}  // namespace portico
