#include "cli/etcd_flags.h"

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxPemBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxPasswordBytes = 1024;

absl::Status Read(const char* flag, const std::string& path, uint64_t max_bytes, std::string* text) {
  if (path.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*text, ReadFile(path, max_bytes));
  if (!text->empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": got file '", path, "' without anything in it"));
}

}  // namespace

void EtcdFlags::AddTo(CLI::App& command, const std::string& group) {
  const auto add = [&](CLI::Option* option) {
    if (!group.empty()) option->group(group);
    return option;
  };
  add(command.add_option("--etcd", endpoints_, "Members of the etcd cluster (3.4) in which nodes find each other"))
      ->delimiter(',')
      ->type_name("HOST:PORT[,HOST:PORT]");
  add(command.add_option("--etcd-prefix", prefix_, "Of all keys of this mesh"))
      ->type_name("/PATH")
      ->capture_default_str();
  add(command.add_option("--etcd-ca", ca_, "PEM authorities of its members; with it connections are TLS"))
      ->type_name("FILE");
  add(command.add_option("--etcd-cert", cert_, "PEM certificate to show to it"))->type_name("FILE");
  add(command.add_option("--etcd-key", key_, "PEM private key of --etcd-cert"))->type_name("FILE");
  add(command.add_option("--etcd-user", user_, "Who to be there"))->type_name("NAME");
  add(command.add_option("--etcd-password", password_file_, "File with the password of --etcd-user"))
      ->type_name("FILE");
}

absl::StatusOr<EtcdOptions> EtcdFlags::Options() const {
  EtcdOptions options;
  options.endpoints = endpoints_;
  options.user = user_;
  RETURN_IF_ERROR(Read("--etcd-ca", ca_, kMaxPemBytes, &options.roots));
  RETURN_IF_ERROR(Read("--etcd-cert", cert_, kMaxPemBytes, &options.certificate));
  RETURN_IF_ERROR(Read("--etcd-key", key_, kMaxPemBytes, &options.key));
  RETURN_IF_ERROR(Read("--etcd-password", password_file_, kMaxPasswordBytes, &options.password));
  absl::StripTrailingAsciiWhitespace(&options.password);
  if (user_.empty() != options.password.empty()) {
    return absl::InvalidArgumentError("--etcd-user, --etcd-password: got one, want both or none");
  }
  return options;
}

absl::StatusOr<std::string> EtcdFlags::Prefix() const {
  std::string prefix = prefix_;
  while (absl::EndsWith(prefix, "/")) prefix.pop_back();
  if (prefix.size() > 1 && prefix[0] == '/' && prefix.size() <= 512) return prefix;
  return absl::InvalidArgumentError(
      absl::StrCat("--etcd-prefix: got '", prefix_, "', want a path such as /portico/digits"));
}

}  // namespace portico
