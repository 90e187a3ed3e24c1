#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/etcd_flags.h"
#include "cli/report_error.h"
#include "deploy/etcd_controller.h"

namespace portico {
namespace {

struct Flags {
  EtcdFlags etcd;
  std::string mesh_file;
  uint64_t rollback = 0;
  bool list = false;
  double prepare_timeout_s = 120;
  double drain_timeout_s = 60;
};

absl::Status Apply(const Flags& flags) {
  EtcdControllerOptions options;
  const int asked = !flags.mesh_file.empty() + (flags.rollback != 0) + flags.list;
  if (!flags.etcd.given() || asked != 1) {
    return absl::InvalidArgumentError(
        "got no --etcd, or not one of MESH.YAML, --rollback and --list; want --etcd HOST:PORT and one of them");
  }
  ASSIGN_OR_RETURN(options.etcd, flags.etcd.Options());
  ASSIGN_OR_RETURN(options.prefix, flags.etcd.Prefix());
  if (flags.list) {
    ASSIGN_OR_RETURN(const std::string lines, ListRevisions(options));
    std::fputs(lines.c_str(), stdout);
    return absl::OkStatus();
  }
  options.mesh_file = flags.mesh_file;
  options.rollback = flags.rollback;
  options.prepare_timeout = absl::Seconds(flags.prepare_timeout_s);
  options.drain_timeout = absl::Seconds(flags.drain_timeout_s);
  options.say = [](absl::string_view line) {
    std::fputs(absl::StrCat(line, "\n").c_str(), stdout);
    std::fflush(stdout);
  };
  return ApplyRevision(options).status();
}

}  // namespace

void AddApplyCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("apply", "Roll a mesh file out to nodes on any hosts that follow etcd, or go back");
  command->add_option("mesh", flags->mesh_file, "The mesh file (docs/mesh_yaml.md)")->type_name("MESH.YAML");
  flags->etcd.AddTo(*command, "");
  command->add_option("--rollback", flags->rollback, "Go back to what this revision said")
      ->check(CLI::PositiveNumber)
      ->type_name("NUMBER");
  command->add_flag("--list", flags->list, "What each revision served, and why it was written");
  command
      ->add_option("--prepare-timeout", flags->prepare_timeout_s,
                   "Seconds within which all nodes must have prepared the revision")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  command
      ->add_option("--drain-timeout", flags->drain_timeout_s,
                   "Seconds after which what was before is let go of, whatever requests are left")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  command->footer(
      "Example:\n  portico apply mesh.yaml --etcd 10.0.0.1:2379,10.0.0.2:2379 --etcd-prefix /portico/digits\n"
      "  portico serve --revision etcd --node hub --replica 0 --peer tcp://0.0.0.0:7000 --etcd 10.0.0.1:2379 \\\n"
      "      --etcd-prefix /portico/digits --peer-tls-key key.pem --peer-tls-cert cert.pem --peer-tls-allow ca.pem\n"
      "  portico apply --rollback 3 --etcd 10.0.0.1:2379 --etcd-prefix /portico/digits");
  command->callback([flags, &exit_code] { exit_code = ReportError("apply", Apply(*flags)); });
}

}  // namespace portico
