#include "cli/serve_placement_flags.h"

#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/cpu_list.h"
#include "base/status_macros.h"
#include "models/runtime/ort_providers.h"

namespace portico {
namespace {

class PlacementFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Placement (docs/hub.md)";
    command
        .add_option(
            "--providers", providers_,
            absl::StrCat("Execution providers that models run by, the first that can: tensorrt,cuda,cpu; without "
                         "cpu at the end, models that need it are refused. This ONNX Runtime was built with ",
                         absl::StrJoin(ProvidersOfOnnxRuntime(), ", ")))
        ->type_name("NAME[,NAME]")
        ->group(kGroup);
    command
        .add_option("--provider-option", options_,
                    "An option of one of them by ONNX Runtime's name, such as cuda.device_id=1 or "
                    "cuda.gpu_mem_limit=2147483648; repeatable")
        ->type_name("NAME.KEY=VALUE")
        ->group(kGroup);
    command.add_option("--cpus", cpus_, "Cores that this process runs on, such as 0-3,8; default: all")
        ->type_name("LIST")
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    if (!providers_.empty()) {
      options->providers.clear();
      for (const absl::string_view name : absl::StrSplit(providers_, ',')) {
        options->providers.push_back({std::string(name), {}});
      }
      if (absl::Status status = CheckProviderList(options->providers); !status.ok()) {
        return WithContext("--providers", status);
      }
    }
    for (const std::string& text : options_) RETURN_IF_ERROR(ApplyOption(text, options));
    if (!cpus_.empty()) {
      const absl::StatusOr<std::vector<int>> cpus = ParseCpuList(cpus_);
      if (!cpus.ok()) return absl::InvalidArgumentError(absl::StrCat("--", cpus.status().message()));
      options->cpus = *cpus;
    }
    return absl::OkStatus();
  }

  std::vector<std::string> GivenMeshFlags() const override {
    std::vector<std::string> given;
    if (!providers_.empty()) given.push_back("--providers");
    if (!options_.empty()) given.push_back("--provider-option");
    if (!cpus_.empty()) given.push_back("--cpus");
    return given;
  }

 private:
  static absl::Status ApplyOption(const std::string& text, Node::Options* options) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(text, absl::MaxSplits('=', 1));
    const std::pair<std::string, std::string> name_key = absl::StrSplit(pair.first, absl::MaxSplits('.', 1));
    const auto& [name, key] = name_key;
    if (key.empty() || pair.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--provider-option: got '", text, "', want NAME.KEY=VALUE, such as cuda.device_id=1"));
    }
    const auto provider =
        absl::c_find_if(options->providers, [&](const ExecutionProvider& one) { return one.name == name_key.first; });
    if (provider == options->providers.end()) {
      return absl::InvalidArgumentError(absl::StrCat("--provider-option: got '", text, "' for '", name,
                                                     "', want a provider of --providers; add it there"));
    }
    provider->options[key] = pair.second;
    if (absl::Status status = CheckProviderList(options->providers); !status.ok()) {
      return WithContext("--provider-option", status);
    }
    return absl::OkStatus();
  }

  std::string providers_;
  std::vector<std::string> options_;
  std::string cpus_;
};

}  // namespace

std::unique_ptr<ServeFlags> NewPlacementFlags() { return std::make_unique<PlacementFlags>(); }

}  // namespace portico
