#include "node/servables/servable.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/capped_executor.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "node/servables/cacheable_rows.h"
#include "node/servables/segment_op.h"
#include "node/servables/table_op.h"
#include "result_cache/result_cache.h"

namespace portico {
namespace {

void LogAxes(const std::string& segment, const RowAxes& axes) {
  if (!axes.joinable) {
    LogInfo(absl::StrCat("segment '", segment, "': rows of different requests are not joined: ", axes.reason));
  }
}

}  // namespace

struct Servable::Function {
  std::unique_ptr<Graph> graph;
  /// By step of the graph, which owns them; null where it is no segment.
  std::vector<SegmentOp*> segments;
  /// In front of the graph; null: nothing is kept.
  std::unique_ptr<ResultCache> results;
  /// Owned by the graph.
  std::vector<const Portal*> portals;
  std::unique_ptr<RequestSeries> series;
};

Servable::Servable() = default;
Servable::~Servable() = default;

absl::StatusOr<std::shared_ptr<const Servable>> Servable::Load(Package package, const Dependencies& dependencies) {
  std::shared_ptr<Servable> servable(new Servable);
  servable->metrics_ = std::make_unique<MetricScope>(dependencies.metrics);
  servable->name_ = package.name;
  servable->version_ = package.version;
  servable->digest_ = package.digest;
  servable->weight_bytes_ = package.model.weight_bytes();
  servable->signatures_ = std::move(package.signatures);
  servable->shares_ = package.batching.shares;
  Executor* workers = &dependencies.workers;
  if (package.max_workers > 0 && package.max_workers < dependencies.worker_count) {
    servable->share_ = std::make_unique<CappedExecutor>(package.max_workers, dependencies.workers);
    workers = servable->share_.get();
  }
  if (!package.providers.empty()) {
    servable->metrics_
        ->NewGauge("portico_model_providers",
                   "1: the execution providers that the version runs by, the first that can.",
                   {{"model", package.name},
                    {"version", absl::StrCat(package.version)},
                    {"providers", ProviderNames(package.providers)}})
        .Set(1);
  }
  for (Signature& signature : servable->signatures_) {
    const std::string where = absl::StrCat(package.name, ":", package.version, "/", signature.name);
    ASSIGN_OR_RETURN(GraphPlan plan, Partition(package.model, signature));
    auto function = std::make_unique<Function>();
    std::vector<std::unique_ptr<AsyncOp>> ops;
    bool joined = true;
    for (PlanStep& step : plan.steps) {
      if (step.portal != nullptr) {
        ASSIGN_OR_RETURN(std::unique_ptr<Portal> portal, NewPortal(*step.portal, dependencies.router));
        function->portals.push_back(portal.get());
        function->segments.push_back(nullptr);
        ops.push_back(std::move(portal));
        continue;
      }
      if (step.table != nullptr) {
        ASSIGN_OR_RETURN(std::unique_ptr<const ServedShard> shard,
                         ServedShard::Open(package.folder, *step.table, {}, dependencies.shards, dependencies.clock));
        if (servable->shard_ == nullptr) servable->shard_ = shard.get();
        TableOp::Options options{absl::StrCat(package.name, ":", package.version), &servable->stats_};
        ops.push_back(std::make_unique<TableOp>(std::move(options), std::move(shard), *workers, dependencies.clock));
        function->segments.push_back(nullptr);
        joined = false;
        continue;
      }
      SegmentOp::Options options;
      options.name = absl::StrCat(where, "/", step.segment->name);
      options.batching = package.batching;
      options.intra_op_threads = package.intra_op_threads;
      options.providers = package.providers;
      options.workers = dependencies.worker_count;
      options.labels = {{"model", package.name},
                        {"version", absl::StrCat(package.version)},
                        {"signature", signature.name},
                        {"segment", step.segment->name}};
      options.observer = &servable->stats_;
      if (package.axes_declared) options.declared = DeclaredRows::Of(signature);
      // The op takes model bytes and weights; the plan keeps what people want to know of the segment.
      SegmentSpec spec = std::move(*step.segment);
      step.segment->name = spec.name;
      step.segment->num_nodes = spec.num_nodes;
      ASSIGN_OR_RETURN(std::unique_ptr<SegmentOp> op,
                       SegmentOp::Create(std::move(spec), options, *workers, dependencies.clock, *servable->metrics_));
      LogAxes(options.name, op->axes());
      joined &= op->axes().joinable;
      function->segments.push_back(op.get());
      ops.push_back(std::move(op));
    }
    if (joined && !package.axes_declared) {
      // Every segment's rows may be joined, so the signature's inputs with that symbolic dim 0 count rows.
      for (std::vector<TensorSpec>* specs : {&signature.inputs, &signature.outputs}) {
        for (TensorSpec& spec : *specs) {
          if (!spec.dims.empty() && !spec.dims[0].symbol.empty()) spec.axis = AxisKind::kRows;
        }
      }
    }
    function->graph = std::make_unique<Graph>(std::move(plan), std::move(ops), dependencies.clock);
    function->series =
        std::make_unique<RequestSeries>(*servable->metrics_, MetricLabels{{"model", package.name},
                                                                          {"version", absl::StrCat(package.version)},
                                                                          {"signature", signature.name}});
    if (package.result_cache_mib > 0) {
      RETURN_IF_ERROR(servable->KeepResults(package, signature, dependencies, function.get()));
    }
    servable->functions_.push_back(std::move(function));
  }
  return servable;
}

absl::Status Servable::KeepResults(const Package& package, const Signature& signature, const Dependencies& dependencies,
                                   Function* function) {
  ResultCache::Options options;
  ASSIGN_OR_RETURN(options.row_inputs, CacheableRows(package, signature, function->graph->plan(), function->segments));
  options.model = digest_;
  options.signature = signature.name;
  const BatchingOptions& batching = package.batching;
  options.batch_rows = static_cast<size_t>(batching.allowed_batch_sizes.empty() ? batching.max_batch_size
                                                                                : batching.allowed_batch_sizes.back());
  options.on_looked = [this](bool all, absl::Duration took) { stats_.LookedInCache(all, took); };
  options.store_labels = {{"model", name_}, {"version", absl::StrCat(version_)}};
  options.labels = options.store_labels;
  options.labels.emplace_back("signature", signature.name);
  if (answers_ == nullptr) {
    answers_ = std::make_shared<AnswerStore>(static_cast<uint64_t>(package.result_cache_mib) << 20);
  }
  function->results = std::make_unique<ResultCache>(
      std::move(options), answers_,
      [graph = function->graph.get()](Ref<const RequestContext> context, std::vector<Tensor> inputs, OpDone done) {
        graph->Run(std::move(context), std::move(inputs), std::move(done));
      },
      dependencies.workers, Timer::Real(), dependencies.clock, *metrics_);
  return absl::OkStatus();
}

uint64_t Servable::result_cache_bytes() const { return answers_ == nullptr ? 0 : answers_->bytes(); }

uint64_t Servable::max_result_cache_bytes() const { return answers_ == nullptr ? 0 : answers_->max_bytes(); }

const Signature* Servable::FindSignature(absl::string_view signature) const {
  if (signature.empty()) signature = kDefaultSignature;
  for (const Signature& candidate : signatures_) {
    if (candidate.name == signature) return &candidate;
  }
  return nullptr;
}

std::vector<std::string> Servable::Degraded() const {
  std::vector<std::string> degraded;
  for (const auto& function : functions_) {
    for (const Portal* portal : function->portals) {
      const absl::Status health = portal->Health();
      if (!health.ok()) degraded.push_back(absl::StrCat(portal->Target(), ": ", health.message()));
    }
  }
  return degraded;
}

absl::Status Servable::AcceptsPolicies(const Revision& revision) const {
  for (const auto& function : functions_) {
    for (const Portal* portal : function->portals) RETURN_IF_ERROR(portal->AcceptsPolicies(revision));
  }
  return absl::OkStatus();
}

void Servable::SetShares(const std::map<std::string, int64_t>& shares) const {
  for (const auto& function : functions_) {
    for (SegmentOp* segment : function->segments) {
      if (segment != nullptr) segment->SetShares(shares.empty() ? shares_ : shares);
    }
  }
}

const Servable::Function& Servable::FunctionOf(const Signature& signature) const {
  const auto index = static_cast<size_t>(&signature - signatures_.data());
  PORTICO_CHECK(index < functions_.size());
  return *functions_[index];
}

RequestSeries& Servable::series(const Signature& signature) const { return *FunctionOf(signature).series; }

void Servable::Run(const Signature& signature, Ref<const RequestContext> context, std::vector<Tensor> inputs,
                   OpDone done) const {
  const Function& function = FunctionOf(signature);
  if (function.results != nullptr) {
    return function.results->Run(std::move(context), std::move(inputs), std::move(done));
  }
  function.graph->Run(std::move(context), std::move(inputs), std::move(done));
}

}  // namespace portico
