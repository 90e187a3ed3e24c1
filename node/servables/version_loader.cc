#include "node/servables/version_loader.h"

#include <utility>

#include "absl/strings/str_cat.h"
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

absl::StatusOr<std::shared_ptr<const Servable>> VersionLoader::Read(const ModelConfig& config,
                                                                    const VersionFolder& folder) {
  ASSIGN_OR_RETURN(Package package, LoadPackage(config.name, folder.folder, weights_));
  if (config.batching.has_value()) {
    package.batching = *config.batching;
  } else if (options_.batching.has_value()) {
    package.batching = *options_.batching;
  }
  package.result_cache_mib = config.result_cache_mib.value_or(package.result_cache_mib);
  package.providers = config.providers.value_or(dependencies_.providers);
  ASSIGN_OR_RETURN(std::shared_ptr<const Servable> servable, Servable::Load(std::move(package), dependencies_));
  RETURN_IF_ERROR(
      WarmUp(servable, folder.folder, options_.warmup, dependencies_.clock, dependencies_.metrics, stopping_));
  return servable;
}

}  // namespace portico
