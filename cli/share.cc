#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/byte_size.h"
#include "base/byte_text.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/cut_flags.h"
#include "cli/report_error.h"
#include "cli/share_report.h"
#include "cli/terminal.h"
#include "models/package/model.h"
#include "models/package/package.h"
#include "models/share/calls_between.h"
#include "models/share/share.h"
#include "remote_op/local_portals.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

struct ShareFlags {
  std::vector<std::string> models;
  SharingOptions options;
  std::string min_bytes = "64KiB";
  CutFlags cut;
  bool dry_run = false;
};

/// A model as it was named on the command line.
struct Given {
  /// Servable name; empty: none was given.
  std::string name;
  std::string path;
};

/// One line on standard error that says what goes on, at a terminal alone; gone with the object.
class StepLine {
 public:
  StepLine() : shown_(Terminal::Of(STDERR_FILENO).is_terminal) {}
  ~StepLine() { Show(""); }
  StepLine(const StepLine&) = delete;
  StepLine& operator=(const StepLine&) = delete;

  void Show(const std::string& text) const {
    if (!shown_) return;
    std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
    std::fflush(stderr);
  }

 private:
  const bool shown_;
};

bool IsNumber(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isdigit(c); });
}

/// "digit" of digit.onnx, packages/digit/model.onnx and packages/digit/3/model.onnx.
std::string NameOf(const fs::path& path) {
  if (path.stem() != "model") return path.stem().string();
  fs::path folder = path.parent_path();
  if (IsNumber(folder.filename().string())) folder = folder.parent_path();
  return folder.filename().empty() ? "model" : folder.filename().string();
}

std::vector<Given> ReadArguments(const ShareFlags& flags) {
  std::vector<Given> given;
  for (const std::string& argument : flags.models) {
    // NAME=PATH, unless that is what the file is called.
    const size_t equals = argument.find('=');
    const bool named = equals != std::string::npos && !fs::exists(argument);
    given.push_back(named ? Given{argument.substr(0, equals), argument.substr(equals + 1)} : Given{"", argument});
  }
  return given;
}

/// Names those of `given` that have none: what another one calls, as that calls it; others as their files.
void NameAll(const std::vector<CallBetween>& calls, std::vector<Given>& given) {
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i].name.empty()) continue;
    const auto call = std::find_if(calls.begin(), calls.end(),
                                   [&](const CallBetween& one) { return one.called == static_cast<int>(i); });
    given[i].name = call == calls.end() ? NameOf(given[i].path) : call->target;
  }
}

/// What was read: the models, and which of them call which.
struct ReadModels {
  std::vector<Given> given;
  std::vector<Product> products;
  std::vector<CallBetween> calls;
};

absl::StatusOr<ReadModels> ReadProducts(const ShareFlags& flags, WeightStore& store, std::vector<std::string>& notes) {
  ReadModels read;
  read.given = ReadArguments(flags);
  const StepLine line;
  std::vector<Model> models;
  for (const Given& given : read.given) {
    line.Show(absl::StrCat("reading ", given.path));
    ASSIGN_OR_RETURN(Model model, Model::Load(given.path, store));
    models.push_back(std::move(model));
  }
  std::vector<const Model*> all;
  for (const Model& model : models) all.push_back(&model);
  ASSIGN_OR_RETURN(read.calls, CallsBetween(all));
  NameAll(read.calls, read.given);
  for (size_t i = 0; i < models.size(); ++i) {
    absl::StatusOr<Product> product = MakeProduct(read.given[i].name, std::move(models[i]), store, notes);
    if (!product.ok()) return WithContext(read.given[i].path, product.status());
    read.products.push_back(*std::move(product));
  }
  return read;
}

/// Compares each rewritten product with its model; the text says how it went.
absl::StatusOr<std::string> VerifyAll(const std::vector<Product>& products, const SharedModels& shared,
                                      const ShareFlags& flags, CalledModels& called) {
  std::string text;
  const StepLine line;
  const std::unique_ptr<PortalOps> ops = NewLocalPortals();
  for (const SharedModels::Rewritten& rewritten : shared.products) {
    const Product& product = products[static_cast<size_t>(rewritten.product)];
    line.Show(absl::StrCat("comparing ", product.name, " with what it was"));
    VerifyOptions options;
    options.called = &called;
    options.ops = ops.get();
    if (!flags.cut.samples.empty()) {
      ASSIGN_OR_RETURN(options.samples, ReadSamples((fs::path(flags.cut.samples) / product.name).string()));
    }
    ASSIGN_OR_RETURN(const VerifyReport report, VerifyShared(product, shared, rewritten, options));
    absl::StrAppend(&text, VerifiedText(absl::StrCat(product.name, ", "), "the model it was", report));
  }
  return text;
}

std::string WrittenText(const SharedModels& shared, const ShareFlags& flags) {
  std::string text;
  const auto add = [&](const char* what, const SplitModel& model) {
    absl::StrAppend(&text, what, model.name, ": ", ByteText(model.model.weight_bytes()), " of weights, digest ",
                    model.digest.Short(), "\n  at   ", flags.cut.FolderOf(model.name), "\n");
  };
  for (const SplitModel& module : shared.modules) add("module ", module);
  for (const SharedModels::Rewritten& product : shared.products) add("product ", product.model);
  return text;
}

/// Above all versions of a model beside the file that was read and in --out.
int64_t NextVersion(const std::string& name, const std::string& path, const ShareFlags& flags) {
  int64_t next = flags.cut.version;
  std::error_code error;
  const fs::path source = fs::absolute(path, error).parent_path().parent_path();
  for (const fs::path& base : {source, fs::path(flags.cut.out) / name}) {
    const absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(base.string());
    if (versions.ok() && !versions->empty()) next = std::max(next, versions->back().version + 1);
  }
  return next;
}

/// Models that others call and that are other models now: those go on calling what they were made for.
std::string CallersText(const ReadModels& read, const SharedModels& shared, const ShareFlags& flags) {
  std::string text;
  for (const SharedModels::Rewritten& rewritten : shared.products) {
    std::vector<std::string> callers;
    const CallBetween* last = nullptr;
    for (const CallBetween& call : read.calls) {
      if (call.called != rewritten.product) continue;
      callers.push_back(read.products[static_cast<size_t>(call.caller)].name);
      last = &call;
    }
    if (last == nullptr) continue;
    const Given& given = read.given[static_cast<size_t>(rewritten.product)];
    absl::StrAppend(&text, "note: ", absl::StrJoin(callers, ", "), callers.size() == 1 ? " calls " : " call ",
                    last->target, " by digest ", last->digest.Short(), ", as it was before, and ",
                    callers.size() == 1 ? "goes" : "go",
                    " on doing so: keep it served, publish what it is now (digest ", rewritten.model.digest.Short(),
                    ") as another version, ", last->target, "/", NextVersion(rewritten.model.name, given.path, flags),
                    " being free, and move the callers there\n");
  }
  return text;
}

absl::Status RunShare(ShareFlags flags) {
  // ONNX Runtime logs what this reports in its own words.
  SetLogLevel("off");
  const absl::StatusOr<uint64_t> min_bytes = ParseByteSize(flags.min_bytes);
  if (!min_bytes.ok()) return WithContext("--min-bytes", min_bytes.status());
  flags.options.min_bytes = *min_bytes;
  WeightStore store;
  std::vector<std::string> notes;
  ASSIGN_OR_RETURN(const ReadModels read, ReadProducts(flags, store, notes));
  ASSIGN_OR_RETURN(SharingProposal proposal, ProposeSharing(read.products, flags.options));
  proposal.notes.insert(proposal.notes.begin(), notes.begin(), notes.end());
  std::string text = SharingText(proposal, read.products, Terminal::Of(STDOUT_FILENO).columns);
  if (!proposal.modules.empty() && (flags.cut.out.empty() || flags.dry_run)) {
    absl::StrAppend(&text, "nothing was written; --out DIR writes the modules and what remains of the products\n");
  } else if (!proposal.modules.empty()) {
    std::vector<CalledModels::Place> models;
    for (const Given& given : read.given) models.push_back({given.name, given.path});
    ASSIGN_OR_RETURN(std::vector<CalledModels::Place> places, flags.cut.Places(models));
    CalledModels called(std::move(places));
    ASSIGN_OR_RETURN(SharedModels shared, CutShared(read.products, proposal));
    ASSIGN_OR_RETURN(const std::string verified, VerifyAll(read.products, shared, flags, called));
    // All text is made before anything is written: after WriteShared() nothing can fail.
    absl::StrAppend(&text, WrittenText(shared, flags), verified, CallersText(read, shared, flags),
                    "mesh.yaml that serves it:\n", SharedMeshText(shared, called, flags.cut.out, flags.cut.version));
    RETURN_IF_ERROR(WriteShared(std::move(shared), flags.cut.out, flags.cut.version));
  }
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddShareCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<ShareFlags>();
  CLI::App* command = app.add_subcommand(
      "share", "Find what several ONNX models have in common, and make it a module that all of them call");
  command
      ->add_option("models", flags->models,
                   "The models, two at least; modules among them. NAME: servable name of what remains; default: as "
                   "another of them calls it, or the file's name, or its folder's where the file is called model.onnx")
      ->required()
      ->type_name("[NAME=]MODEL.ONNX");
  flags->cut.AddOut(*command, "; without it nothing is written");
  command->add_flag("--dry-run", flags->dry_run, "Only say what there is to share, even with --out");
  command
      ->add_option("--name", flags->options.name,
                   "Servable name of the module; further ones get -2, -3, ...; default: hub/<first model>-shared")
      ->type_name("PUBLISHER/NAME");
  command
      ->add_option("--min-bytes", flags->min_bytes,
                   absl::StrCat("Least bytes of weights that a module has to save (", kByteUnits, ")"))
      ->capture_default_str()
      ->type_name("SIZE");
  command
      ->add_option("--max-tensors", flags->options.max_tensors,
                   "Most tensors that may go into a module, and most that may come out")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->type_name("N");
  flags->cut.AddOthers(*command, "DIR/<product>/<any>/input_0.pb, ...");
  command->footer(
      "Names, the order of nodes and inputs, folded constants and names of dims do not count; docs/sharing.md has what "
      "does.\n"
      "Example:\n"
      "  portico share digit.onnx parity.onnx\n"
      "  portico share digit.onnx parity.onnx --name hub/encoder --out packages\n"
      "  portico share packages/hub/encoder/1/model.onnx faces.onnx --name hub/stem --out packages --version 2");
  command->callback([flags, &exit_code] { exit_code = ReportError("share", RunShare(*flags)); });
}

}  // namespace portico
