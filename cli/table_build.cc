#include "cli/table_build.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/array_rows.h"
#include "cli/build_facts.h"
#include "cli/build_target.h"
#include "cli/number_file.h"
#include "cli/row_source.h"
#include "cli/text_rows.h"
#include "embedding/build_checkpoint.h"
#include "embedding/shard_file.h"

namespace portico {
namespace {

/// Whether the file to write may take the place of what is there: nothing, nothing in it, or another shard file.
absl::Status CheckOut(const TableBuild& build) {
  struct stat out {};
  if (build.package || stat(build.out.c_str(), &out) != 0) return absl::OkStatus();
  for (const std::string* input : {&build.rows, &build.ids, &build.string_ids, &build.default_row}) {
    struct stat in {};
    if (input->empty() || stat(input->c_str(), &in) != 0 || in.st_dev != out.st_dev || in.st_ino != out.st_ino)
      continue;
    return absl::InvalidArgumentError(absl::StrCat("OUT '", build.out, "': got the input '", *input,
                                                   "', which the table would replace, want another file"));
  }
  if (S_ISDIR(out.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("OUT '", build.out, "': got a folder, want a file to write; give --shards for a group in it"));
  }
  if (S_ISREG(out.st_mode) && out.st_size == 0) return absl::OkStatus();
  const int fd = open(build.out.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, "look at", build.out);
  const absl::Cleanup close_fd = [fd] { close(fd); };
  // A damaged one is one.
  const absl::Status shard = ReadShardLayout(fd, build.out).status();
  if (!absl::IsInvalidArgument(shard)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("OUT '", build.out,
                                               "': got a file there that is no shard file, want none, or one that "
                                               "'portico table build' wrote; choose another name, or remove it"));
}

/// Numbers read at a time, so that checkpoints come as often as they are wanted.
size_t PieceNumbers(const TableBuild& build) {
  if (build.checkpoint_bytes == 0) return kRowSourceNumbers;
  return static_cast<size_t>(std::clamp<uint64_t>(build.checkpoint_bytes / sizeof(float), 1, kRowSourceNumbers));
}

absl::StatusOr<std::unique_ptr<RowSource>> OpenSource(const TableBuild& build) {
  if (build.text.empty() && !build.id_kind.empty())
    return absl::InvalidArgumentError("--id-kind: got one without --text; ids of arrays say themselves what they are");
  if (build.text.empty()) return OpenArrayRows(build, PieceNumbers(build));
  if (build.text != "csv" && build.text != "kv")
    return absl::InvalidArgumentError(absl::StrCat("--text: got '", build.text, "', want csv or kv"));
  if (!build.raw.empty() || !build.ids.empty() || !build.string_ids.empty())
    return absl::InvalidArgumentError("--text: got --raw, --ids or --string-ids, too; a text has its ids in it");
  ASSIGN_OR_RETURN(const IdKind kind, IdKindFromName(build.id_kind.empty() ? "sparse" : build.id_kind));
  return OpenTextRows(build.rows, build.text == "csv" ? TextForm::kCsv : TextForm::kKeyValue, kind,
                      PieceNumbers(build));
}

absl::StatusOr<TableSpec> SpecOf(const TableBuild& build, size_t dim, IdKind kind) {
  TableSpec spec;
  spec.name = build.name;
  spec.dim = dim;
  spec.id_kind = kind;
  ASSIGN_OR_RETURN(spec.row_type, RowTypeFromName(build.type));
  ASSIGN_OR_RETURN(spec.unknown, UnknownIdFromName(build.unknown));
  if (!build.default_row.empty()) {
    ASSIGN_OR_RETURN(NumberFile row, NumberFile::OpenNpy(build.default_row));
    if (row.shape() != Shape{static_cast<int64_t>(dim)}) {
      return absl::InvalidArgumentError(absl::StrCat("default row '", build.default_row, "': got shape ",
                                                     ShapeString(row.shape()), ", want [", dim, "]"));
    }
    spec.default_row.resize(dim);
    RETURN_IF_ERROR(row.ReadFloats(absl::MakeSpan(spec.default_row)));
  }
  RETURN_IF_ERROR(spec.Validate());
  return spec;
}

/// One build, from its first row or from a checkpoint on.
class Build {
 public:
  Build(const TableBuild& build, RowSource& source, BuildTarget& target, std::vector<BuildCheckpoint::Fact> facts)
      : build_(build), source_(source), target_(target) {
    checkpoint_.facts = std::move(facts);
  }

  absl::Status Begin(const TableSpec& spec, const BuildNote& note) {
    row_bytes_ = RowStride(spec);
    dim_ = spec.dim;
    const absl::Status goes_on = GoOn(spec, note);
    if (goes_on.ok() || !(absl::IsNotFound(goes_on) || absl::IsDataLoss(goes_on))) return goes_on;
    if (absl::IsDataLoss(goes_on)) note(absl::StrCat("beginning anew: ", goes_on.message()));
    RETURN_IF_ERROR(BuildCheckpoint::Remove(target_.folder()));
    return target_.Begin(spec, nullptr);
  }

  absl::Status Run(const BuildProgress& progress) {
    uint64_t rows_since = 0;
    while (true) {
      ShardWriter::Rows rows;
      RETURN_IF_ERROR(source_.Next(&rows));
      if (rows.values.empty()) break;
      RETURN_IF_ERROR(target_.Add(rows));
      const SourceProgress at = source_.progress();
      progress(at.done, at.all);
      rows_since += rows.values.size() / dim_;
      if (build_.checkpoint_bytes == 0 || rows_since * row_bytes_ < build_.checkpoint_bytes) continue;
      RETURN_IF_ERROR(Save());
      rows_since = 0;
    }
    // Its index is to be made yet, of all that was read.
    if (has_checkpoint_ && rows_since > 0) RETURN_IF_ERROR(Save());
    return target_.Finish();
  }

  uint64_t rows() const { return source_.progress().position.rows; }

  /// What to say, and do, where it ended with an error.
  absl::Status Failed(const absl::Status& why) {
    // Of what is at fault nothing is to be used again.
    const bool inputs = absl::IsInvalidArgument(why) || absl::IsAlreadyExists(why) || absl::IsDataLoss(why);
    if (!has_checkpoint_) return why;
    if (inputs) {
      const absl::Status removed = BuildCheckpoint::Remove(target_.folder());
      return removed.ok() ? why : removed;
    }
    return absl::Status(
        why.code(),
        absl::StrCat(why.message(), "; the same command goes on from here, with what is in '", target_.folder(), "'"));
  }

 private:
  /// NOT_FOUND without a checkpoint, DATA_LOSS where it is of something else.
  absl::Status GoOn(const TableSpec& spec, const BuildNote& note) {
    ASSIGN_OR_RETURN(const BuildCheckpoint saved, BuildCheckpoint::Read(target_.folder()));
    const std::string difference = DifferenceOf(saved.facts, checkpoint_.facts);
    if (!difference.empty()) return absl::DataLossError(difference);
    const double share = saved.all == 0 ? 1 : static_cast<double>(saved.done) / static_cast<double>(saved.all);
    note(absl::StrCat("going on at ", static_cast<int>(share * 100), " %, once what an earlier build wrote is read"));
    RETURN_IF_ERROR(target_.Begin(spec, &saved.shards));
    RETURN_IF_ERROR(source_.Seek(saved.position));
    has_checkpoint_ = true;
    return absl::OkStatus();
  }

  absl::Status Save() {
    ASSIGN_OR_RETURN(checkpoint_.shards, target_.Save());
    const SourceProgress at = source_.progress();
    checkpoint_.position = at.position;
    checkpoint_.done = at.done;
    checkpoint_.all = at.all;
    RETURN_IF_ERROR(checkpoint_.Write(target_.folder()));
    has_checkpoint_ = true;
    return absl::OkStatus();
  }

  const TableBuild& build_;
  RowSource& source_;
  BuildTarget& target_;
  BuildCheckpoint checkpoint_;
  bool has_checkpoint_ = false;
  uint64_t row_bytes_ = 0;
  size_t dim_ = 0;
};

}  // namespace

absl::StatusOr<uint64_t> BuildTable(const TableBuild& build, const BuildProgress& progress, const BuildNote& note) {
  RETURN_IF_ERROR(CheckOut(build));
  ASSIGN_OR_RETURN(const std::unique_ptr<RowSource> source, OpenSource(build));
  if (build.dim != 0 && build.dim != source->dim()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows '", build.rows, "': got ", source->dim(), " numbers a row, want ", build.dim, " (--dim)"));
  }
  ASSIGN_OR_RETURN(const TableSpec spec, SpecOf(build, source->dim(), source->kind()));
  ASSIGN_OR_RETURN(std::vector<BuildCheckpoint::Fact> facts, FactsOf(build));
  ASSIGN_OR_RETURN(const std::unique_ptr<BuildTarget> target, OpenTarget(build));
  Build run(build, *source, *target, std::move(facts));
  RETURN_IF_ERROR(run.Begin(spec, note));
  const absl::Status built = run.Run(progress);
  if (!built.ok()) return run.Failed(built);
  return run.rows();
}

}  // namespace portico
