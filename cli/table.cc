#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "cli/byte_size_option.h"
#include "cli/commands.h"
#include "cli/give_way.h"
#include "cli/progress_line.h"
#include "cli/report_error.h"
#include "cli/table_apply.h"
#include "cli/table_bench.h"
#include "cli/table_build.h"
#include "cli/table_files.h"
#include "embedding/huge_pages.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

absl::Status RunBuild(const TableBuild& build) {
  uint64_t rows = 0;
  {
    ProgressLine line(absl::StrCat("table '", build.name, "'"));
    ASSIGN_OR_RETURN(
        rows,
        BuildTable(
            build, [&](uint64_t done, uint64_t all) { line.Show(done, all, build.text.empty() ? "rows" : "bytes"); },
            [&](const std::string& note) { absl::FPrintF(stderr, "table '%s': %s\n", build.name, note); }));
  }
  absl::PrintF("table '%s': %d rows in %s\n", build.name, rows, build.out);
  return absl::OkStatus();
}

absl::Status RunBench(const std::string& path, const std::string& name, bool in_memory, uint64_t huge_bytes,
                      const TableBench& bench) {
  ASSIGN_OR_RETURN(const auto file, ShardFile::Open(path, {.in_memory = in_memory}));
  RETURN_IF_ERROR(file->Verify([](uint64_t) { return true; }));
  if (huge_bytes > 0) absl::PrintF("%s moved to huge pages\n", ByteText(PromotePieces(*file, huge_bytes)));
  for (const auto& table : file->tables()) {
    if (!name.empty() && table->spec().name != name) continue;
    ASSIGN_OR_RETURN(const std::string text, RunTableBench(*table, bench));
    std::fputs(text.c_str(), stdout);
  }
  if (!name.empty() && file->Find(name) == nullptr)
    return absl::NotFoundError(
        absl::StrCat("table '", name, "': not in '", path, "'; 'portico table inspect' lists them"));
  return absl::OkStatus();
}

void AddBuild(CLI::App& table, int& exit_code) {
  auto build = std::make_shared<TableBuild>();
  CLI::App* command =
      table.add_subcommand("build", "Write a table as a shard file, or a group's shards, in bounded memory");
  command->add_option("out", build->out, "The file to write; with --shards the folder of a group")
      ->required()
      ->type_name("OUT");
  CLI::Option* shards =
      command
          ->add_option("--shards", build->shards,
                       "Write a group of so many shards instead, packages that nodes serve: OUT/KofN/VERSION")
          ->check(CLI::Range(1u, ShardMap::kMaxShards))
          ->type_name("N");
  command->add_flag("--package", build->package, "The same of one shard, unless --shards says more");
  command->add_option("--version", build->version, "Of the packages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("V");
  command->add_option("--name", build->name, "What the table is called")->required()->type_name("NAME");
  command->add_option("--rows", build->rows, "The rows, an array [rows, dim] (.npy; with --raw, numbers alone)")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--raw", build->raw, "The files are no .npy: rows are little-endian numbers of this type, ids int64")
      ->type_name("TYPE");
  command
      ->add_option("--text", build->text, "The file is a text, ids in it: csv (id,v0,v1,...) or kv (id<TAB>v0 v1 ...)")
      ->type_name("FORM");
  command->add_option("--id-kind", build->id_kind, "Ids of a text: sparse, string, or dense (0, 1, 2, ... in order)")
      ->default_str("sparse")
      ->type_name("KIND");
  command->add_option("--dim", build->dim, "Numbers of a row; needed with --raw")->type_name("N");
  command->add_option("--ids", build->ids, "An id for each row, an array of integers; otherwise rows are 0, 1, 2, ...")
      ->type_name("FILE");
  command->add_option("--string-ids", build->string_ids, "An id for each row, a line each")->type_name("FILE");
  command->add_option("--type", build->type, "How numbers are stored: float32, float16, bfloat16, int8, int4")
      ->capture_default_str()
      ->type_name("TYPE");
  command->add_option("--unknown", build->unknown, "What an unknown id gives: error, zeros, default")
      ->capture_default_str()
      ->type_name("WHAT");
  TakeByteSize(command->add_option(
                   "--checkpoint-every", build->checkpoint_bytes,
                   "Bytes of rows after which a build that is killed can go on, given the same command; 0: never"))
      ->default_str("1GiB");
  command->add_option("--default-row", build->default_row, "The row of --unknown default, an array [dim]")
      ->type_name("FILE");
  command->footer(
      "Example:\n"
      "  portico table build users.shard --name users --rows users.npy --ids user_ids.npy --type int8 --unknown zeros\n"
      "  portico table build tables/users --shards 4 --name users --rows users.csv --text csv --type int8");
  command->callback([build, shards, &exit_code] {
    const GiveWay way;
    build->package = build->package || shards->count() > 0;
    exit_code = ReportError("table build", RunBuild(*build));
  });
}

void AddBench(CLI::App& table, int& exit_code) {
  struct Flags {
    std::string path, name;
    bool in_memory = false;
    uint64_t huge_bytes = 0;
    TableBench bench;
    double seconds = 2;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = table.add_subcommand("bench", "Measure lookups in this process, on one thread");
  command->add_option("file", flags->path, "The shard file")->required()->type_name("FILE");
  command->add_option("--table", flags->name, "Only this one")->type_name("NAME");
  command->add_option("--bags", flags->bench.bags, "Bags of a request")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--ids", flags->bench.ids_per_bag, "Ids of a bag")
      ->check(CLI::Range(1, 1 << 12))
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--time", flags->seconds, "Seconds for each table")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("S");
  TakeByteSize(
      command->add_option("--huge-pages", flags->huge_bytes, "Moves so much of the mapping to huge pages first: 2GiB"));
  command->add_flag("--in-memory", flags->in_memory, "Read the file into memory (huge pages) instead of mapping it");
  command->footer("Example:\n  portico table bench users.shard --bags 512 --ids 32");
  command->callback([flags, &exit_code] {
    flags->bench.time = absl::Seconds(flags->seconds);
    exit_code = ReportError("table bench",
                            RunBench(flags->path, flags->name, flags->in_memory, flags->huge_bytes, flags->bench));
  });
}

}  // namespace

void AddTableCommand(CLI::App& app, int& exit_code) {
  CLI::App* table = app.add_subcommand("table", "Build, look at, verify and measure shard files of embedding tables");
  table->require_subcommand(1);
  table->footer(
      "Example:\n"
      "  portico table build users.shard --name users --rows users.npy --ids user_ids.npy --type int8\n"
      "  portico table inspect users.shard\n"
      "'portico table build --help' shows its options.");
  AddBuild(*table, exit_code);
  AddTableFileCommands(*table, exit_code);
  AddBench(*table, exit_code);
  AddTableUpdateCommands(*table, exit_code);
}

}  // namespace portico
