// The DLRM demo: takes the tables out of a click model in rows of 32, 16, 8 and 4 bits, asks each in this process and
// the one of 8 bits as a mesh of four shards, and says what the bits cost (README.md).

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_text.h"
#include "base/status_macros.h"
#include "examples/demo.h"
#include "examples/dlrm/clicks.h"
#include "examples/mesh_child.h"
#include "examples/model_calls.h"
#include "models/package/model.h"
#include "models/split/local_embedding_model.h"
#include "models/split/local_tables.h"

namespace portico::dlrm {
namespace {

namespace fs = std::filesystem;
using examples::DemoFlags;
using examples::DemoFolder;
using examples::FindTensor;
using examples::MeshChild;
using examples::Rows;
using examples::Say;

constexpr int64_t kClicksPerRequest = 500;
constexpr int kShards = 4;

/// One way to keep rows, and what it answered.
struct Answered {
  std::string rows;
  uint64_t bytes = 0;
  std::vector<float> scores;
};

absl::StatusOr<std::vector<float>> Scores(const Rows& answers) {
  ASSIGN_OR_RETURN(const Tensor score, FindTensor(answers, "score", DType::kFloat));
  return std::vector<float>(score.data<float>().begin(), score.data<float>().end());
}

/// Splits the model, with rows of that type, into `out`.
absl::Status Split(const DemoFlags& flags, const std::string& data, const std::string& type, const std::string& out) {
  return examples::RunToEnd({flags.portico, "split", data + "/dlrm/1/model.onnx", "--name", "dlrm", "--embeddings",
                             absl::StrCat("min_bytes=1KiB,shards=", kShards, ",dtype=", type), "--out", out});
}

/// Asks what was split, in this process.
absl::StatusOr<Answered> AskHere(const Clicks& clicks, const std::string& type, const std::string& out) {
  std::vector<std::string> folders;
  for (int shard = 0; shard < kShards; ++shard) {
    folders.push_back(absl::StrCat(out, "/dlrm-tables/", shard, "of", kShards, "/1"));
  }
  ASSIGN_OR_RETURN(const auto tables, LocalTables::OfFiles(folders));
  WeightStore store;
  ASSIGN_OR_RETURN(const Model model, Model::Load(out + "/dlrm/1/model.onnx", store));
  ASSIGN_OR_RETURN(const auto local, LocalEmbeddingModel::Create(model, *tables));
  const auto ask = [&local](const Rows& piece) -> absl::StatusOr<Rows> {
    std::vector<Tensor> inputs;
    for (const NamedTensor& input : piece) inputs.push_back(input.tensor);
    ASSIGN_OR_RETURN(std::vector<Tensor> outputs, local->Run(inputs));
    return Rows{{"score", std::move(outputs[0])}};
  };
  ASSIGN_OR_RETURN(const Rows answers, examples::AskInPieces(clicks.inputs, kClicksPerRequest, ask));
  Answered answered{.rows = type};
  ASSIGN_OR_RETURN(answered.scores, Scores(answers));
  for (const auto& file : tables->files()) {
    for (const auto& table : file->layout().tables) answered.bytes += table.rows.bytes;
  }
  return answered;
}

void PrintTable(const Clicks& clicks, const std::vector<Answered>& all) {
  std::printf("\n%lld held-out clicks\n\n  %-24s %12s %8s %22s\n", static_cast<long long>(clicks.size()), "rows",
              "tables", "AUC", "largest difference");
  for (const Answered& one : all) {
    double difference = 0;
    for (size_t i = 0; i < one.scores.size(); ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(one.scores[i]) - all[0].scores[i]));
    }
    std::printf("  %-24s %12s %8.4f %22.2g\n", one.rows.c_str(), ByteText(one.bytes).c_str(), clicks.Auc(one.scores),
                difference);
  }
  std::printf("  %-24s %12s %8.4f\n", "best possible", "", clicks.Auc(clicks.odds));
}

absl::Status Run(const DemoFlags& flags) {
  SignalFd signals({SIGINT, SIGTERM});
  // Beside the command, where prepare.sh puts it: too large to be checked in.
  const std::string data = (fs::path(flags.portico).parent_path() / "dlrm").string();
  ASSIGN_OR_RETURN(const Clicks clicks, ReadClicks(data));
  ASSIGN_OR_RETURN(const DemoFolder folder, DemoFolder::Create());

  std::vector<Answered> all(1);
  {
    ASSIGN_OR_RETURN(const examples::LocalModel original, examples::LocalModel::Load(data + "/dlrm"));
    ASSIGN_OR_RETURN(const Rows answers,
                     examples::AskInPieces(clicks.inputs, kClicksPerRequest,
                                           [&original](const Rows& piece) { return original.Run(piece); }));
    ASSIGN_OR_RETURN(all[0].scores, Scores(answers));
    all[0].rows = "in the model, float32";
    std::error_code error;
    all[0].bytes = fs::file_size(data + "/dlrm/1/model.onnx", error);
  }
  for (const char* type : {"float32", "float16", "int8", "int4"}) {
    Say(absl::StrCat("\nTaking the tables out, rows of ", type));
    const std::string out = absl::StrCat(folder.path(), "/", type);
    RETURN_IF_ERROR(Split(flags, data, type, out));
    ASSIGN_OR_RETURN(Answered answered, AskHere(clicks, type, out));
    all.push_back(std::move(answered));
  }
  RETURN_IF_ERROR(examples::CompareNumbers("tables of float32", all[1].scores, all[0].scores));
  PrintTable(clicks, all);

  Say(absl::StrCat("\nServing the one of int8: the model on one node, its tables on ", kShards));
  const std::string served = folder.path() + "/int8";
  RETURN_IF_ERROR(examples::WriteMesh(flags, served));
  ASSIGN_OR_RETURN(const std::unique_ptr<MeshChild> mesh,
                   MeshChild::Start(flags.portico, served + "/mesh.yaml", folder.path() + "/run", signals));
  ASSIGN_OR_RETURN(const NodeStatus front, mesh->Status("front"));
  ASSIGN_OR_RETURN(const Rows answers, examples::AskMesh(front.grpc, "dlrm", clicks.inputs, kClicksPerRequest));
  ASSIGN_OR_RETURN(const std::vector<float> scores, Scores(answers));
  RETURN_IF_ERROR(examples::CompareNumbers("dlrm", scores, all[3].scores));
  Say("  Every answer of the mesh is that of the same files in one process.");
  if (!flags.once) {
    Say(absl::StrCat("\nTo try\n\n  build/portico top --http ", front.http, "\n\nServing until Ctrl-C"));
    RETURN_IF_ERROR(mesh->ServeUntilSignal());
  }
  Say("\nStopping");
  return mesh->Stop();
}

}  // namespace
}  // namespace portico::dlrm

int main(int argc, char** argv) {
  const portico::examples::DemoProgram program = {.example = "dlrm",
                                                  .description =
                                                      "Takes 26 embedding tables out of a click model, in rows of 32 "
                                                      "to 4 bits, and serves them as four shards beside "
                                                      "the model."};
  return portico::examples::DemoMain(argc, argv, program, portico::dlrm::Run);
}
