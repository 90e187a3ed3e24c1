#include "tests/integration/portico_command.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace portico {
namespace {

constexpr int kPatienceMs = 60000;

}  // namespace

PorticoCommand::PorticoCommand(std::vector<std::string> arguments, const std::string& program,
                               std::vector<std::string> prefix) {
  std::vector<std::string> command = std::move(prefix);
  command.push_back(PORTICO_BINARY_DIR "/" + program);
  std::move(arguments.begin(), arguments.end(), std::back_inserter(command));
  auto process = Process::Start(command);
  if (!process.ok()) std::fprintf(stderr, "%s\n", process.status().ToString().c_str());
  PORTICO_CHECK(process.ok());
  process_ = *std::move(process);
}

bool PorticoCommand::WaitForOutput(absl::string_view text) {
  for (;;) {
    if (const size_t at = output_.find(text.data(), seen_, text.size()); at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    if (!ReadMore()) return false;
  }
}

std::string PorticoCommand::WaitForEnd() {
  while (ReadMore()) {
  }
  return process_->Wait();
}

bool PorticoCommand::ReadMore() {
  pollfd wanted{process_->output(), POLLIN, 0};
  if (process_->output() < 0 || poll(&wanted, 1, kPatienceMs) <= 0) return false;
  return process_->ReadOutput(&output_);
}

CommandResult RunPortico(std::vector<std::string> arguments, const std::string& program) {
  PorticoCommand command(std::move(arguments), program);
  std::string end = command.WaitForEnd();
  return {std::move(end), command.output()};
}

std::optional<ServeAddresses> WaitForServe(PorticoCommand* serve) {
  const std::string before_grpc = "serving on grpc ", before_http = ", http ";
  if (!serve->WaitForOutput(before_grpc)) return std::nullopt;
  const size_t grpc = serve->output().find(before_grpc) + before_grpc.size();
  if (!serve->WaitForOutput(before_http)) return std::nullopt;
  const size_t middle = serve->output().find(before_http, grpc);
  const size_t http = middle + before_http.size();
  if (!serve->WaitForOutput("\n")) return std::nullopt;
  return ServeAddresses{serve->output().substr(grpc, middle - grpc),
                        serve->output().substr(http, serve->output().find('\n', middle) - http)};
}

}  // namespace portico
