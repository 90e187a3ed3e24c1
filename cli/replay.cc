#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cli/client_security_flags.h"
#include "cli/commands.h"
#include "cli/recorded_requests.h"
#include "cli/replay_report.h"
#include "cli/report_error.h"
#include "cli/tfs_client.h"

namespace portico {
namespace {

constexpr absl::Duration kProgressPeriod = absl::Milliseconds(200);
/// So many answers in a row that nobody gave end it.
constexpr uint64_t kMaxUnreachable = 50;

struct ReplayFlags {
  std::vector<std::string> logs;
  std::string target;
  std::string model;
  int64_t version = 0;
  /// Requests per second, or a multiple of the recorded speed; 0: as fast as answers come.
  double rate = 0;
  double speed = 0;
  int concurrency = 4;
  uint64_t limit = 0;
  double timeout_s = 30;
  ClientSecurityFlags security;
  ReplayReport::Options report = {.tolerance = {.relative = 1e-4, .absolute = 1e-6}};
};

/// The run: threads that each take the next request, wait until it is due, send it, and add its answer to the report.
class Replay {
 public:
  Replay(const ReplayFlags& flags, const ClientSecurity& security, RecordedRequests requests)
      : flags_(flags),
        client_(flags.target, security),
        requests_(std::move(requests)),
        report_(flags.report),
        terminal_(isatty(STDERR_FILENO) == 1) {
    overrides_.model = flags.model;
    overrides_.version = flags.version;
    options_.timeout = absl::Seconds(flags.timeout_s);
  }

  /// Blocks until all have been answered.
  void Run() {
    start_ = absl::Now();
    std::vector<std::thread> threads;
    for (int i = 0; i < flags_.concurrency; ++i) threads.emplace_back([this] { Work(); });
    for (std::thread& thread : threads) thread.join();
    if (terminal_) std::fputs("\r\x1b[K", stderr);
  }

  /// What came of it, and whether all is as it was recorded.
  std::string Text() {
    MutexLock lock(&mutex_);
    const double seconds = std::max(absl::ToDoubleSeconds(absl::Now() - start_), 1e-6);
    const uint64_t sent = report_.counts().all();
    std::string text = absl::StrFormat("%d requests of %d files to %s in %.2f s, %.0f per second", sent,
                                       requests_.files(), flags_.target, seconds, static_cast<double>(sent) / seconds);
    if (requests_.skipped() > 0) {
      absl::StrAppend(&text, "; ", requests_.skipped(), " records of another kind left out");
    }
    if (late_ > 0) {
      absl::StrAppend(&text, "; ", late_, " were sent late, since --concurrency ", flags_.concurrency,
                      " were under way");
    }
    return absl::StrCat(text, "\n", report_.Text());
  }
  absl::Status Outcome() {
    MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
    const ReplayReport::Counts& counts = report_.counts();
    if (counts.all() == 0) return absl::NotFoundError("got no request in the logs, want at least one");
    if (counts.different + counts.failed == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(counts.different + counts.failed, " of ", counts.all(), " answers are not as recorded"));
  }

 private:
  void Work() {
    while (true) {
      std::optional<RecordedRequest> request = Take();
      if (!request.has_value()) return;
      const absl::Time due = DueTime(*request);
      absl::Time begin = absl::Now();
      if (due > begin) absl::SleepFor(due - begin);
      // What waits for others to be answered has waited, as a client would have.
      const bool late = paced() && begin > due + absl::Milliseconds(10);
      if (paced()) begin = due;
      const absl::StatusOr<TfsClient::Prediction> got =
          client_.PredictSerialized(request->log.request, overrides_, options_);
      Report(*request, got, absl::Now() - begin, late);
    }
  }

  bool paced() const { return flags_.rate > 0 || flags_.speed > 0; }

  std::optional<RecordedRequest> Take() {
    MutexLock lock(&mutex_);
    while (!stop_ && (flags_.limit == 0 || taken_ < flags_.limit)) {
      absl::StatusOr<std::optional<RecordedRequest>> request = requests_.Next();
      if (!request.ok()) {
        // What is whole is sent all the same.
        status_.Update(request.status());
        continue;
      }
      if (!request->has_value()) break;
      if (flags_.speed > 0 && (*request)->log.start == absl::InfinitePast()) {
        status_.Update(absl::InvalidArgumentError(absl::StrCat(
            "--speed: record ", (*request)->index, " of '", (*request)->path, "' has no time, want --rate instead")));
        stop_ = true;
        break;
      }
      if (taken_++ == 0) first_recorded_ = (*request)->log.start;
      return *std::move(request);
    }
    return std::nullopt;
  }

  absl::Time DueTime(const RecordedRequest& request) {
    if (flags_.rate > 0) return start_ + absl::Seconds(static_cast<double>(request.index) / flags_.rate);
    if (flags_.speed <= 0) return absl::InfinitePast();
    MutexLock lock(&mutex_);
    return start_ + std::max(absl::ZeroDuration(), (request.log.start - first_recorded_) / flags_.speed);
  }

  void Report(const RecordedRequest& request, const absl::StatusOr<TfsClient::Prediction>& got, absl::Duration latency,
              bool late) {
    MutexLock lock(&mutex_);
    report_.Add(request, got, latency);
    late_ += late ? 1 : 0;
    unreachable_ = absl::IsUnavailable(got.status()) ? unreachable_ + 1 : 0;
    if (unreachable_ == kMaxUnreachable && !stop_) {
      stop_ = true;
      status_.Update(absl::UnavailableError(absl::StrCat(
          "the last ", kMaxUnreachable, " requests reached nobody, the rest is not sent: ", got.status().message())));
    }
    const absl::Time now = absl::Now();
    if (!terminal_ || now < next_progress_) return;
    next_progress_ = now + kProgressPeriod;
    const ReplayReport::Counts& counts = report_.counts();
    std::fprintf(stderr, "\r%3.0f %%, %llu answered, %llu different, %llu failed", 100 * requests_.progress(),
                 static_cast<unsigned long long>(counts.all()), static_cast<unsigned long long>(counts.different),
                 static_cast<unsigned long long>(counts.failed));
  }

  const ReplayFlags& flags_;
  TfsClient client_;
  TfsClient::Overrides overrides_;
  TfsClient::CallOptions options_;
  absl::Time start_;
  Mutex mutex_;
  RecordedRequests requests_ ABSL_GUARDED_BY(mutex_);
  ReplayReport report_ ABSL_GUARDED_BY(mutex_);
  /// The first fault of the logs, or why it ended early.
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  uint64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t late_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t unreachable_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time first_recorded_ ABSL_GUARDED_BY(mutex_);
  const bool terminal_;
  absl::Time next_progress_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

absl::Status RunReplay(const ReplayFlags& flags) {
  if (flags.rate > 0 && flags.speed > 0) {
    return absl::InvalidArgumentError("--rate, --speed: got both, want one: a rate, or the recorded pace");
  }
  ASSIGN_OR_RETURN(const ClientSecurity security, flags.security.Read(flags.target));
  ASSIGN_OR_RETURN(RecordedRequests requests, RecordedRequests::Open(flags.logs));
  Replay replay(flags, security, std::move(requests));
  replay.Run();
  std::fputs(replay.Text().c_str(), stdout);
  std::fflush(stdout);
  return replay.Outcome();
}

}  // namespace

void AddReplayCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<ReplayFlags>();
  CLI::App* command = app.add_subcommand("replay", "Send recorded requests again, and compare the answers");
  command->add_option("LOG", flags->logs, "Files of a request log, or folders of them")->required();
  command->add_option("--target", flags->target, "gRPC address of a node, or of TensorFlow Serving")
      ->type_name("HOST:PORT")
      ->required();
  command->add_option("--rate", flags->rate, "Requests per second; else as fast as answers come")
      ->check(CLI::PositiveNumber);
  command->add_option("--speed", flags->speed, "At the recorded pace, times this: 1 as it was, 2 twice as fast")
      ->check(CLI::PositiveNumber);
  command->add_option("--concurrency", flags->concurrency, "Requests under way at most")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--limit", flags->limit, "Requests at most; 0: all")->capture_default_str();
  command->add_option("--model", flags->model, "Sends them to this model instead of the recorded one")
      ->type_name("NAME");
  command->add_option("--version", flags->version, "Sends them to this version; else whichever the record means")
      ->check(CLI::PositiveNumber);
  command->add_option("--rtol", flags->report.tolerance.relative, "Floating point may differ by this, relatively,")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--atol", flags->report.tolerance.absolute, "plus this, absolutely")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--show", flags->report.shown, "Records that differ or fail and are shown, the first ones")
      ->capture_default_str();
  command->add_option("--timeout", flags->timeout_s, "Seconds a request may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  flags->security.AddTo(*command);
  command->footer(
      "Exit status 1 where an answer differs beyond tolerance or fails. With --rate and --speed latencies count from "
      "when\n"
      "a request was due.\n"
      "Example, a new version against what the old one answered:\n"
      "  portico serve --model digit=packages/digit --request-log=/var/log/portico --request-log-sample=0.05\n"
      "  portico replay /var/log/portico --target=127.0.0.1:8500 --version=2 --rtol=1e-3");
  command->callback([flags, &exit_code] { exit_code = ReportError("replay", RunReplay(*flags)); });
}

}  // namespace portico
