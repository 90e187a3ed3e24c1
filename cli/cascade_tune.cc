#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/cascade_commands.h"
#include "cli/cascade_flags.h"
#include "cli/cascade_plot.h"
#include "cli/cascade_report.h"
#include "cli/cascade_subject.h"
#include "cli/mesh_condition.h"
#include "cli/report_error.h"
#include "models/calibrate/condition_sweeps.h"
#include "models/calibrate/frontier.h"
#include "models/calibrate/guess.h"
#include "models/compose/expression_compiler.h"

namespace portico {
namespace {

using Row = CascadeReport::Row;

constexpr size_t kTableRows = 12;
constexpr size_t kMaxConditions = 64;
constexpr uint64_t kMaxMeshBytes = 4 << 20;
/// The condition that stands for all that suit the answers.
constexpr char kAuto[] = "auto";

struct TuneFlags {
  CascadeFlags cascade;
  std::string max_escalated;
  std::string min_agreement;
  std::string min_accuracy;
  bool write = false;
};

/// "10%", "99.5 %" or "0.1".
absl::Status ReadShare(absl::string_view flag, const std::string& text, std::optional<double>* share) {
  if (text.empty()) return absl::OkStatus();
  absl::string_view digits = absl::StripAsciiWhitespace(text);
  const bool percent = absl::ConsumeSuffix(&digits, "%");
  double number = -1;
  if (absl::SimpleAtod(digits, &number) && percent) number /= 100;
  if (!(number >= 0 && number <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": got '", text, "', want a share of the rows, such as 10% or 0.1"));
  }
  *share = number;
  return absl::OkStatus();
}

absl::StatusOr<TuneBudget> ReadBudget(const TuneFlags& flags) {
  TuneBudget budget;
  RETURN_IF_ERROR(ReadShare("--max-escalated", flags.max_escalated, &budget.max_escalated));
  RETURN_IF_ERROR(ReadShare("--min-agreement", flags.min_agreement, &budget.min_agreement));
  RETURN_IF_ERROR(ReadShare("--min-accuracy", flags.min_accuracy, &budget.min_accuracy));
  if (flags.write && budget.empty()) {
    return absl::InvalidArgumentError(
        "--write: got no budget to choose by, want --max-escalated, --min-agreement or --min-accuracy");
  }
  if (flags.write && flags.cascade.mesh_file.empty()) {
    return absl::InvalidArgumentError("--write: got no mesh file, want one to write the condition into");
  }
  if (budget.min_accuracy && flags.cascade.labels.empty()) {
    return absl::InvalidArgumentError("--min-accuracy: got no --labels, want what is right of each row");
  }
  return budget;
}

/// The conditions that the flags ask for, "auto" replaced by what suits the trigger's answers; the file's where they
/// ask for none.
absl::StatusOr<std::vector<std::string>> Conditions(const CascadeFlags& flags, const CascadeSubject& subject,
                                                    const std::vector<Tensor>& sample) {
  std::vector<std::string> asked = flags.when;
  if (asked.empty()) asked.push_back(flags.mesh_file.empty() ? kAuto : subject.cascade->members[1].when);
  std::vector<std::string> conditions;
  for (const std::string& one : asked) {
    if (one != kAuto) {
      conditions.push_back(one);
      continue;
    }
    for (std::string& guess : GuessConditions(subject.trial->trigger_outputs(), sample)) {
      conditions.push_back(std::move(guess));
    }
  }
  if (conditions.empty() || conditions.size() > kMaxConditions) {
    return absl::InvalidArgumentError(absl::StrCat("--when: got ", conditions.size(), " conditions, want 1 to ",
                                                   kMaxConditions,
                                                   "; say what to look at, such as 'margin(scores) < 0.5'"));
  }
  return conditions;
}

/// Runs both models over all rows and sweeps each condition.
absl::StatusOr<ConditionSweeps> Sweep(const CascadeFlags& flags, CascadeSubject& subject,
                                      const std::vector<std::string>& texts, const Expression& decision) {
  std::vector<TunableCondition> conditions;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(TunableCondition condition, TunableCondition::Parse(text));
    RETURN_IF_ERROR(CheckExpression(condition.expression, subject.trial->trigger_outputs()));
    conditions.push_back(std::move(condition));
  }
  std::vector<RowValues::Wanted> wanted;
  for (const TunableCondition& condition : conditions) {
    for (const auto& threshold : condition.thresholds) wanted.push_back({&condition.expression, threshold.measure});
    for (const int fixed : condition.fixed) wanted.push_back({&condition.expression, fixed});
  }
  ASSIGN_OR_RETURN(TrialColumns columns, subject.Run(flags, wanted, decision));
  ASSIGN_OR_RETURN(const std::vector<double> labels, subject.Labels(columns));
  ConditionSweeps sweeps(CompareDecisions(columns.trigger_decision, columns.full_decision, labels));
  size_t at = 0;
  for (TunableCondition& condition : conditions) {
    const size_t count = condition.thresholds.size() + condition.fixed.size();
    std::vector<std::vector<double>> own;
    for (size_t i = at; i < at + count; ++i) own.push_back(std::move(columns.of_trigger[i]));
    const auto dtypes = absl::MakeConstSpan(columns.dtypes).subspan(at, count);
    sweeps.Add(std::move(condition), std::move(own), dtypes);
    at += count;
  }
  return sweeps;
}

Row RowOf(const ConditionSweeps& sweeps, size_t point) {
  return Row{.when = sweeps.When(point), .point = sweeps.points()[point]};
}

/// Some points of the frontier, evenly, between the models alone; the chosen one among them.
std::vector<Row> TableRows(const ConditionSweeps& sweeps, std::optional<size_t> chosen) {
  std::vector<Row> rows = {CascadeReport::TriggerAlone(sweeps.outcomes())};
  const std::vector<size_t> frontier = Frontier(sweeps.points());
  std::vector<size_t> shown;
  for (size_t i = 0; i < std::min(kTableRows, frontier.size()); ++i) {
    const size_t steps = std::max<size_t>(std::min(kTableRows, frontier.size()) - 1, 1);
    shown.push_back(frontier[i * (frontier.size() - 1) / steps]);
  }
  const auto fewer = [&](size_t a, size_t b) { return sweeps.points()[a].escalated < sweeps.points()[b].escalated; };
  if (chosen && std::find(shown.begin(), shown.end(), *chosen) == shown.end()) {
    shown.insert(std::upper_bound(shown.begin(), shown.end(), *chosen, fewer), *chosen);
  }
  for (const size_t point : shown) {
    rows.push_back(RowOf(sweeps, point));
    rows.back().chosen = point == chosen;
  }
  rows.push_back(CascadeReport::FullAlone(sweeps.outcomes()));
  return rows;
}

/// Why no threshold keeps to the budget, with what comes nearest.
absl::Status NothingFits(const CascadeSubject& subject, const ConditionSweeps& sweeps, const CascadeReport& report,
                         const TuneBudget& budget) {
  const auto describe = [&](size_t point) {
    const Row row = RowOf(sweeps, point);
    return absl::StrFormat(
        "%.2f %% escalated, %.2f %% agreement%s with %s", report.Escalated(row), report.Agreement(row),
        sweeps.outcomes().labelled() ? absl::StrFormat(", %.2f %% accuracy", report.Accuracy(row)) : std::string(),
        row.when);
  };
  const NearestPoints nearest = FindNearest(sweeps.points(), sweeps.rows(), budget);
  std::string text = absl::StrCat("cascade '", subject.cascade->name, "': got no threshold with ", budget.Text());
  if (nearest.within_escalation) absl::StrAppend(&text, "; nearest: ", describe(*nearest.within_escalation));
  if (nearest.with_quality) {
    absl::StrAppend(&text, nearest.within_escalation ? "; or " : "; nearest: ", describe(*nearest.with_quality));
  }
  return absl::NotFoundError(absl::StrCat(text, "; ask for less, or try other conditions (--when auto)"));
}

absl::Status WriteCondition(const CascadeSubject& subject, const std::string& path, const std::string& when) {
  const Composition& cascade = *subject.cascade;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxMeshBytes));
  ASSIGN_OR_RETURN(const std::string changed, WithCondition(text, path, cascade.name, 1, when));
  RETURN_IF_ERROR(WriteFileAtomically(path, changed));
  PrintText(
      absl::StrCat(path, ":", cascade.members[1].when_line, ": written, in place of  ", cascade.members[1].when, "\n"));
  return absl::OkStatus();
}

absl::Status RunTune(const TuneFlags& flags) {
  ASSIGN_OR_RETURN(const TuneBudget budget, ReadBudget(flags));
  ASSIGN_OR_RETURN(CascadeSubject subject, CascadeSubject::Open(flags.cascade));
  ASSIGN_OR_RETURN(const std::vector<Tensor> sample, subject.trial->Sample(subject.data, flags.cascade.batch));
  ASSIGN_OR_RETURN(const Expression decision, subject.Decision(flags.cascade, sample));
  ASSIGN_OR_RETURN(const std::vector<std::string> conditions, Conditions(flags.cascade, subject, sample));
  ASSIGN_OR_RETURN(const ConditionSweeps sweeps, Sweep(flags.cascade, subject, conditions, decision));
  ASSIGN_OR_RETURN(const TrialCost cost, subject.Cost(flags.cascade));
  const bool labelled = sweeps.outcomes().labelled();
  const CascadeReport report(sweeps.rows(), labelled, cost);
  std::optional<size_t> chosen;
  if (!budget.empty()) chosen = ChoosePoint(sweeps.points(), sweeps.rows(), budget);
  PrintText(absl::StrCat(subject.Intro(decision, sweeps.rows(), labelled), report.Table(TableRows(sweeps, chosen)),
                         "\n", report.CostLine()));
  if (!flags.cascade.svg.empty()) {
    const std::string svg = PlotSweeps(sweeps, report, subject.cascade->name, chosen);
    RETURN_IF_ERROR(WriteFileAtomically(flags.cascade.svg, svg));
  }
  if (budget.empty()) return absl::OkStatus();
  if (!chosen) return NothingFits(subject, sweeps, report, budget);
  const Row row = RowOf(sweeps, *chosen);
  PrintText(report.Chosen(row));
  return flags.write ? WriteCondition(subject, flags.cascade.mesh_file, row.when) : absl::OkStatus();
}

}  // namespace

void AddCascadeTune(CLI::App& cascade, int& exit_code) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App* command = cascade.add_subcommand("tune", "Choose a cascade's thresholds: cost against agreement");
  flags->cascade.AddTo(*command);
  command
      ->add_option(
          "--when", flags->cascade.when,
          "A condition whose numbers are moved, one or two; repeatable: the best of all is chosen. 'auto': those "
          "that suit the trigger's answers. Default: the mesh file's, else auto")
      ->type_name("EXPR|auto")
      ->allow_extra_args(false);
  command->add_option("--max-escalated", flags->max_escalated, "Budget: at most so many of the rows go on")
      ->type_name("SHARE");
  command
      ->add_option("--min-agreement", flags->min_agreement,
                   "Budget: in at least so many the full model would say the same")
      ->type_name("SHARE");
  command->add_option("--min-accuracy", flags->min_accuracy, "Budget: at least so many are right, by --labels")
      ->type_name("SHARE");
  command->add_flag("--write", flags->write, "Writes the chosen condition into the mesh file");
  command->footer(
      "Both models answer all rows here, then every threshold is judged at once. With a quality asked for, the "
      "setting\n"
      "that escalates the fewest rows is chosen; else the one that agrees best within the budget. Exit status 1 where\n"
      "none keeps to it.\n"
      "Example:\n"
      "  portico cascade tune mesh.yaml --model digit --data calibration.npz --labels digit \\\n"
      "    --min-agreement 99.5% --svg frontier.svg --write\n"
      "  portico cascade tune --trigger trigger.onnx --full full.onnx --log /var/log/portico --max-escalated 10%");
  command->callback([flags, &exit_code] { exit_code = ReportError("cascade tune", RunTune(*flags)); });
}

}  // namespace portico
