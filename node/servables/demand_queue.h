#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "node/servables/memory_budget.h"

namespace portico {

/// Models that are to be loaded on demand, first come first served within the memory budget: one is added when it is
/// first asked for, measured (which may take: others go ahead of it meanwhile), and loaded once there is room. Not
/// thread-safe: guarded with all of ServedModels, which does what Next() says.
class DemandQueue {
 public:
  /// What is to be done now: unload models, then load (or refuse) one.
  struct Step {
    std::vector<std::string> unload;
    /// Empty: none is to be loaded until others have gone, or are asked for.
    std::string model;
    /// What loading it takes.
    uint64_t bytes = 0;
    /// RESOURCE_EXHAUSTED: it will never fit.
    absl::Status possible;
  };

  /// 0: no limit.
  explicit DemandQueue(uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}

  bool Has(const std::string& model) const { return Find(model) != nullptr; }
  /// Whether it waits to be measured.
  bool Unmeasured(const std::string& model) const;
  /// REQUIRES: !Has(model).
  void Add(const std::string& model) { queue_.push_back({model, std::nullopt, false}); }
  /// It is to be loaded whether or not a request waits for it; does nothing where it is not queued.
  void Insist(const std::string& model);
  /// How much it takes is known now; does nothing where it is not queued.
  void Measured(const std::string& model, uint64_t bytes);

  /// Takes out the next model to load, and before it all that nobody wants any more. `wanted`: whether a model still
  /// is; `resident`: what takes of the budget now. To be called again until it names none, and whenever that may
  /// change.
  Step Next(absl::FunctionRef<bool(const std::string& model, bool insisted)> wanted,
            absl::FunctionRef<std::vector<ResidentModel>()> resident);

 private:
  struct Demand {
    std::string model;
    std::optional<uint64_t> bytes;
    bool insisted = false;
  };
  const Demand* Find(const std::string& model) const;
  Demand* Find(const std::string& model) { return const_cast<Demand*>(std::as_const(*this).Find(model)); }

  const uint64_t budget_bytes_;
  std::deque<Demand> queue_;
};

}  // namespace portico
