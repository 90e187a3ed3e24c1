#include "bench/table_mesh.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file.h"
#include "deploy/mesh.h"
#include "deploy/node_status.h"
#include "embedding/group_writer.h"
#include "embedding/shard_map.h"
#include "models/package/shard_package.h"
#include "tests/testing/free_port.h"
#include "tests/testing/model_builder.h"

namespace portico::bench {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

void Require(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  PORTICO_CHECK(status.ok());
}

void WriteModel(const std::string& path, const std::string& group, bool sums) {
  ModelBuilder model;
  if (sums) {
    model.Input("ids", DType::kInt64, {"N", "L"});
  } else {
    model.Input("ids", DType::kInt64, {"N"});
  }
  model.Output("y", DType::kFloat, {"N", static_cast<int64_t>(kWireDim)});
  model.Portal(
      "EmbeddingBag", group, {"ids"}, {"y"}, {DType::kFloat}, {absl::StrCat("N,", kWireDim)},
      {Strings("tables", {kWireTable}), Ints("dims", {static_cast<int64_t>(kWireDim)}),
       Strings("poolings", {sums ? "sum" : "none"}), Strings("forms", {"padded"}), Strings("id_kinds", {"sparse"})});
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  model.WriteTo(path);
}

/// Writes models and mesh.yaml.
std::string WriteMesh(const std::string& folder, const std::vector<uint32_t>& shards, bool tcp, uint64_t cache_mib) {
  std::string models, tables, nodes;
  std::vector<std::string> served_by_caller;
  uint32_t most = 0;
  for (const uint32_t count : shards) {
    most = std::max(most, count);
    for (const char* const kind : {"one", "sum"}) {
      const std::string name = absl::StrCat(kind, count);
      WriteModel(absl::StrCat(folder, "/", name, "/1/model.onnx"), absl::StrCat("g", count), kind[0] == 's');
      absl::StrAppend(&models, "  ", name, ": {path: ", name, "}\n");
      served_by_caller.push_back(name);
    }
    absl::StrAppend(&tables, "  g", count, ": {path: g", count, ", cache_mib: ", cache_mib, "}\n");
  }
  for (uint32_t shard = 0; shard < most; ++shard) {
    std::vector<std::string> served;
    for (const uint32_t count : shards) {
      if (shard < count) served.push_back(ShardName(absl::StrCat("g", count), shard, count));
    }
    absl::StrAppend(&nodes, "  rows", shard, ": {serve: [", absl::StrJoin(served, ", "), "]",
                    tcp ? absl::StrCat(", peer: 'tcp://127.0.0.1:", FreePort(), "'") : "", "}\n");
  }
  absl::StrAppend(&nodes, "  caller: {serve: [", absl::StrJoin(served_by_caller, ", "), "], http: 0}\n");
  const std::string path = absl::StrCat(folder, "/", tcp ? "tcp" : "unix", ".yaml");
  Require(
      WriteFileAtomically(path, absl::StrCat("mesh: wire\nmodels:\n", models, "tables:\n", tables, "nodes:\n", nodes)));
  return path;
}

}  // namespace

std::string PorticoPath() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("portico").string();
}

uint64_t Setting(const char* name, uint64_t value, uint64_t least) {
  const char* const text = std::getenv(name);
  if (text != nullptr) PORTICO_CHECK(absl::SimpleAtoi(text, &value) && value >= least);
  return value;
}

void BuildWireGroup(const std::string& folder, const std::string& group, uint32_t shards, size_t rows,
                    const std::function<void(absl::Span<const int64_t>, absl::Span<const float>)>& each) {
  auto writer = GroupWriter::Create(absl::StrCat(folder, "/", group), {.shards = shards});
  Require(writer.status());
  Require((*writer)->BeginTable({.name = kWireTable, .dim = kWireDim, .id_kind = IdKind::kSparse}));
  constexpr size_t kPiece = 4096;
  std::vector<float> values(kPiece * kWireDim);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1009) / 500 - 1;
  std::vector<int64_t> ids;
  for (size_t first = 0; first < rows; first += kPiece) {
    const size_t count = std::min(kPiece, rows - first);
    ids.clear();
    for (size_t row = first; row < first + count; ++row) ids.push_back(WireId(row));
    // Which row it is, to tell answers by.
    for (size_t i = 0; i < count; ++i) values[i * kWireDim] = static_cast<float>((first + i) % 65536);
    const auto some = absl::MakeConstSpan(values).first(count * kWireDim);
    Require((*writer)->Add({.ids = ids, .values = some}));
    if (each) each(ids, some);
  }
  Require((*writer)->EndTable());
  Require((*writer)->Finish());
  for (uint32_t shard = 0; shard < shards; ++shard) Require(WriteShardPackage((*writer)->StagedFolder(shard)));
  Require((*writer)->Commit());
}

TableMesh::TableMesh(const std::string& folder, const std::vector<uint32_t>& shards, bool tcp, uint64_t cache_mib)
    : mesh_file_(WriteMesh(folder, shards, tcp, cache_mib)) {
  auto run_folder = RunFolder::Open(run_.path() + "/run");
  Require(run_folder.status());
  run_folder_ = *std::move(run_folder);
  auto revision = ReadMesh();
  Require(revision.status());
  Require(run_folder_->Publish(&*revision));
  revision_ = *std::move(revision);
  for (const Revision::Node& node : revision_.nodes) {
    if (node.name == "caller") continue;
    status_files_.push_back(run_folder_->StatusFile(node));
    auto server = Process::Start({PorticoPath(), "serve", "--revision", run_folder_->current(), "--node", node.name,
                                  "--status-file", status_files_.back(), "--log-level", "error"});
    Require(server.status());
    servers_.push_back(*std::move(server));
  }
  auto options = Node::OptionsFor(revision_, "caller", 0);
  Require(options.status());
  options->revisions.pointer = run_folder_->current();
  options->revisions.node = "caller";
  options->revisions.on_change = [this](const RevisionState& state) { OnState(state); };
  auto caller = Node::Start(*std::move(options));
  Require(caller.status());
  caller_ = *std::move(caller);
  Await([this](uint64_t, uint64_t current, uint64_t) { return current == revision_.number; });
}

TableMesh::~TableMesh() {
  caller_.reset();
  for (const auto& server : servers_) server->Signal(SIGTERM);
  for (const auto& server : servers_) server->Wait();
}

std::vector<pid_t> TableMesh::pids() const {
  std::vector<pid_t> pids;
  for (const auto& server : servers_) pids.push_back(server->pid());
  return pids;
}

absl::StatusOr<Revision> TableMesh::ReadMesh() {
  auto mesh = ReadMeshFile(mesh_file_, &packages_);
  if (!mesh.ok()) return mesh.status();
  absl::Status assigned = run_folder_->AssignPeers(&mesh->revision);
  if (!assigned.ok()) return assigned;
  return std::move(mesh->revision);
}

Ref<RequestContext> TableMesh::NewRequest() const {
  auto context = MakeRef<RequestContext>();
  MutexLock lock(&mutex_);
  context->revision = state_.current;
  context->revision_hold = hold_;
  return context;
}

void TableMesh::OnState(const RevisionState& state) {
  std::shared_ptr<const void> before;  // Dropped outside the lock.
  MutexLock lock(&mutex_);
  if (state.current != state_.current) {
    before = std::exchange(hold_, std::make_shared<const uint64_t>(state.current));
  }
  state_ = state;
}

void TableMesh::Await(const std::function<bool(uint64_t, uint64_t, uint64_t)>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  const auto wait_for = [&](const std::function<bool()>& done) {
    while (!done()) {
      PORTICO_CHECK(absl::Now() < end);
      absl::SleepFor(absl::Milliseconds(5));
    }
  };
  for (size_t i = 0; i < status_files_.size(); ++i) {
    wait_for([&] {
      std::string said;
      servers_[i]->ReadOutput(&said);
      const bool ended = servers_[i]->Ended().has_value();
      if (ended) std::fputs(said.c_str(), stderr);
      PORTICO_CHECK(!ended);
      const auto status = ReadNodeStatus(status_files_[i]);
      if (!status.ok()) return false;
      if (status->revisions.refused != 0) std::fprintf(stderr, "%s\n", status->revisions.why.c_str());
      PORTICO_CHECK(status->revisions.refused == 0);
      return status->ready &&
             condition(status->revisions.prepared, status->revisions.current, status->revisions.oldest);
    });
  }
  wait_for([&] {
    MutexLock lock(&mutex_);
    return condition(state_.prepared, state_.current, state_.oldest);
  });
}

void TableMesh::RollOut() {
  auto next = ReadMesh();
  Require(next.status());
  Require(run_folder_->Write(&*next));
  const uint64_t number = next->number;
  Require(run_folder_->Point("next", number));
  Await([number](uint64_t prepared, uint64_t, uint64_t) { return prepared >= number; });
  std::weak_ptr<const void> before;
  {
    MutexLock lock(&mutex_);
    before = hold_;
  }
  Require(run_folder_->Point("current", number));
  run_folder_->Unpoint("next");
  Await([number](uint64_t, uint64_t current, uint64_t) { return current >= number; });
  // No node knows of requests that were stamped here.
  for (const absl::Time end = absl::Now() + kPatience; !before.expired();) {
    PORTICO_CHECK(absl::Now() < end);
    absl::SleepFor(absl::Milliseconds(1));
  }
  Require(run_folder_->Point("oldest", number));
  Await([number](uint64_t, uint64_t, uint64_t oldest) { return oldest >= number; });
  revision_ = *std::move(next);
}

}  // namespace portico::bench
