#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/report_error.h"
#include "deploy/ramps.h"
#include "router/revision.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPollPeriod = absl::Milliseconds(50);

struct Flags {
  std::string run_folder;
  bool list = false;
  uint64_t rollback = 0;
  double timeout_s = 120;
};

/// Number → file, refused ones too.
std::map<uint64_t, fs::path> Documents(const std::string& run_folder) {
  std::map<uint64_t, fs::path> documents;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_folder + "/revisions", error)) {
    uint64_t number = 0;
    if (absl::SimpleAtoi(entry.path().stem().stem().string(), &number)) documents[number] = entry.path();
  }
  return documents;
}

std::string Describe(const Revision& revision) {
  return absl::StrJoin(revision.models, " ", [](std::string* out, const Revision::Model& model) {
    absl::StrAppend(out, model.name, ":",
                    absl::StrJoin(model.pins, "+", [](std::string* text, const Revision::Pin& pin) {
                      absl::StrAppend(text, pin.version);
                    }));
  });
}

absl::Status List(const Flags& flags) {
  ASSIGN_OR_RETURN(const RevisionPointers pointers, ReadRevisionPointers(flags.run_folder + "/current"));
  for (const auto& [number, path] : Documents(flags.run_folder)) {
    ASSIGN_OR_RETURN(const Revision revision, ReadRevision(path));
    const char* mark = number == pointers.current                               ? "current"
                       : number == pointers.next                                ? "next"
                       : number >= pointers.oldest && number < pointers.current ? "draining"
                                                                                : "";
    std::printf("%6llu  %-8s  %s  (%s)\n", static_cast<unsigned long long>(number), mark, Describe(revision).c_str(),
                revision.reason.c_str());
  }
  return absl::OkStatus();
}

/// The revision to go back to; NOT_FOUND says which there are.
absl::StatusOr<Revision> ReadWanted(const Flags& flags, const std::map<uint64_t, fs::path>& documents) {
  absl::StatusOr<Revision> wanted = ReadRevision(RevisionDocument(flags.run_folder, flags.rollback));
  if (!absl::IsNotFound(wanted.status())) return wanted;
  std::vector<uint64_t> served;
  for (const auto& [number, path] : documents) {
    if (path.stem().extension() != ".refused") served.push_back(number);
  }
  const bool refused = documents.count(flags.rollback) != 0;
  return absl::NotFoundError(absl::StrCat(
      "revision ", flags.rollback, ": got ", refused ? "one that was refused" : "none of that number", " in '",
      flags.run_folder, "', want one of ", absl::StrJoin(served, ", "), "; --list says what each served"));
}

/// Asks the mesh's one writer, and waits for what it makes of that.
absl::Status Rollback(const Flags& flags) {
  ASSIGN_OR_RETURN(const RevisionPointers before, ReadRevisionPointers(flags.run_folder + "/current"));
  const auto documents = Documents(flags.run_folder);
  ASSIGN_OR_RETURN(Revision wanted, ReadWanted(flags, documents));
  if (before.next == 0) {
    // The writer has nothing to write where it says the same, but that ramps stop.
    ASSIGN_OR_RETURN(const Revision current, ReadRevision(RevisionDocument(flags.run_folder, before.current)));
    StopRamps(current.reason, &wanted);
    if (wanted.SaysTheSameAs(current)) {
      std::printf("what revision %llu says is what serves already, as revision %llu\n",
                  static_cast<unsigned long long>(flags.rollback), static_cast<unsigned long long>(before.current));
      return absl::OkStatus();
    }
  }
  const uint64_t last = documents.empty() ? 0 : documents.rbegin()->first;
  RETURN_IF_ERROR(WriteFileAtomically(flags.run_folder + "/wanted", absl::StrCat(flags.rollback)));
  const std::string reason = absl::StrCat("back to revision ", flags.rollback);
  for (const absl::Time until = absl::Now() + absl::Seconds(flags.timeout_s); absl::Now() < until;) {
    ASSIGN_OR_RETURN(const RevisionPointers now, ReadRevisionPointers(flags.run_folder + "/current"));
    if (now.current > before.current) {
      ASSIGN_OR_RETURN(const Revision current, ReadRevision(RevisionDocument(flags.run_folder, now.current)));
      if (current.reason == reason) {
        std::printf("revision %llu is current: what revision %llu said\n", static_cast<unsigned long long>(now.current),
                    static_cast<unsigned long long>(flags.rollback));
        return absl::OkStatus();
      }
    }
    for (const auto& [number, path] : Documents(flags.run_folder)) {
      if (number <= last || path.stem().extension() != ".refused") continue;
      ASSIGN_OR_RETURN(const Revision refused, ReadRevision(path));
      return absl::FailedPreconditionError(absl::StrCat("revision ", number, ": ", refused.reason));
    }
    absl::SleepFor(kPollPeriod);
  }
  return absl::DeadlineExceededError(absl::StrCat("revision ", flags.rollback, ": got no answer within ",
                                                  flags.timeout_s, " s; see what 'portico up' says"));
}

}  // namespace

void AddRevisionCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("revision", "Show the revisions of a running mesh, or go back to one");
  command->add_option("--run-folder", flags->run_folder, "That of 'portico up'")->required()->type_name("DIR");
  command->add_flag("--list", flags->list, "What each revision served, and why it was written (the default)");
  CLI::Option* rollback = command->add_option("--rollback", flags->rollback, "Go back to what this revision said")
                              ->check(CLI::PositiveNumber)
                              ->type_name("NUMBER");
  command->add_option("--timeout", flags->timeout_s, "Seconds to wait for it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("SECONDS");
  command->footer("Example:\n  portico revision --run-folder run\n  portico revision --run-folder run --rollback 3");
  command->callback([flags, rollback, &exit_code] {
    exit_code = ReportError("revision", rollback->count() > 0 ? Rollback(*flags) : List(*flags));
  });
}

}  // namespace portico
