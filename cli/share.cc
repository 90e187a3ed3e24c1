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
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/byte_text.h"
#include "cli/commands.h"
#include "cli/report_error.h"
#include "cli/share_report.h"
#include "cli/terminal.h"
#include "models/package/model.h"
#include "models/share/share.h"
#include "models/split/embedding_options.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

struct ShareFlags {
  std::vector<std::string> models;
  SharingOptions options;
  std::string min_bytes = "64KiB";
  std::string out;
  bool dry_run = false;
  int64_t version = 1;
  std::string samples;
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

absl::StatusOr<std::vector<Product>> ReadProducts(const ShareFlags& flags, WeightStore& store,
                                                  std::vector<std::string>& notes) {
  std::vector<Product> products;
  const StepLine line;
  for (const std::string& argument : flags.models) {
    line.Show(absl::StrCat("reading ", argument));
    // NAME=PATH, unless that is what the file is called.
    const size_t equals = argument.find('=');
    const bool named = equals != std::string::npos && !fs::exists(argument);
    const std::string path = named ? argument.substr(equals + 1) : argument;
    ASSIGN_OR_RETURN(Model model, Model::Load(path, store));
    absl::StatusOr<Product> product =
        MakeProduct(named ? argument.substr(0, equals) : NameOf(path), std::move(model), store, notes);
    if (!product.ok()) return WithContext(path, product.status());
    products.push_back(*std::move(product));
  }
  return products;
}

/// Compares each rewritten product with its model; the text says how it went.
absl::StatusOr<std::string> VerifyAll(const std::vector<Product>& products, const SharedModels& shared,
                                      const ShareFlags& flags) {
  std::string text;
  const StepLine line;
  for (const SharedModels::Rewritten& rewritten : shared.products) {
    const Product& product = products[static_cast<size_t>(rewritten.product)];
    line.Show(absl::StrCat("comparing ", product.name, " with what it was"));
    VerifyOptions options;
    if (!flags.samples.empty()) {
      ASSIGN_OR_RETURN(options.samples, ReadSamples((fs::path(flags.samples) / product.name).string()));
    }
    ASSIGN_OR_RETURN(const VerifyReport report, VerifyShared(product, shared, rewritten, options));
    absl::StrAppend(&text, "verified: ", product.name, ", ", report.rounds, report.rounds == 1 ? " run" : " runs",
                    " equal to the model it was; with graph optimisation on, the largest difference is ",
                    report.optimized_max_difference, "\n");
    for (const std::string& skipped : report.skipped) {
      absl::StrAppend(&text, "not compared, as the model it was refuses it: ", skipped, "\n");
    }
  }
  return text;
}

std::string WrittenText(const SharedModels& shared, const ShareFlags& flags) {
  std::string text;
  const auto add = [&](const char* what, const SplitModel& model) {
    absl::StrAppend(&text, what, model.name, ": ", ByteText(model.model.weight_bytes()), " of weights, digest ",
                    model.digest.Short(), "\n  at   ",
                    (fs::path(flags.out) / model.name / absl::StrCat(flags.version)).string(), "\n");
  };
  for (const SplitModel& module : shared.modules) add("module ", module);
  for (const SharedModels::Rewritten& product : shared.products) add("product ", product.model);
  return text;
}

absl::Status RunShare(ShareFlags flags) {
  // ONNX Runtime logs what this reports in its own words.
  SetLogLevel("off");
  ASSIGN_OR_RETURN(flags.options.min_bytes, ParseBytes(flags.min_bytes));
  WeightStore store;
  std::vector<std::string> notes;
  ASSIGN_OR_RETURN(const std::vector<Product> products, ReadProducts(flags, store, notes));
  ASSIGN_OR_RETURN(SharingProposal proposal, ProposeSharing(products, flags.options));
  proposal.notes.insert(proposal.notes.begin(), notes.begin(), notes.end());
  std::string text = SharingText(proposal, products, Terminal::Of(STDOUT_FILENO).columns);
  if (!proposal.modules.empty() && (flags.out.empty() || flags.dry_run)) {
    absl::StrAppend(&text, "nothing was written; --out DIR writes the modules and what remains of the products\n");
  } else if (!proposal.modules.empty()) {
    ASSIGN_OR_RETURN(SharedModels shared, CutShared(products, proposal));
    ASSIGN_OR_RETURN(const std::string verified, VerifyAll(products, shared, flags));
    // All text is made before anything is written: after WriteShared() nothing can fail.
    absl::StrAppend(&text, WrittenText(shared, flags), verified, "mesh.yaml that serves it:\n",
                    SharedMeshText(shared, flags.out));
    RETURN_IF_ERROR(WriteShared(std::move(shared), flags.out, flags.version));
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
                   "The models, two at least. NAME: servable name of what remains; default: the file's name, or its "
                   "folder's where the file is called model.onnx")
      ->required()
      ->type_name("[NAME=]MODEL.ONNX");
  command
      ->add_option("--out", flags->out,
                   "Folder for the packages, each DIR/NAME/VERSION/model.onnx; without it nothing is written")
      ->type_name("DIR");
  command->add_flag("--dry-run", flags->dry_run, "Only say what there is to share, even with --out");
  command
      ->add_option("--name", flags->options.name,
                   "Servable name of the module; further ones get -2, -3, ...; default: hub/<first model>-shared")
      ->type_name("PUBLISHER/NAME");
  command->add_option("--min-bytes", flags->min_bytes, "Least bytes of weights that a module has to save")
      ->capture_default_str()
      ->type_name("BYTES");
  command
      ->add_option("--max-tensors", flags->options.max_tensors,
                   "Most tensors that may go into a module, and most that may come out")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--version", flags->version, "Version of the packages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command
      ->add_option("--samples", flags->samples,
                   "Recorded inputs to compare with instead of generated ones: DIR/<product>/<any>/input_0.pb, ...")
      ->type_name("DIR");
  command->footer(
      "Names, the order of nodes and inputs, folded constants and names of dims do not count; docs/sharing.md has what "
      "does.\n"
      "Example:\n"
      "  portico share digit.onnx parity.onnx\n"
      "  portico share digit.onnx parity.onnx --name hub/encoder --out packages");
  command->callback([flags, &exit_code] { exit_code = ReportError("share", RunShare(*flags)); });
}

}  // namespace portico
