#include "cli/hub_flags.h"

#include <cstdio>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/progress_line.h"
#include "cli/terminal_text.h"

namespace portico {

struct HubProgress::State {
  std::string what;
  std::optional<ProgressLine> line;
};

HubProgress::HubProgress() : state_(std::make_unique<State>()) {}
HubProgress::~HubProgress() = default;

void HubProgress::Show(const std::string& what, uint64_t done, uint64_t all) {
  if (!state_->line.has_value() || state_->what != what) {
    state_->what = what;
    state_->line.emplace(what);
  }
  state_->line->Show(done, all, "bytes");
  if (done == all) state_->line.reset();
}

void HubProgress::Say(const std::string& line) {
  state_->line.reset();
  std::fputs(absl::StrCat(ForTerminal(line), "\n").c_str(), stderr);
}

void HubFlags::AddStore(CLI::App& command, bool from_environment) {
  CLI::Option* option =
      command
          .add_option("--store", store,
                      "Where modules are: a folder, http://HOST:PORT/PATH, https://… or s3://BUCKET/PREFIX")
          ->type_name("STORE");
  if (from_environment) option->envname("PORTICO_HUB");
  command
      .add_option(
          "--s3-endpoint", s3_endpoint,
          "The server of s3:// (AWS_ENDPOINT_URL otherwise); keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
      ->type_name("URL");
}

void HubFlags::AddCache(CLI::App& command) {
  command
      .add_option("--cache", cache, "Folder of downloaded modules; default: ${XDG_CACHE_HOME:-~/.cache}/portico/hub")
      ->type_name("DIR");
}

absl::StatusOr<std::unique_ptr<Store>> HubFlags::OpenStore() const {
  StoreOptions options;
  options.s3_endpoint = s3_endpoint;
  return portico::OpenStore(store, options);
}

absl::StatusOr<HubCache> HubFlags::OpenCache() const {
  const auto progress = std::make_shared<HubProgress>();
  HubCache::Options options;
  options.folder = cache;
  options.progress = [progress](absl::string_view what, uint64_t done, uint64_t all) {
    progress->Show(std::string(what), done, all);
  };
  options.say = [progress](absl::string_view line) { progress->Say(std::string(line)); };
  return HubCache::Open(std::move(options));
}

}  // namespace portico
