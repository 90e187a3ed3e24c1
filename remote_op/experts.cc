#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "remote_op/experts_call.h"
#include "remote_op/experts_plan.h"
#include "remote_op/portal.h"

namespace portico {
namespace {

/// `Experts`: each row goes to the best k experts of its gate, one call per expert for all the request's rows that are
/// its, and their answers are added up by weight.
class Experts final : public Portal {
 public:
  explicit Experts(Ref<const ExpertsPlan> plan) : plan_(std::move(plan)) {}

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    if (absl::Status fits = plan_->CheckInputs(inputs); !fits.ok()) return done(WithContext(plan_->context, fits));
    MakeRef<ExpertsCall>(plan_, context, std::move(inputs), std::move(done))->Start();
  }

  /// Of all experts: rows of one that is away go to worse ones.
  absl::Status Health() const override {
    constexpr int kShown = 3;
    std::string reasons;
    int away = 0;
    for (const ExpertsPlan::Expert& expert : plan_->experts) {
      const absl::Status health = plan_->router.Health(expert.target);
      if (health.ok() || ++away > kShown) continue;
      absl::StrAppend(&reasons, away > 1 ? "; " : "", health.message());
    }
    if (away == 0) return absl::OkStatus();
    if (away > kShown) absl::StrAppend(&reasons, "; and ", away - kShown, " more");
    return absl::UnavailableError(
        absl::StrCat(away, " of ", plan_->experts.size(), " experts cannot be reached: ", reasons));
  }

  std::string Target() const override { return plan_->context; }

 private:
  const Ref<const ExpertsPlan> plan_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Portal>> NewExperts(const PortalSpec& spec, Router& router) {
  ASSIGN_OR_RETURN(Ref<ExpertsPlan> plan, ExpertsPlan::Make(spec, router));
  return std::make_unique<Experts>(std::move(plan));
}

}  // namespace portico
