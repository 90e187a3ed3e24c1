#include "node/servables/version_loader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/memory_limit.h"
#include "base/status_macros.h"

namespace portico {

VersionLoader::Loaded VersionLoader::Load(const ModelConfig& config, const VersionFolder& folder) {
  const absl::Time start = dependencies_.clock.Now();
  Loaded loaded{absl::CancelledError(), LookAtFolder(folder.folder)};
  loaded.servable = Read(config, folder);
  if (loaded.servable.ok() && !(LookAtFolder(folder.folder) == loaded.folder)) {
    loaded.servable = absl::UnavailableError(absl::StrCat("folder '", folder.folder,
                                                          "': got changes while it was being read, want it whole; it "
                                                          "is read again"));
  }
  const bool ok = loaded.servable.ok();
  if (!ok) {
    loaded.servable =
        WithContext(absl::StrCat("model '", config.name, "' version ", folder.version), loaded.servable.status());
  }
  MetricRegistry& metrics = dependencies_.metrics;
  const MetricLabels labels = {{"model", config.name}, {"result", ok ? "ok" : "failed"}};
  metrics.NewCounter("portico_model_loads_total", "Versions read, by what came of it.", labels).Increment();
  metrics.NewCounter("portico_model_load_seconds_total", "Time that reading versions took, warm-up included.", labels)
      .Add(absl::ToDoubleSeconds(dependencies_.clock.Now() - start));
  return loaded;
}

/// A package of somebody else's may ask for any number: the process would end when it has taken what there is.
absl::Status VersionLoader::CheckResultCache(const Package& package) const {
  if (package.result_cache_mib == 0) return absl::OkStatus();
  const uint64_t memory = MemoryLimit();
  const uint64_t budget = options_.memory_budget_bytes;
  const bool by_budget = budget != 0 && budget < memory;
  const uint64_t most_mib = (by_budget ? budget : memory) >> 20;
  if (static_cast<uint64_t>(package.result_cache_mib) <= most_mib) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("result_cache_mib: got ", package.result_cache_mib, ", want at most ", most_mib, " (",
                   by_budget ? "the memory budget" : "the memory that this process may take",
                   "); set less, for the model in mesh.yaml or by --result-cache, or in its servable.yaml"));
}

absl::StatusOr<std::shared_ptr<const Servable>> VersionLoader::Read(const ModelConfig& config,
                                                                    const VersionFolder& folder) {
  ASSIGN_OR_RETURN(Package package, LoadPackage(config.name, folder.folder, weights_));
  if (config.batching.has_value()) {
    package.batching = *config.batching;
  } else if (options_.batching.has_value()) {
    package.batching = *options_.batching;
  }
  package.result_cache_mib = config.result_cache_mib.value_or(package.result_cache_mib);
  RETURN_IF_ERROR(CheckResultCache(package));
  package.providers = config.providers.value_or(dependencies_.providers);
  ASSIGN_OR_RETURN(std::shared_ptr<const Servable> servable, Servable::Load(std::move(package), dependencies_));
  RETURN_IF_ERROR(
      WarmUp(servable, folder.folder, options_.warmup, dependencies_.clock, dependencies_.metrics, stopping_));
  return servable;
}

}  // namespace portico
