#include "cli/table_files.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "cli/progress_line.h"
#include "cli/report_error.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include "embedding/delta_file.h"
#include "embedding/shard_file.h"
#include "models/package/group_version.h"
#include "models/package/shard_package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// A base with the deltas on top of it, or one of the two alone.
struct Files {
  std::string base;
  std::vector<std::string> deltas;
  /// What a package says of them.
  std::optional<ShardParts> parts;
};

bool IsDelta(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(delta_format::kMagic.size(), '\0');
  return file.read(magic.data(), static_cast<std::streamsize>(magic.size())) && magic == delta_format::kMagic;
}

Files FilesOf(ShardParts parts) {
  Files files;
  files.base = parts.base_path;
  for (const ShardParts::Delta& delta : parts.deltas) files.deltas.push_back(delta.path);
  files.parts = std::move(parts);
  return files;
}

/// `path` is a folder of a group whose newest version is meant; says which.
absl::StatusOr<std::vector<Files>> FilesOfGroup(const std::string& path) {
  absl::StatusOr<GroupVersion> newest = GroupVersion::Newest(path);
  if (!newest.ok())
    return WithContext(absl::StrCat("'", path, "' has no model.onnx of a shard; as the folder of a group"),
                       newest.status());
  absl::PrintF("%s: version %d, %d %s\n", path, newest->version, newest->shards,
               newest->shards == 1 ? "shard" : "shards");
  std::vector<Files> files;
  for (ShardParts& parts : newest->parts) files.push_back(FilesOf(std::move(parts)));
  return files;
}

absl::StatusOr<std::vector<Files>> FilesAt(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    Files one;
    if (IsDelta(path)) {
      one.deltas = {path};
    } else {
      one.base = path;
    }
    return std::vector<Files>{one};
  }
  if (!fs::exists(fs::path(path) / "model.onnx", error)) return FilesOfGroup(path);
  ASSIGN_OR_RETURN(ShardParts parts, ReadShardParts(path));
  return std::vector<Files>{FilesOf(std::move(parts))};
}

/// Checks files one by one; a broken one does not hide the others.
class Verification {
 public:
  void Check(const Files& files) {
    const ShardLayout* layout = nullptr;
    absl::StatusOr<std::unique_ptr<ShardFile>> base;
    if (!files.base.empty()) {
      base = ShardFile::Open(files.base);
      Count(base.ok() ? CheckBase(files, **base) : base.status());
      if (base.ok()) layout = &(*base)->layout();
    }
    for (size_t i = 0; i < files.deltas.size(); ++i) Count(CheckDelta(files, i, layout));
  }

  absl::Status Result() const {
    if (broken_ == 0) return absl::OkStatus();
    if (files_ == 1) return first_;
    return WithContext(absl::StrCat(broken_, " of ", files_, " files are broken"), first_);
  }

 private:
  static absl::Status CheckBase(const Files& files, const ShardFile& file) {
    const uint64_t all = file.blocks().unverified_blocks();
    if (files.parts.has_value() && files.parts->content != file.layout().content) {
      return absl::DataLossError(absl::StrCat("shard file '", files.base, "': got content ",
                                              file.layout().content.Short(), ", want ", files.parts->content.Short(),
                                              " as the package says; restore the file"));
    }
    absl::Status status;
    {
      ProgressLine line(files.base);
      status = file.Verify([&](uint64_t done) {
        line.Show(done * ShardLayout::kBlockBytes, all * ShardLayout::kBlockBytes, "bytes");
        return true;
      });
    }
    if (!status.ok())
      return WithContext(absl::StrCat(file.blocks().broken_blocks(), " of ", all, " blocks are broken"), status);
    RETURN_IF_ERROR(file.CheckSuperblocks());
    absl::PrintF("%s: all %d blocks are as they were written\n", files.base, all);
    return absl::OkStatus();
  }

  static absl::Status CheckDelta(const Files& files, size_t index, const ShardLayout* base) {
    const std::string& path = files.deltas[index];
    const Digest* const want = files.parts.has_value() ? &files.parts->deltas[index].digest : nullptr;
    ASSIGN_OR_RETURN(const DeltaFile delta, DeltaFile::Read(path, want));
    if (base != nullptr && want != nullptr) {
      std::vector<Digest> before;
      for (size_t i = 0; i < index; ++i) before.push_back(files.parts->deltas[i].digest);
      RETURN_IF_ERROR(delta.CheckFits(path, *base, StateDigest(files.parts->content, before)));
    }
    uint64_t rows = 0;
    for (const DeltaFile::Table& table : delta.tables) rows += table.rows;
    absl::PrintF("%s: all %d rows are as they were written\n", path, rows);
    return absl::OkStatus();
  }

  void Count(const absl::Status& status) {
    ++files_;
    if (status.ok()) return;
    if (broken_++ == 0) {
      first_ = status;
    } else {
      absl::FPrintF(stderr, "portico table verify: %s\n", std::string(status.message()));
    }
  }

  int files_ = 0;
  int broken_ = 0;
  absl::Status first_;
};

absl::Status InspectBase(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, ShardFile::Open(path));
  const ShardLayout& layout = file->layout();
  absl::PrintF("%s: shard %d of %d, %s\n", path, layout.shard, layout.shards, ByteText(layout.file_bytes));
  TextTable lines({"TABLE", "TYPE", "IDS", "UNKNOWN", "DIM", "ROWS", "BYTES/ROW", "ROWS' BYTES", "INDEX", "STRINGS"},
                  4);
  for (const ShardLayout::Table& table : layout.tables) {
    lines.Add({table.spec.name, std::string(RowTypeName(table.spec.row_type)),
               std::string(IdKindName(table.spec.id_kind)), std::string(UnknownIdName(table.spec.unknown)),
               absl::StrCat(table.spec.dim), absl::StrCat(table.row_count), absl::StrCat(table.stride),
               ByteText(table.rows.bytes), ByteText(table.index.bytes), ByteText(table.strings.bytes)});
  }
  std::fputs(lines.Print(Terminal::Of(STDOUT_FILENO).columns).c_str(), stdout);
  const absl::Status superblocks = file->CheckSuperblocks();
  if (!superblocks.ok()) absl::FPrintF(stderr, "note: %s\n", std::string(superblocks.message()));
  return absl::OkStatus();
}

absl::Status InspectDelta(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<DeltaFile::Table> tables, DeltaFile::ReadTables(path));
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path, error);
  absl::PrintF("%s: rows on top, %s\n", path, ByteText(error ? 0 : bytes));
  TextTable lines({"TABLE", "TYPE", "IDS", "DIM", "ROWS CHANGED", "ROWS ADDED"}, 3);
  for (const DeltaFile::Table& table : tables) {
    const bool dense = table.spec.id_kind == IdKind::kDense;
    lines.Add({table.spec.name, std::string(RowTypeName(table.spec.row_type)),
               std::string(IdKindName(table.spec.id_kind)), absl::StrCat(table.spec.dim), absl::StrCat(table.rows),
               dense ? absl::StrCat(table.rows_after - table.rows_before) : "-"});
  }
  std::fputs(lines.Print(Terminal::Of(STDOUT_FILENO).columns).c_str(), stdout);
  return absl::OkStatus();
}

void AddOnFiles(CLI::App& table, const char* name, const char* what, absl::Status (*run)(const std::string&),
                int& exit_code) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = table.add_subcommand(name, what);
  command
      ->add_option(
          "path", *path,
          "A shard file, a delta file, a version folder (GROUP/0of2/3), or a group's folder: its newest version")
      ->required()
      ->type_name("PATH");
  command->footer(
      absl::StrCat("Example:\n  portico table ", name, " users.shard\n  portico table ", name, " tables/clicks"));
  const std::string subject = absl::StrCat("table ", name);
  command->callback([path, subject, run, &exit_code] { exit_code = ReportError(subject, run(*path)); });
}

}  // namespace

absl::Status VerifyTableFiles(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Files> all, FilesAt(path));
  Verification verification;
  for (const Files& files : all) verification.Check(files);
  return verification.Result();
}

absl::Status InspectTableFiles(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Files> all, FilesAt(path));
  for (const Files& files : all) {
    if (!files.base.empty()) RETURN_IF_ERROR(InspectBase(files.base));
    for (const std::string& delta : files.deltas) RETURN_IF_ERROR(InspectDelta(delta));
  }
  return absl::OkStatus();
}

void AddTableFileCommands(CLI::App& table, int& exit_code) {
  AddOnFiles(table, "inspect", "Show the tables of shard files, and what deltas change", InspectTableFiles, exit_code);
  AddOnFiles(table, "verify", "Read shard files and deltas whole, and check every block", VerifyTableFiles, exit_code);
}

}  // namespace portico
