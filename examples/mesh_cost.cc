#include "examples/mesh_cost.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/http_client.h"

namespace portico::examples {

namespace {

constexpr int kCallers = 4;

}  // namespace

absl::StatusOr<double> CpuMicrosPerRow(const MeshChild& mesh, int64_t rows, absl::FunctionRef<absl::Status()> ask) {
  // The first round finds caches cold.
  RETURN_IF_ERROR(ask());
  ASSIGN_OR_RETURN(const double before, mesh.CpuSeconds());
  const absl::Time end = absl::Now() + absl::Seconds(1);
  std::atomic<int64_t> asked{0};
  std::vector<absl::Status> failures(kCallers);
  std::vector<std::thread> callers;
  for (absl::Status& failure : failures) {
    callers.emplace_back([&asked, &failure, ask, rows, end] {
      do {
        failure = ask();
        asked += rows;
      } while (failure.ok() && absl::Now() < end);
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const absl::Status& failure : failures) RETURN_IF_ERROR(failure);
  ASSIGN_OR_RETURN(const double after, mesh.CpuSeconds());
  return (after - before) * 1e6 / static_cast<double>(asked.load());
}

absl::StatusOr<double> CounterSum(const std::string& http, const std::string& name, const std::string& label) {
  HttpCall call;
  call.target = "/metrics";
  ASSIGN_OR_RETURN(const HttpAnswer answer, CallHttp(http, call));
  double sum = 0;
  bool found = false;
  for (const absl::string_view line : absl::StrSplit(answer.body, '\n')) {
    double value = 0;
    if (!absl::StartsWith(line, name + "{") || !absl::StrContains(line, label)) continue;
    if (!absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) continue;
    sum += value;
    found = true;
  }
  if (found) return sum;
  return absl::InternalError(absl::StrCat("metrics of '", http, "': got no ", name, " of ", label, ", want one"));
}

}  // namespace portico::examples
