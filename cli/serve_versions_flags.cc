#include "cli/serve_versions_flags.h"

#include <algorithm>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "cli/byte_size_option.h"

namespace portico {
namespace {

class VersionsFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    const char* const group = "Versions and memory";
    command.add_flag("--on-demand", on_demand_, "Load each model when it is first asked for")->group(group);
    TakeByteSize(
        command.add_option("--memory-budget", memory_budget_,
                           "Bytes of models in memory (512MiB, 4GiB); on-demand models that were not asked for longest "
                           "make room. 0: no limit"))
        ->group(group);
    command.add_option("--max-waiting-requests", max_waiting_, "Requests that may wait for on-demand loads")
        ->check(CLI::PositiveNumber)
        ->group(group);
    TakeByteSize(
        command.add_option(
            "--table-huge-pages", huge_page_bytes_,
            "Memory of huge pages (512MiB, 4GiB) for the rows and indexes of tables that are read most; 0: none"))
        ->group(group);
    command
        .add_option("--result-cache", result_caches_,
                    "MiB of answers that a model keeps by row, in place of what its servable.yaml says; 0: none; "
                    "repeatable")
        ->type_name("NAME=MIB")
        ->group(group);
    command
        .add_flag("--unload-on-empty", unload_on_empty_,
                  "Unload a model's versions when its folder is found empty; else they serve on")
        ->group(group);
    command
        .add_flag("--resource-preserving", resource_preserving_,
                  "Unload the old version of a model before the new one is loaded")
        ->group(group);
    command
        .add_option("--warmup-requests", warmup_requests_, "Recorded requests replayed at most per version; 0: none")
        ->check(CLI::NonNegativeNumber)
        ->group(group);
    command
        .add_flag("--warmup-must-succeed", warmup_must_succeed_,
                  "A version whose recorded requests fail does not serve")
        ->group(group);
  }

  absl::Status Apply(Node::Options* options) const override {
    Servables::Options& servables = options->servables;
    servables.on_demand |= on_demand_;
    servables.unload_on_empty |= unload_on_empty_;
    servables.memory_budget_bytes = memory_budget_;
    // It stands in for what the mesh says.
    if (huge_page_bytes_) options->huge_page_bytes = *huge_page_bytes_;
    servables.max_waiting_requests = max_waiting_;
    servables.warmup.max_requests = warmup_requests_;
    servables.warmup.must_succeed = warmup_must_succeed_;
    if (resource_preserving_) {
      for (ModelConfig& model : options->models) model.resource_preserving = true;
      options->model_config_file.resource_preserving = true;
    }
    for (const std::string& text : result_caches_) RETURN_IF_ERROR(ApplyResultCache(text, options));
    const bool on_demand_models =
        servables.on_demand || std::any_of(options->models.begin(), options->models.end(),
                                           [](const ModelConfig& model) { return model.on_demand; });
    if (memory_budget_ != 0 && !on_demand_models) {
      return absl::InvalidArgumentError(
          "--memory-budget: got it without models that are loaded on demand, want --on-demand too; only those make "
          "room");
    }
    return absl::OkStatus();
  }

  std::vector<std::string> GivenMeshFlags() const override {
    if (result_caches_.empty()) return {};
    return {"--result-cache"};
  }

 private:
  static absl::Status ApplyResultCache(const std::string& text, Node::Options* options) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(text, absl::MaxSplits('=', 1));
    int64_t mib = 0;
    if (!absl::SimpleAtoi(pair.second, &mib) || mib < 0 || mib > kMaxResultCacheMib) {
      return absl::InvalidArgumentError(absl::StrCat("--result-cache: got '", text, "', want NAME=MIB, 0 to ",
                                                     kMaxResultCacheMib, " MiB, such as digit=256"));
    }
    std::vector<std::string> known;
    for (ModelConfig& model : options->models) {
      known.push_back(model.name);
      if (model.name != pair.first) continue;
      model.result_cache_mib = mib;
      return absl::OkStatus();
    }
    if (known.empty()) {
      return absl::InvalidArgumentError(
          "--result-cache: got it without --model or --model_name, want one; beside --model_config_file say "
          "result_cache_mib in the model's servable.yaml");
    }
    return absl::InvalidArgumentError(absl::StrCat("--result-cache: got model '", pair.first, "', want one of ",
                                                   absl::StrJoin(known, ", "), ", which this node serves"));
  }

  std::vector<std::string> result_caches_;
  bool on_demand_ = false;
  uint64_t memory_budget_ = 0;
  std::optional<uint64_t> huge_page_bytes_;
  size_t max_waiting_ = Servables::Options().max_waiting_requests;
  bool unload_on_empty_ = false;
  bool resource_preserving_ = false;
  int64_t warmup_requests_ = Servables::Options().warmup.max_requests;
  bool warmup_must_succeed_ = false;
};

}  // namespace

std::unique_ptr<ServeFlags> NewVersionsFlags() { return std::make_unique<VersionsFlags>(); }

}  // namespace portico
