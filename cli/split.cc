#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/byte_text.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/cut_flags.h"
#include "cli/report_error.h"
#include "cli/signature_lines.h"
#include "cli/split_embeddings.h"
#include "cli/version.h"
#include "models/package/model.h"
#include "models/package/provenance.h"
#include "models/split/plan.h"
#include "models/split/split.h"
#include "onnx/onnx_pb.h"
#include "remote_op/local_portals.h"

namespace portico {
namespace {

struct SplitFlags {
  std::string model;
  std::string plan;
  std::string embeddings;
  std::string name;
  CutFlags cut;
};

/// "  hub/digit-encoder: 3 nodes, 1.2 KiB of weights, digest 0123456789ab" and the tensors at its border.
absl::StatusOr<std::string> DescribeModel(const SplitModel& split, bool product) {
  ASSIGN_OR_RETURN(const Signature signature, GraphSignature(split.model));
  return absl::StrCat(product ? "product " : "part ", split.name, ": ", split.model.proto().graph().node_size(),
                      " nodes, ", ByteText(split.model.weight_bytes()), " of weights, digest ", split.digest.Short(),
                      "\n", SignatureLines(signature));
}

/// The plan as it is recorded in what it made: its text or, where that is too long, what it is known by.
absl::StatusOr<std::string> PlanText(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, uint64_t{64} << 20));
  if (text.size() <= Provenance::kMaxPlanBytes) return text;
  return absl::StrCat("# ", text.size(), " bytes, SHA-256 ", Sha256(text).Hex());
}

/// Has every part say where it comes from.
absl::Status Record(const Model& source, const std::string& plan, std::vector<SplitModel>* split) {
  Provenance provenance;
  ASSIGN_OR_RETURN(provenance.source, ModelDigest(source));
  ASSIGN_OR_RETURN(provenance.plan, PlanText(plan));
  provenance.tool = VersionText();
  for (SplitModel& part : *split) {
    ASSIGN_OR_RETURN(part.model, WithProvenance(part.model, provenance));
  }
  return absl::OkStatus();
}

absl::Status RunEmbeddings(const SplitFlags& flags) {
  EmbeddingSplit split;
  ASSIGN_OR_RETURN(split.options, ParseEmbeddingOptions(flags.embeddings));
  split.product = flags.name.empty() ? std::filesystem::path(flags.model).stem().string() : flags.name;
  split.out = flags.cut.out;
  split.version = flags.cut.version;
  split.provenance.plan = absl::StrCat("embeddings: {", flags.embeddings, "}");
  split.provenance.tool = VersionText();
  if (!flags.cut.samples.empty()) {
    ASSIGN_OR_RETURN(split.verify.samples, ReadSamples(flags.cut.samples));
  }
  return RunSplitEmbeddings(flags.model, split);
}

absl::Status RunSplit(const SplitFlags& flags) {
  if (flags.plan.empty() == flags.embeddings.empty()) {
    return absl::InvalidArgumentError(
        flags.plan.empty() ? "got neither --plan nor --embeddings, want what to cut out"
                           : "got --plan and --embeddings, want one of them; split the parts first, then each of them");
  }
  // ONNX Runtime logs what this reports in its own words: inputs that the unsplit model refuses.
  SetLogLevel("off");
  if (!flags.embeddings.empty()) return RunEmbeddings(flags);
  ASSIGN_OR_RETURN(SplitPlan plan, ReadSplitPlan(flags.plan));
  if (plan.product.empty()) {
    plan.product = std::filesystem::path(flags.model).stem().string();
    const absl::Status name = CheckServableName(plan.product);
    if (!name.ok())
      return WithContext("the model file's name can't be the product's; give 'product:' in the plan", name);
  }
  WeightStore store;
  ASSIGN_OR_RETURN(const Model model, Model::Load(flags.model, store));
  absl::StatusOr<std::vector<SplitModel>> split = Split(model, plan);
  if (!split.ok()) return WithContext(flags.model, split.status());
  RETURN_IF_ERROR(Record(model, flags.plan, &*split));
  VerifyOptions options;
  if (!flags.cut.samples.empty()) {
    ASSIGN_OR_RETURN(options.samples, ReadSamples(flags.cut.samples));
  }
  ASSIGN_OR_RETURN(std::vector<CalledModels::Place> places, flags.cut.Places({{plan.product, flags.model}}));
  CalledModels called(std::move(places));
  options.called = &called;
  const std::unique_ptr<PortalOps> ops = NewLocalPortals();
  options.ops = ops.get();
  ASSIGN_OR_RETURN(const VerifyReport report, VerifySplit(model, *split, options));
  // All text is made before anything is written: after WriteSplit() nothing can fail.
  std::string text;
  for (const SplitModel& part : *split) {
    ASSIGN_OR_RETURN(const std::string description, DescribeModel(part, &part == &split->front()));
    absl::StrAppend(&text, description, "  at   ", flags.cut.FolderOf(part.name), "\n");
  }
  absl::StrAppend(&text, VerifiedText("", "the unsplit model", report));
  RETURN_IF_ERROR(WriteSplit(*split, flags.cut.out, flags.cut.version));
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddSplitCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<SplitFlags>();
  CLI::App* command = app.add_subcommand(
      "split", "Cut parts or tables out of an ONNX model, check that nothing changed, and write all as packages");
  command->add_option("model", flags->model, "The model to split")->required()->type_name("MODEL.ONNX");
  command->add_option("--plan", flags->plan, "The parts: names, and tensors at which they end")->type_name("PLAN.YAML");
  command
      ->add_option(
          "--embeddings", flags->embeddings,
          "Instead of parts: turn large weights that only lookups read into a group of tables, in shards. Keys: "
          "min_bytes (1MiB), shards (1), dtype (float32; float16, bfloat16, int8, int4), unknown (error; zeros), "
          "group (NAME-tables)")
      ->type_name("KEY=VALUE,...");
  command
      ->add_option("--name", flags->name,
                   "With --embeddings: the servable name of what remains; default: the file's name")
      ->type_name("NAME");
  flags->cut.AddOut(*command, "")->required();
  flags->cut.AddOthers(*command, "DIR/<any>/input_0.pb, input_1.pb, ...");
  command->footer(
      "The plan:\n"
      "  product: digit               # default: the model file's name\n"
      "  parts:\n"
      "    - name: hub/digit-encoder  # servable name of the part\n"
      "      outputs: [features]      # tensors at which it ends\n"
      "      inputs: [image]          # tensors at which it begins; default: as far back as the graph goes\n"
      "      parts: [...]             # parts inside the part\n"
      "Example:\n"
      "  portico split digit.onnx --plan digit.plan.yaml --out packages\n"
      "  portico split clicks.onnx --embeddings min_bytes=64MiB,shards=4,dtype=int8 --out packages\n"
      "  portico up packages/mesh.yaml");
  command->callback([flags, &exit_code] { exit_code = ReportError("split", RunSplit(*flags)); });
}

}  // namespace portico
