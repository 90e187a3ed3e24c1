#include "deploy/supervised_node.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// "grpc 127.0.0.1:8500, http 127.0.0.1:8501, serves digit:1".
std::string Describe(const NodeStatus& status) {
  std::vector<std::string> parts;
  if (!status.grpc.empty()) parts.push_back(absl::StrCat("grpc ", status.grpc));
  if (!status.http.empty()) parts.push_back(absl::StrCat("http ", status.http));
  if (parts.empty()) parts.push_back(absl::StrCat("peer ", status.peer));
  parts.push_back(
      absl::StrCat("serves ", absl::StrJoin(status.models, " ", [](std::string* out, const NodeStatus::Model& model) {
                     absl::StrAppend(out, model.name, ":", model.version);
                   })));
  return absl::StrJoin(parts, ", ");
}

}  // namespace

absl::Status SupervisedNode::Start(absl::Time now) {
  unlink(options_.status_file.c_str());
  ASSIGN_OR_RETURN(process_, Process::Start(options_.command));
  started_ = now;
  status_ = NodeStatus();
  ready_since_ = absl::InfiniteFuture();
  start_at_ = absl::InfiniteFuture();
  return absl::OkStatus();
}

void SupervisedNode::OnOutput() { PrintOutput(/*to_the_end=*/false); }

void SupervisedNode::PrintOutput(bool to_the_end) {
  const auto print = [this](absl::string_view line) {
    log_.Print(id_, options_.index, line);
    last_lines_.emplace_back(line);
    if (last_lines_.size() > kLastLines) last_lines_.pop_front();
  };
  // What was printed before the end is at most a pipe's worth; a grandchild that holds the pipe open is not waited for.
  std::string bytes;
  bool more = true;
  do {
    bytes.clear();
    more = process_->ReadOutput(&bytes);
    lines_.Add(bytes, print);
  } while (to_the_end && more && !bytes.empty());
  if (to_the_end) lines_.Finish(print);
}

absl::Status SupervisedNode::OnStatusFile(absl::Time now) {
  const bool ready = ready_since_ != absl::InfiniteFuture();
  if (!running() || leaving_) return absl::OkStatus();
  absl::StatusOr<NodeStatus> status = ReadNodeStatus(options_.status_file);
  if (absl::IsNotFound(status.status())) return absl::OkStatus();
  RETURN_IF_ERROR(status.status());
  status_ = *status;
  if (ready && was_up_) return absl::OkStatus();
  for (const NodeStatus::Model& model : status->models) {
    if (model.error.empty()) continue;
    const std::string message =
        absl::StrCat("node '", id_, "': model '", model.name, "' does not serve: ", model.error);
    if (!was_ready_) return absl::FailedPreconditionError(message);
    log_.Say(message);
  }
  if (ready) was_up_ = status_.degraded.empty();
  if (!status->ready || ready) return absl::OkStatus();
  was_up_ |= status_.degraded.empty();
  was_ready_ = true;
  ready_since_ = now;
  log_.Say(
      absl::StrFormat("%s is ready after %.1f s: %s", id_, absl::ToDoubleSeconds(now - started_), Describe(*status)));
  return absl::OkStatus();
}

std::string SupervisedNode::NotUp() const {
  if (was_up_) return "";
  if (!was_ready_) return absl::StrCat("node '", id_, "': not ready");
  return absl::StrCat("node '", id_, "': ", absl::StrJoin(status_.degraded, "; "));
}

absl::Status SupervisedNode::OnChildEnded(absl::Time now) {
  if (leaving_) OnChildEndedStopping();
  if (!running() || leaving_) return absl::OkStatus();
  const std::optional<std::string> end = process_->Ended();
  if (!end.has_value()) return absl::OkStatus();
  PrintOutput(/*to_the_end=*/true);
  process_.reset();
  start_at_ = absl::InfiniteFuture();
  if (!was_ready_ && ++failed_starts_ == kMaxFailedStarts) {
    return absl::UnavailableError(absl::StrCat("node '", id_, "': got ", *end, " at each of ", kMaxFailedStarts,
                                               " starts, want it ready; its last lines:\n", LastLines()));
  }
  const absl::Duration wait = delay_.Next(std::max(now - ready_since_, absl::ZeroDuration()));
  start_at_ = now + wait;
  log_.Say(absl::StrCat(id_, " ended with ", *end, "; starting it again in ", absl::FormatDuration(wait)));
  return absl::OkStatus();
}

void SupervisedNode::Leave() {
  leaving_ = true;
  start_at_ = absl::InfiniteFuture();
  Signal(SIGTERM);
}

void SupervisedNode::Signal(int number) {
  if (running()) process_->Signal(number);
}

void SupervisedNode::OnChildEndedStopping() {
  start_at_ = absl::InfiniteFuture();
  if (!running()) return;
  const std::optional<std::string> end = process_->Ended();
  if (!end.has_value()) return;
  PrintOutput(/*to_the_end=*/true);
  log_.Say(absl::StrCat(id_, " stopped", process_->succeeded() ? "" : absl::StrCat(" with ", *end)));
  process_.reset();
}

std::string SupervisedNode::LastLines() const {
  if (last_lines_.empty()) return "  (it printed nothing)";
  return absl::StrJoin(last_lines_, "\n",
                       [](std::string* out, const std::string& line) { absl::StrAppend(out, "  ", line); });
}

}  // namespace portico
