#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "batcher/batcher.h"
#include "models/graph/op.h"
#include "node/servables/served_shard.h"

namespace portico {

/// The step of a shard (a node TableLookup): answers calls that want rows of its tables (LookupCall), each by itself on
/// a worker; one of few ids at the end of the calling thread's turn, where it has one. Deadline and cancellation are
/// looked at before the work begins. Thread-safe.
class TableOp final : public AsyncOp {
 public:
  struct Options {
    /// "clicks.0of2:1/lookup", for messages.
    std::string name;
    /// Told of its runs; not owned, must outlive the op. May be null.
    BatchObserver* observer = nullptr;
  };
  /// A call of at most this many ids and bags takes less time than waking a worker for it.
  static constexpr uint64_t kShortIds = 128;

  /// References are not owned and must outlive the op and the runs it has begun.
  TableOp(Options options, std::unique_ptr<const ServedShard> shard, Executor& workers, const Clock& clock)
      : options_(std::move(options)), shard_(std::move(shard)), workers_(workers), clock_(clock) {}

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override;

  const ServedShard& shard() const { return *shard_; }

 private:
  class Task;

  /// CANCELLED or DEADLINE_EXCEEDED where the answer is of no use any more.
  absl::Status CheckAlive(const RequestContext& context, absl::Time now) const;
  absl::StatusOr<std::vector<Tensor>> Answer(std::vector<Tensor> inputs) const;

  const Options options_;
  const std::unique_ptr<const ServedShard> shard_;
  Executor& workers_;
  const Clock& clock_;
};

}  // namespace portico
