#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metric.h"
#include "base/metric_scope.h"
#include "models/graph/graph.h"
#include "models/package/package.h"
#include "node/servables/request_series.h"
#include "node/servables/servable_stats.h"
#include "node/servables/served_shard.h"
#include "remote_op/portal.h"
#include "result_cache/answer_store.h"

namespace portico {

/// One loaded version of a model, ready to answer: a graph per signature, its segments behind batchers, its portals
/// bound to the router. Immutable and thread-safe. Held (shared_ptr) by each request that uses it, so that unloading
/// never pulls it away.
class Servable {
 public:
  struct Dependencies {
    Executor& workers;
    int worker_count;
    Router& router;
    const Clock& clock;
    MetricRegistry& metrics;
    ShardStore& shards;
    /// What models run by that do not say; empty: cpu.
    std::vector<ExecutionProvider> providers = {};
  };

  /// Makes sessions and checks which rows may be joined (runs the segments a few times). Contacts nobody.
  /// `package.model`'s weights stay shared with the store it was loaded with.
  static absl::StatusOr<std::shared_ptr<const Servable>> Load(Package package, const Dependencies& dependencies);
  ~Servable();

  const std::string& name() const { return name_; }
  int64_t version() const { return version_; }
  const Digest& digest() const { return digest_; }
  const std::vector<Signature>& signatures() const { return signatures_; }
  /// nullptr when there is no such signature. "" means serving_default.
  const Signature* FindSignature(absl::string_view signature) const;
  uint64_t weight_bytes() const { return weight_bytes_; }
  /// What it looks rows up in, where it is a shard; null: nothing.
  const ServedShard* shard() const { return shard_; }
  /// Memory of answers that it keeps, and what that may come to; 0: it keeps none.
  uint64_t result_cache_bytes() const;
  uint64_t max_result_cache_bytes() const;
  /// Portals whose target cannot be reached now, "target: reason" each; empty: healthy.
  std::vector<std::string> Degraded() const;
  /// Whether its portals could go by the revision's policies.
  absl::Status AcceptsPolicies(const Revision& revision) const;

  /// What products get of the runs of all its segments, in place of what servable.yaml says; empty: as that.
  void SetShares(const std::map<std::string, int64_t>& shares) const;

  /// What it has done so far.
  ServableStats& stats() const { return stats_; }
  /// Where requests of the signature are counted.
  RequestSeries& series(const Signature& signature) const;

  /// REQUIRES of both: `signature` is one of signatures(). Runs it on inputs in its order, checked against it by the
  /// caller. Called through Inference.
  void Run(const Signature& signature, Ref<const RequestContext> context, std::vector<Tensor> inputs,
           OpDone done) const;

 private:
  struct Function;
  Servable();
  absl::Status KeepResults(const Package& package, const Signature& signature, const Dependencies& dependencies,
                           Function* function);
  const Function& FunctionOf(const Signature& signature) const;

  /// Series of this version; they go with it, so that a node that lives long tells of what it serves. First: the rest
  /// uses them.
  std::unique_ptr<MetricScope> metrics_;
  std::string name_;
  int64_t version_ = 0;
  Digest digest_;
  uint64_t weight_bytes_ = 0;
  std::vector<Signature> signatures_;
  /// As servable.yaml says.
  std::map<std::string, int64_t> shares_;
  mutable ServableStats stats_;
  /// Its share of the workers; null: all of them.
  std::unique_ptr<Executor> share_;
  /// Owned by the graph of the first signature that has one.
  const ServedShard* shard_ = nullptr;
  /// Answers that its signatures keep; null: none do.
  std::shared_ptr<AnswerStore> answers_;
  /// One per signature.
  std::vector<std::unique_ptr<Function>> functions_;
};

}  // namespace portico
