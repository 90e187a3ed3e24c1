#include "cli/cascade_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// What is said of a choice by which `escalated` of 100 rows go on, where the trigger costs as many percent of the full
/// model.
std::string Chosen(int64_t escalated, double trigger) {
  const CascadeReport report(100, /*labelled=*/false, {absl::Microseconds(trigger), absl::Microseconds(100), 64});
  CascadeReport::Row row;
  row.when = "score < 0.5";
  row.point.escalated = escalated;
  row.point.agreeing = 100;
  return report.Chosen(row);
}

TEST(CascadeReportTest, AChoiceThatDoesNotPayIsSaidTo) {
  EXPECT_THAT(Chosen(15, 100), HasSubstr("\n  costs more than the full model alone: 115.0 % of its CPU"));
  EXPECT_THAT(Chosen(50, 50), HasSubstr("\n  costs as much as the full model alone: 100.0 % of its CPU"));
  EXPECT_THAT(Chosen(15, 50), Not(HasSubstr("the full model alone")));
}

}  // namespace
}  // namespace portico
