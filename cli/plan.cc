#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_text.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/byte_size_option.h"
#include "cli/capacity.h"
#include "cli/commands.h"
#include "cli/fan_out.h"
#include "cli/report_error.h"
#include "cli/svg_plot.h"
#include "cli/text_table.h"

namespace portico {
namespace {

constexpr size_t kColumns = 160;

struct CapacityFlags {
  CapacityQuestion question;
  std::vector<uint64_t> bytes;
  uint64_t memory = 0;
  std::string dtype = "int8";
  std::string ids = "sparse";
  double rows_per_core = 0;
  double call_us = 0;
};

std::string Large(double number) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T"};
  size_t unit = 0;
  for (; number >= 10'000 && unit < 4; ++unit) number /= 1000;
  return number >= 100 ? absl::StrFormat("%.0f%s", number, kUnits[unit])
                       : absl::StrFormat("%.3g%s", number, kUnits[unit]);
}

absl::Status RunCapacity(CapacityFlags flags) {
  ASSIGN_OR_RETURN(flags.question.row_type, RowTypeFromName(flags.dtype));
  ASSIGN_OR_RETURN(flags.question.id_kind, IdKindFromName(flags.ids));
  flags.question.memory_bytes = static_cast<double>(flags.memory);
  flags.question.rows_per_core_s = flags.rows_per_core;
  flags.question.call_cpu_s = flags.call_us * 1e-6;
  const bool priced = flags.question.price_per_hour > 0;
  std::vector<std::string> sizes = {"TABLES OF"};
  std::vector<CapacityPlan> plans;
  for (const uint64_t bytes : flags.bytes) {
    CapacityQuestion question = flags.question;
    question.bytes = static_cast<double>(bytes);
    ASSIGN_OR_RETURN(plans.emplace_back(), PlanCapacity(question));
    sizes.push_back(ByteText(bytes));
  }
  TextTable table(sizes, 1);
  const auto line = [&](const std::string& name, const auto& text) {
    std::vector<std::string> cells = {name};
    for (const CapacityPlan& plan : plans) cells.push_back(text(plan));
    table.Add(std::move(cells));
  };
  const auto bytes = [](double number) { return ByteText(static_cast<uint64_t>(number)); };
  line("rows", [](const CapacityPlan& plan) { return Large(plan.rows); });
  line("bytes of a row, with its index",
       [](const CapacityPlan& plan) { return absl::StrFormat("%.1f", plan.bytes_per_row); });
  line("memory of one copy", [&](const CapacityPlan& plan) { return bytes(plan.table_bytes); });
  line("shards", [](const CapacityPlan& plan) { return absl::StrCat(plan.shards); });
  line("replicas of each", [](const CapacityPlan& plan) { return absl::StrCat(plan.replicas); });
  line("nodes", [](const CapacityPlan& plan) { return absl::StrCat(plan.nodes()); });
  line("memory of a node", [&](const CapacityPlan& plan) { return bytes(plan.memory_per_node); });
  line("cores busy", [](const CapacityPlan& plan) { return absl::StrFormat("%.1f%%", 100 * plan.busy); });
  line("calls of a request", [](const CapacityPlan& plan) { return absl::StrFormat("%.1f", plan.calls_per_request); });
  line("CPU of a request",
       [](const CapacityPlan& plan) { return absl::StrFormat("%.0f us", 1e6 * plan.cpu_s_per_request); });
  line("network of a request", [&](const CapacityPlan& plan) { return bytes(plan.network_bytes_per_request); });
  line("network of a node, one way",
       [](const CapacityPlan& plan) { return absl::StrFormat("%.2f Gbit/s", plan.network_bits_per_node_s * 1e-9); });
  line("node-seconds of 1,000 requests",
       [](const CapacityPlan& plan) { return absl::StrFormat("%.4g", plan.node_seconds_per_1000); });
  if (priced)
    line("cost of 1,000 requests",
         [](const CapacityPlan& plan) { return absl::StrFormat("%.4g", plan.cost_per_1000); });
  std::fputs(table.Print(kColumns).c_str(), stdout);
  return absl::OkStatus();
}

void AddCapacity(CLI::App& plan, int& exit_code) {
  auto flags = std::make_shared<CapacityFlags>();
  CapacityQuestion& question = flags->question;
  CLI::App* command = plan.add_subcommand("capacity", "Shards, nodes, network and cost of sharded embedding tables");
  TakeByteSize(command->add_option("--bytes", flags->bytes,
                                   "Encoded numbers of all rows, index and padding not counted; several: a line each"))
      ->required()
      ->delimiter(',');
  command->add_option("--dim", question.dim, "Numbers of a row")->capture_default_str()->type_name("N");
  command->add_option("--dtype", flags->dtype, "float32, float16, bfloat16, int8 or int4")
      ->capture_default_str()
      ->type_name("TYPE");
  command->add_option("--ids", flags->ids, "dense, sparse or string")->capture_default_str()->type_name("KIND");
  command->add_option("--requests-per-s", question.requests_per_s, "Requests of all clients")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--ids-per-request", question.ids, "Ids of one request, over all tables")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--bags-per-request", question.bags, "Bags that they are in")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--unique-share", question.unique_share, "Share of the ids that is left when each travels once")
      ->capture_default_str()
      ->type_name("SHARE");
  TakeByteSize(command->add_option("--node-memory", flags->memory, "Memory of a node"))->required();
  command->add_option("--node-cores", question.cores, "Cores of a node")->capture_default_str()->type_name("N");
  command->add_option("--replicas", question.replicas, "Of each shard, at least")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--memory-share", question.memory_share, "Share of the memory that tables may take")
      ->capture_default_str()
      ->type_name("SHARE");
  command->add_option("--busy-share", question.busy_share, "Share of the cores' time to plan with")
      ->capture_default_str()
      ->type_name("SHARE");
  command->add_option("--node-price", question.price_per_hour, "Of a node and hour, in whatever currency; 0: not asked")
      ->capture_default_str()
      ->type_name("PRICE");
  command
      ->add_option("--rows-per-core", flags->rows_per_core,
                   "Rows that one core finds and adds up a second, as 'portico table bench' measures")
      ->required()
      ->type_name("N");
  command
      ->add_option("--call-us", flags->call_us,
                   "CPU time of one call to a shard on both ends, rows not counted, in microseconds")
      ->required()
      ->type_name("US");
  command->footer(
      "Example:\n"
      "  portico plan capacity --bytes 1TB,10TB,100TB --dim 64 --dtype int8 --requests-per-s 50000 \\\n"
      "      --node-memory 768GiB --node-cores 48 --rows-per-core 15e6 --call-us 30");
  command->callback([flags, &exit_code] { exit_code = ReportError("plan capacity", RunCapacity(*flags)); });
}

struct FanOutFlags {
  FanOut fan_out;
  std::string service;
  std::vector<int> shards = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
  double hedge = 0.95;
  std::string svg;
};

std::string Milliseconds(double seconds) { return absl::StrFormat("%.3g ms", seconds * 1e3); }

absl::Status RunFanOut(FanOutFlags flags) {
  ASSIGN_OR_RETURN(flags.fan_out.service, ParseServiceTimes(flags.service));
  if (!(flags.hedge > 0 && flags.hedge < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("--hedge: got ", flags.hedge, ", want a share between 0 and 1"));
  }
  for (size_t i = 0; i < flags.shards.size(); ++i) {
    if (flags.shards[i] < 1 || flags.shards[i] > 10'000 || (i > 0 && flags.shards[i] <= flags.shards[i - 1])) {
      return absl::InvalidArgumentError(
          absl::StrCat("--shards: got ", flags.shards[i], ", want rising numbers from 1 to 10000"));
    }
  }
  ASSIGN_OR_RETURN(const double hedge_after, CallLatency(flags.fan_out, flags.hedge));
  ASSIGN_OR_RETURN(const FanOutResult plain, SimulateFanOut(flags.fan_out, flags.shards, 0));
  ASSIGN_OR_RETURN(const FanOutResult hedged, SimulateFanOut(flags.fan_out, flags.shards, hedge_after));
  TextTable table({"SHARDS", "P50", "P99", "P99.9", "HEDGED P50", "HEDGED P99", "HEDGED P99.9"}, 0);
  SvgPlot plot{.title = "Latency of a request that waits for all shards",
               .subtitle = absl::StrFormat("%d replicas of %d cores, %g %% busy; hedged after %s, %.1f %% of calls",
                                           flags.fan_out.replicas, flags.fan_out.cores, 100 * flags.fan_out.busy,
                                           Milliseconds(hedge_after), 100 * hedged.hedged),
               .x_label = "shards",
               .y_label = "milliseconds",
               .log_x = true,
               .log_y = true,
               .lines = {{"p99", {}}, {"p99 hedged", {}}, {"p50", {}}, {"p50 hedged", {}}}};
  for (size_t i = 0; i < flags.shards.size(); ++i) {
    const FanOutLatency &one = plain.latencies[i], &other = hedged.latencies[i];
    table.Add({absl::StrCat(one.shards), Milliseconds(one.p50), Milliseconds(one.p99), Milliseconds(one.p999),
               Milliseconds(other.p50), Milliseconds(other.p99), Milliseconds(other.p999)});
    const double values[] = {one.p99, other.p99, one.p50, other.p50};
    for (size_t line = 0; line < 4; ++line) plot.lines[line].points.emplace_back(one.shards, values[line] * 1e3);
  }
  if (!flags.svg.empty()) RETURN_IF_ERROR(WriteFileAtomically(flags.svg, plot.Print()));
  std::printf("%shedged after %s: %.1f %% of calls\n", table.Print(kColumns).c_str(), Milliseconds(hedge_after).c_str(),
              100 * hedged.hedged);
  return absl::OkStatus();
}

void AddFanOut(CLI::App& plan, int& exit_code) {
  auto flags = std::make_shared<FanOutFlags>();
  FanOut& fan_out = flags->fan_out;
  CLI::App* command = plan.add_subcommand(
      "fan-out", "Simulate the latency of requests that wait for many shards, with and without hedging");
  command
      ->add_option("--service", flags->service,
                   "Times of single calls that wait for nobody: SHARE=TIME,... from share 0 to 1")
      ->required()
      ->type_name("TIMES");
  command->add_option("--shards", flags->shards, "Rising")->delimiter(',')->capture_default_str()->type_name("N,...");
  command->add_option("--replicas", fan_out.replicas, "Of each shard")->capture_default_str()->type_name("N");
  command->add_option("--cores", fan_out.cores, "Of each replica")->capture_default_str()->type_name("N");
  command->add_option("--busy", fan_out.busy, "Share of the cores' time that calls take")
      ->capture_default_str()
      ->type_name("SHARE");
  command->add_option("--hedge", flags->hedge, "Hedge calls that take longer than this share of them")
      ->capture_default_str()
      ->type_name("SHARE");
  command->add_option("--requests", fan_out.requests, "How many to simulate")->capture_default_str()->type_name("N");
  command->add_option("--seed", fan_out.seed, "Of the random numbers")->capture_default_str()->type_name("N");
  command->add_option("--svg", flags->svg, "Draw the result")->type_name("FILE");
  command->footer(
      "Example:\n"
      "  portico plan fan-out --service 0=30us,0.5=60us,0.99=250us,0.999=2ms,1=10ms --svg fan_out.svg");
  command->callback([flags, &exit_code] { exit_code = ReportError("plan fan-out", RunFanOut(*flags)); });
}

}  // namespace

void AddPlanCommand(CLI::App& app, int& exit_code) {
  CLI::App* plan = app.add_subcommand("plan", "What sharded embedding tables will need, before there are any");
  plan->require_subcommand(1);
  plan->footer(
      "Example:\n"
      "  portico plan capacity --bytes 10TB --node-memory 768GiB --rows-per-core 15e6 --call-us 30");
  AddCapacity(*plan, exit_code);
  AddFanOut(*plan, exit_code);
}

}  // namespace portico
