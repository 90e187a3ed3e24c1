#include "tests/integration/portico_command.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);
/// As long as one that is to end may say nothing.
constexpr absl::Duration kLongSilence = absl::Minutes(5);

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
    if (ReadMore() != More::kRead) return false;
  }
}

std::string PorticoCommand::WaitForEnd() {
  absl::Time heard = absl::Now();
  for (;;) {
    const More more = ReadMore();
    if (more == More::kRead) {
      heard = absl::Now();
    } else if (process_->Ended().has_value()) {
      return process_->Wait();
    } else if (absl::Now() - heard > kLongSilence) {
      process_->Signal(SIGKILL);
      return absl::StrCat("killed after ", absl::FormatDuration(kLongSilence), " of silence: ", process_->Wait());
    } else if (more == More::kEnd) {
      // Of what it prints; it ends a moment later.
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
}

PorticoCommand::More PorticoCommand::ReadMore() {
  if (process_->output() < 0) return More::kEnd;
  pollfd wanted{process_->output(), POLLIN, 0};
  if (poll(&wanted, 1, static_cast<int>(absl::ToInt64Milliseconds(kPatience))) <= 0) return More::kSilence;
  return process_->ReadOutput(&output_) ? More::kRead : More::kEnd;
}

CommandResult RunPortico(std::vector<std::string> arguments, const std::string& program) {
  PorticoCommand command(std::move(arguments), program);
  std::string end = command.WaitForEnd();
  return {std::move(end), command.output()};
}

void SignalNode(const NodeStatus& node, int signal) {
  // 0 would be the test itself.
  ASSERT_GT(node.pid, 0) << "no status of the node";
  EXPECT_EQ(kill(static_cast<pid_t>(node.pid), signal), 0);
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
