#include <iterator>
#include <list>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "remote_op/fallback.h"

namespace portico {
namespace {

/// What an entry takes beside its tensors' bytes, roughly.
constexpr uint64_t kEntryBytes = 256;

/// The answers of late by what was asked, the least recently asked for leaving first. Inputs are known by their
/// SHA-256, so that no two are taken for one another.
class LastKnown final : public Fallback {
 public:
  LastKnown(const OnErrorPolicy& policy, const Clock& clock)
      : max_bytes_(policy.max_bytes), max_age_(policy.max_age), clock_(clock) {}

  absl::string_view kind() const override { return "last_known"; }

  Question Ask(absl::Span<const Tensor> inputs) const override {
    Hasher hasher;
    for (const Tensor& input : inputs) {
      hasher.Add(static_cast<uint64_t>(input.dtype())).Add(input.shape().size());
      for (const int64_t extent : input.shape()) hasher.Add(static_cast<uint64_t>(extent));
      hasher.Add(input.bytes());
    }
    Question question;
    question.inputs = hasher.Finish();
    return question;
  }

  void Remember(const Question& question, absl::Span<const Tensor> outputs) override {
    Entry entry{question.inputs, {}, kEntryBytes, clock_.Now()};
    for (const Tensor& output : outputs) entry.bytes += output.bytes().size();
    if (entry.bytes > max_bytes_) return;
    // Copies: what was received may hold much more memory.
    for (const Tensor& output : outputs) {
      entry.outputs.push_back(Tensor::CopyOf(output.dtype(), output.shape(), output.bytes()));
    }
    std::list<Entry> dropped;  // Freed outside the lock.
    MutexLock lock(&mutex_);
    if (const auto known = by_inputs_.find(question.inputs); known != by_inputs_.end()) Drop(known->second, &dropped);
    bytes_ += entry.bytes;
    entries_.push_front(std::move(entry));
    by_inputs_[question.inputs] = entries_.begin();
    while (bytes_ > max_bytes_) Drop(std::prev(entries_.end()), &dropped);
  }

  std::optional<std::vector<Tensor>> Answer(const Question& question) override {
    const absl::Time now = clock_.Now();
    std::list<Entry> dropped;
    MutexLock lock(&mutex_);
    const auto known = by_inputs_.find(question.inputs);
    if (known == by_inputs_.end()) return std::nullopt;
    if (now - known->second->learned > max_age_) {
      Drop(known->second, &dropped);
      return std::nullopt;
    }
    entries_.splice(entries_.begin(), entries_, known->second);
    return entries_.front().outputs;
  }

  void Forget() override {
    std::list<Entry> dropped;  // Freed outside the lock.
    MutexLock lock(&mutex_);
    dropped.swap(entries_);
    by_inputs_.clear();
    bytes_ = 0;
  }

 private:
  struct Entry {
    Digest inputs;
    std::vector<Tensor> outputs;
    uint64_t bytes;
    absl::Time learned;
  };

  void Drop(std::list<Entry>::iterator entry, std::list<Entry>* dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bytes_ -= entry->bytes;
    by_inputs_.erase(entry->inputs);
    dropped->splice(dropped->begin(), entries_, entry);
  }

  const uint64_t max_bytes_;
  const absl::Duration max_age_;
  const Clock& clock_;
  Mutex mutex_;
  /// Most recently asked for or learned first.
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Digest, std::list<Entry>::iterator> by_inputs_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<Fallback> NewLastKnown(const OnErrorPolicy& policy, const Clock& clock) {
  return std::make_unique<LastKnown>(policy, clock);
}

}  // namespace portico
