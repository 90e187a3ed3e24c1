#include "cli/table_apply.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/give_way.h"
#include "cli/number_file.h"
#include "cli/progress_line.h"
#include "cli/report_error.h"
#include "cli/text_lines.h"
#include "embedding/group_shards.h"
#include "embedding/table_group.h"
#include "models/package/group_rewrite.h"
#include "models/package/group_update.h"

namespace portico {
namespace {

/// Numbers read at a time.
constexpr size_t kPieceNumbers = 1 << 20;
/// Deltas of a version beyond which they become one: each is a file to link, and to read at start.
constexpr size_t kMaxDeltas = 128;

/// Ids of a file, numbers or strings as the table has them, one by one.
class IdFile {
 public:
  static absl::StatusOr<IdFile> Open(const std::string& numbers, const std::string& strings, const TableSpec& spec,
                                     absl::string_view flag) {
    const bool wants_strings = spec.id_kind == IdKind::kString;
    if ((wants_strings ? strings : numbers).empty() || !(wants_strings ? numbers : strings).empty()) {
      return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': has ", IdKindName(spec.id_kind),
                                                     " ids, want ", wants_strings ? "--string-" : "--", flag));
    }
    IdFile file;
    file.path_ = wants_strings ? strings : numbers;
    if (wants_strings) {
      ASSIGN_OR_RETURN(file.lines_, TextLines::Open(strings));
      return file;
    }
    ASSIGN_OR_RETURN(file.numbers_, NumberFile::OpenNpy(numbers));
    if (file.numbers_->shape().size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("ids '", numbers, "': got shape ", ShapeString(file.numbers_->shape()), ", want one dimension"));
    }
    file.left_ = static_cast<uint64_t>(file.numbers_->shape()[0]);
    return file;
  }

  /// False: there are no more.
  absl::StatusOr<bool> Next(DeltaWriter::Id* id) {
    if (!numbers_.has_value()) {
      return lines_->Next(&id->string);
    }
    if (at_ == piece_.size()) {
      if (left_ == 0) return false;
      piece_.resize(std::min<uint64_t>(kPieceNumbers, left_));
      left_ -= piece_.size();
      at_ = 0;
      RETURN_IF_ERROR(numbers_->ReadIds(absl::MakeSpan(piece_)));
    }
    id->number = piece_[at_++];
    return true;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::optional<NumberFile> numbers_;
  uint64_t left_ = 0;
  std::vector<int64_t> piece_;
  size_t at_ = 0;
  std::optional<TextLines> lines_;
};

absl::StatusOr<uint64_t> Upsert(const TableApply& apply, const TableSpec& spec, int64_t until, GroupUpdate& update) {
  ASSIGN_OR_RETURN(NumberFile values, NumberFile::OpenNpy(apply.upserts));
  const Shape& shape = values.shape();
  if (shape.size() != 2 || shape[1] != static_cast<int64_t>(spec.dim)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows '", apply.upserts, "': got shape ", ShapeString(shape), ", want [rows, ", spec.dim, "]"));
  }
  ASSIGN_OR_RETURN(IdFile ids, IdFile::Open(apply.ids, apply.string_ids, spec, "ids"));
  const auto all = static_cast<uint64_t>(shape[0]);
  const size_t piece_rows = std::max<size_t>(1, kPieceNumbers / spec.dim);
  std::vector<float> piece;
  DeltaWriter::Id id;
  id.until = until;
  for (uint64_t done = 0; done < all;) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(piece_rows, all - done));
    piece.resize(count * spec.dim);
    RETURN_IF_ERROR(values.ReadFloats(absl::MakeSpan(piece)));
    for (size_t i = 0; i < count; ++i, ++done) {
      ASSIGN_OR_RETURN(const bool there, ids.Next(&id));
      if (!there) {
        return absl::InvalidArgumentError(
            absl::StrCat("ids '", ids.path(), "': got ", done, ", want ", all, ", one for each row"));
      }
      RETURN_IF_ERROR(update.Upsert(id, absl::MakeConstSpan(piece).subspan(i * spec.dim, spec.dim)));
    }
  }
  ASSIGN_OR_RETURN(const bool more, ids.Next(&id));
  if (more)
    return absl::InvalidArgumentError(absl::StrCat("ids '", ids.path(), "': got more than ", all, ", the rows"));
  return all;
}

absl::StatusOr<uint64_t> Delete(const TableApply& apply, const TableSpec& spec, GroupUpdate& update) {
  ASSIGN_OR_RETURN(IdFile ids, IdFile::Open(apply.deletes, apply.string_deletes, spec, "deletes"));
  DeltaWriter::Id id;
  for (uint64_t done = 0;; ++done) {
    ASSIGN_OR_RETURN(const bool there, ids.Next(&id));
    if (!there) return done;
    RETURN_IF_ERROR(update.Delete(id));
  }
}

absl::StatusOr<int64_t> Rewrite(const std::string& group, uint32_t shards, bool keep_bases, const std::string& what) {
  ProgressLine line(absl::StrCat(what, " '", group, "'"));
  GroupRewriteOptions options;
  options.shards = shards;
  options.keep_bases = keep_bases;
  options.progress = [&line](uint64_t done, uint64_t all) { line.Show(done, all, "rows"); };
  return RewriteGroup(group, options);
}

absl::Status RunCompact(const std::string& group, bool keep_bases) {
  ASSIGN_OR_RETURN(const uint32_t shards, ServingShards(group));
  ASSIGN_OR_RETURN(const std::vector<int64_t> before, WholeVersions(group, shards));
  ASSIGN_OR_RETURN(const int64_t version, Rewrite(group, 0, keep_bases, "compact"));
  if (!before.empty() && version == before.back()) {
    absl::PrintF("%s: version %d has no deltas, there is nothing to compact\n", group, version);
    return absl::OkStatus();
  }
  absl::PrintF(
      "%s: version %d has %s\n", group, version,
      keep_bases ? "the bases it had, and one delta" : "bases of its own, and no deltas but of rows that expire");
  return absl::OkStatus();
}

/// Compacts where the newest version's deltas cost more than that is worth.
absl::Status CompactWhereWanted(const std::string& group, double share) {
  // Whoever is at it already does it.
  if (absl::IsFailedPrecondition(GroupLock::TakeRewrite(group).status())) return absl::OkStatus();
  ASSIGN_OR_RETURN(const GroupVersion newest, GroupVersion::Newest(group));
  ASSIGN_OR_RETURN(const uint64_t bytes, newest.DeltaBytes());
  size_t most = 0;
  for (const ShardParts& parts : newest.parts) most = std::max(most, parts.deltas.size());
  const bool large = static_cast<double>(bytes) > share * static_cast<double>(newest.base_bytes());
  return large || most > kMaxDeltas ? RunCompact(group, !large) : absl::OkStatus();
}

absl::Status RunReshard(const std::string& group, uint32_t shards) {
  ASSIGN_OR_RETURN(const uint32_t before, ServingShards(group));
  ASSIGN_OR_RETURN(const int64_t version, Rewrite(group, shards, false, "reshard"));
  absl::PrintF("%s: version %d, divided into %d shards (before: %d)\n", group, version, shards, before);
  return absl::OkStatus();
}

absl::Status RunApply(const TableApply& apply, double compact_at) {
  ASSIGN_OR_RETURN(const TableApplied applied, ApplyToTable(apply, absl::Now()));
  std::string deletes;
  if (applied.deletes > 0)
    deletes = absl::StrCat(", ", applied.deletes, " ids deleted (those that were not there, too)");
  absl::PrintF("%s: version %d, %d rows upserted%s\n", apply.group, applied.version, applied.upserts, deletes);
  const absl::Status compacted = compact_at <= 0 ? absl::OkStatus() : CompactWhereWanted(apply.group, compact_at);
  if (!compacted.ok()) {
    // The rows are applied: to run this again would be wrong.
    absl::FPrintF(
        stderr,
        "portico table apply: note: version %d is there, but was not compacted: %s; run 'portico table compact %s'\n",
        applied.version, std::string(compacted.message()), apply.group);
  }
  return absl::OkStatus();
}

void AddApply(CLI::App& table, int& exit_code) {
  struct Flags {
    TableApply apply;
    std::string expire;
    double compact_at = 0.25;
  };
  auto flags = std::make_shared<Flags>();
  TableApply& apply = flags->apply;
  CLI::App* command = table.add_subcommand("apply", "Write the next version of a table group, with rows changed");
  command->add_option("group", apply.group, "The group's folder")->required()->type_name("GROUP");
  command->add_option("--table", apply.table, "Which table; needed where the group has several")->type_name("NAME");
  command->add_option("--upserts", apply.upserts, "Rows to put in place or to add, an array [rows, dim] (.npy)")
      ->type_name("FILE");
  command->add_option("--ids", apply.ids, "An id for each of those rows, an array of integers (.npy)")
      ->type_name("FILE");
  command->add_option("--string-ids", apply.string_ids, "An id for each of those rows, a line each")->type_name("FILE");
  command->add_option("--expire", flags->expire, "How long those rows are there, such as 24h; unknown ids afterwards")
      ->type_name("TIME");
  command->add_option("--deletes", apply.deletes, "Ids to delete, an array of integers (.npy)")->type_name("FILE");
  command->add_option("--string-deletes", apply.string_deletes, "Ids to delete, a line each")->type_name("FILE");
  command
      ->add_option("--compact-at", flags->compact_at,
                   "Write new bases once deltas have more than this share of their bytes; 0: never")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str()
      ->type_name("SHARE");
  command->footer(
      "Example:\n"
      "  portico table apply tables/clicks --table users --upserts rows.npy --ids ids.npy --deletes gone.npy\n"
      "The new version has hard links of what did not change; 'portico up' rolls it out. See docs/shard_file.md.");
  command->callback([flags, &exit_code] {
    const GiveWay way;
    absl::Status status;
    if (!flags->expire.empty() &&
        (!absl::ParseDuration(flags->expire, &flags->apply.expire) || flags->apply.expire <= absl::ZeroDuration())) {
      status = absl::InvalidArgumentError(absl::StrCat("--expire: got '", flags->expire, "', want a time such as 24h"));
    }
    if (status.ok()) status = RunApply(flags->apply, flags->compact_at);
    exit_code = ReportError("table apply", status);
  });
}

void AddCompact(CLI::App& table, int& exit_code) {
  struct Flags {
    std::string group;
    bool keep_bases = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      table.add_subcommand("compact", "Write the next version of a table group with bases of its own, no deltas");
  command->add_option("group", flags->group, "The group's folder")->required()->type_name("GROUP");
  command->add_flag("--keep-bases", flags->keep_bases, "Make one delta of all, and leave the bases as they are");
  command->footer("Example:\n  portico table compact tables/clicks");
  command->callback([flags, &exit_code] {
    const GiveWay way;
    exit_code = ReportError("table compact", RunCompact(flags->group, flags->keep_bases));
  });
}

void AddReshard(CLI::App& table, int& exit_code) {
  struct Flags {
    std::string group;
    uint32_t shards = 0;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = table.add_subcommand("reshard", "Divide a table group into another number of shards");
  command->add_option("group", flags->group, "The group's folder")->required()->type_name("GROUP");
  command->add_option("--shards", flags->shards, "Into how many")
      ->required()
      ->check(CLI::Range(uint32_t{1}, uint32_t{ShardMap::kMaxShards}))
      ->type_name("N");
  command->footer(
      "Example:\n"
      "  portico table reshard tables/clicks --shards 4\n"
      "The old shards stay where they are; 'current' in the group's folder says which set counts.");
  command->callback([flags, &exit_code] {
    const GiveWay way;
    exit_code = ReportError("table reshard", RunReshard(flags->group, flags->shards));
  });
}

}  // namespace

absl::StatusOr<TableApplied> ApplyToTable(const TableApply& apply, absl::Time now) {
  const bool upserts = !apply.upserts.empty(), deletes = !apply.deletes.empty() || !apply.string_deletes.empty();
  if (!upserts && !deletes) return absl::InvalidArgumentError("got no --upserts and no --deletes, want either");
  if (!upserts && (!apply.ids.empty() || !apply.string_ids.empty() || apply.expire != absl::InfiniteDuration()))
    return absl::InvalidArgumentError("--ids, --string-ids, --expire: got one without --upserts, want those rows, too");
  ASSIGN_OR_RETURN(const auto update, GroupUpdate::Begin(apply.group));
  std::string name = apply.table;
  if (name.empty()) {
    if (update->tables().size() != 1)
      return absl::InvalidArgumentError(absl::StrCat("--table: got none, want one of the ", update->tables().size(),
                                                     " of group '", apply.group, "'"));
    name = update->tables()[0].spec.name;
  }
  RETURN_IF_ERROR(update->BeginTable(name));
  const TableSpec& spec = *update->FindTable(name);
  int64_t until = UpdatedRow::kForever;
  if (apply.expire != absl::InfiniteDuration()) until = absl::ToUnixSeconds(now + apply.expire);
  TableApplied applied;
  if (upserts) {
    ASSIGN_OR_RETURN(applied.upserts, Upsert(apply, spec, until, *update));
  }
  if (deletes) {
    ASSIGN_OR_RETURN(applied.deletes, Delete(apply, spec, *update));
  }
  RETURN_IF_ERROR(update->EndTable());
  ASSIGN_OR_RETURN(applied.version, update->Commit());
  return applied;
}

void AddTableUpdateCommands(CLI::App& table, int& exit_code) {
  AddApply(table, exit_code);
  AddCompact(table, exit_code);
  AddReshard(table, exit_code);
}

}  // namespace portico
