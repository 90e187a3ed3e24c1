#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/cascade_commands.h"
#include "cli/cascade_flags.h"
#include "cli/cascade_plot.h"
#include "cli/cascade_report.h"
#include "cli/cascade_subject.h"
#include "cli/report_error.h"
#include "models/calibrate/condition_sweeps.h"
#include "models/compose/expression_compiler.h"

namespace portico {
namespace {

using Row = CascadeReport::Row;

/// What becomes of the rows by a condition as it stands: `escalates` is 1 where it holds.
SweepPoint Count(const RowOutcomes& outcomes, const std::vector<double>& escalates) {
  SweepPoint point;
  for (size_t i = 0; i < escalates.size(); ++i) {
    const bool full = escalates[i] != 0;
    point.escalated += full ? 1 : 0;
    point.agreeing += full || outcomes.agrees[i] != 0 ? 1 : 0;
    if (outcomes.labelled()) point.right += (full ? outcomes.full_right[i] : outcomes.trigger_right[i]) != 0 ? 1 : 0;
  }
  return point;
}

absl::Status RunEvaluate(const CascadeFlags& flags) {
  ASSIGN_OR_RETURN(CascadeSubject subject, CascadeSubject::Open(flags));
  ASSIGN_OR_RETURN(const std::vector<Tensor> sample, subject.trial->Sample(subject.data, flags.batch));
  ASSIGN_OR_RETURN(const Expression decision, subject.Decision(flags, sample));
  std::vector<std::string> texts = flags.when;
  if (texts.empty() && !flags.mesh_file.empty()) texts.push_back(subject.cascade->members[1].when);
  if (texts.empty()) return absl::InvalidArgumentError("--when: got none, want the condition to evaluate");
  std::vector<Expression> conditions;
  std::vector<RowValues::Wanted> wanted;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(Expression condition, Expression::Parse(text));
    RETURN_IF_ERROR(CheckExpression(condition, subject.trial->trigger_outputs()));
    conditions.push_back(std::move(condition));
  }
  for (const Expression& one : conditions) wanted.push_back({&one, static_cast<int>(one.terms.size()) - 1});
  ASSIGN_OR_RETURN(const TrialColumns columns, subject.Run(flags, wanted, decision));
  ASSIGN_OR_RETURN(const std::vector<double> labels, subject.Labels(columns));
  ASSIGN_OR_RETURN(const TrialCost cost, subject.Cost(flags));
  const RowOutcomes outcomes = CompareDecisions(columns.trigger_decision, columns.full_decision, labels);
  const CascadeReport report(columns.rows, outcomes.labelled(), cost);
  std::vector<Row> rows = {CascadeReport::TriggerAlone(outcomes)};
  for (size_t i = 0; i < conditions.size(); ++i) {
    rows.push_back({.when = conditions[i].text, .point = Count(outcomes, columns.of_trigger[i])});
  }
  rows.push_back(CascadeReport::FullAlone(outcomes));
  PrintText(absl::StrCat(subject.Intro(decision, columns.rows, outcomes.labelled()), report.Table(rows), "\n",
                         report.CostLine()));
  if (flags.svg.empty()) return absl::OkStatus();
  return WriteFileAtomically(flags.svg, PlotSettings(rows, report, outcomes.labelled(), subject.cascade->name));
}

}  // namespace

void AddCascadeEvaluate(CLI::App& cascade, int& exit_code) {
  auto flags = std::make_shared<CascadeFlags>();
  CLI::App* command = cascade.add_subcommand("evaluate", "Say how a cascade does with conditions as they stand");
  flags->AddTo(*command);
  command->add_option("--when", flags->when, "A condition as it stands; repeatable. Default: the mesh file's")
      ->type_name("EXPR")
      ->allow_extra_args(false);
  command->footer(
      "Example, whether what was tuned still holds for today's requests:\n"
      "  portico cascade evaluate mesh.yaml --model digit --log /var/log/portico\n"
      "  portico cascade evaluate mesh.yaml --data heldout.npz --labels digit --when 'margin(probabilities) < 0.3'");
  command->callback([flags, &exit_code] { exit_code = ReportError("cascade evaluate", RunEvaluate(*flags)); });
}

}  // namespace portico
