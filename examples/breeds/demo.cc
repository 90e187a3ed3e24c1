// The breeds demo: serves a gate and two experts on three local nodes, asks about every held-out picture and compares
// with the same models run by plain code (README.md).

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "examples/breeds/animals.h"
#include "examples/breeds/reference.h"
#include "examples/demo.h"
#include "examples/draw_images.h"
#include "examples/mesh_child.h"
#include "examples/mesh_cost.h"

namespace portico::breeds {
namespace {

using examples::DemoFlags;
using examples::DemoFolder;
using examples::FindTensor;
using examples::MeshChild;
using examples::Rows;
using examples::Say;

constexpr int64_t kPicturesPerRequest = 32;

/// One way to answer: who serves it, and what plain code says.
struct Way {
  std::string model;
  std::string node;
  /// Networks that a picture goes through, the gate not counted.
  int networks;
  const std::vector<float>* want;
};

/// As the mesh answered.
struct Answered {
  std::vector<float> probabilities;
  double cpu_us = 0;
};

absl::StatusOr<Answered> Ask(const MeshChild& mesh, const Way& way, const Animals& animals) {
  ASSIGN_OR_RETURN(const NodeStatus node, mesh.Status(way.node));
  const auto ask = [&] { return examples::AskMesh(node.grpc, way.model, animals.inputs, kPicturesPerRequest); };
  ASSIGN_OR_RETURN(const Rows answers, ask());
  ASSIGN_OR_RETURN(const Tensor probabilities, FindTensor(answers, "probabilities", DType::kFloat));
  Answered answered;
  answered.probabilities.assign(probabilities.data<float>().begin(), probabilities.data<float>().end());
  RETURN_IF_ERROR(examples::CompareNumbers(way.model, answered.probabilities, *way.want));
  for (const auto& output : answers) {
    if (output.name != "row_status") continue;
    for (const int8_t status : output.tensor.data<int8_t>()) {
      if (status != 0) return absl::InternalError(absl::StrCat(way.model, ": row status: got ", status, ", want 0"));
    }
  }
  ASSIGN_OR_RETURN(answered.cpu_us, examples::CpuMicrosPerRow(mesh, animals.size(), [&] { return ask().status(); }));
  return answered;
}

/// The share of cats, of dogs and of all that `labels` gets right.
struct Right {
  Right(const Animals& animals, const std::vector<int64_t>& labels) {
    double count[2] = {}, right[2] = {};
    for (int64_t i = 0; i < animals.size(); ++i) {
      const size_t at = static_cast<size_t>(i), kind = animals.is_cat(i) ? 0 : 1;
      ++count[kind];
      right[kind] += labels[at] == animals.breeds[at] ? 1 : 0;
    }
    cats = right[0] / count[0];
    dogs = right[1] / count[1];
    all = (right[0] + right[1]) / (count[0] + count[1]);
  }
  double cats, dogs, all;
};

void PrintTable(const Animals& animals, const std::vector<Way>& ways, const std::vector<Answered>& answers) {
  std::printf("\n%lld held-out pictures, %lld per request, over gRPC\n\n  %-28s %9s %9s %9s %10s %18s\n",
              static_cast<long long>(animals.size()), static_cast<long long>(kPicturesPerRequest), "", "accuracy",
              "of cats", "of dogs", "networks", "CPU us a picture");
  for (size_t i = 0; i < ways.size(); ++i) {
    const Right right(animals, Labels(answers[i].probabilities));
    std::printf("  %-28s %9.4f %9.4f %9.4f %10d %18.1f\n", ways[i].model.c_str(), right.all, right.cats, right.dogs,
                ways[i].networks, answers[i].cpu_us);
  }
  const Right right(animals, std::vector<int64_t>(animals.best.begin(), animals.best.end()));
  std::printf("  %-28s %9.4f %9.4f %9.4f\n", "best possible, at most", right.all, right.cats, right.dogs);
}

/// What the gate costs, and how often it is right.
absl::Status PrintGate(const MeshChild& mesh, const NodeStatus& front, const Animals& animals,
                       const Reference& reference) {
  ASSIGN_OR_RETURN(const double cpu_us, examples::CpuMicrosPerRow(mesh, animals.size(), [&] {
                     return examples::AskMesh(front.grpc, "breed-gate", animals.inputs, kPicturesPerRequest).status();
                   }));
  int64_t right = 0;
  for (int64_t i = 0; i < animals.size(); ++i) {
    right += (reference.chosen[static_cast<size_t>(i)] == 0) == animals.is_cat(i) ? 1 : 0;
  }
  std::printf(
      "\n  The gate sends %.1f %% of the pictures to the expert for them; by itself it costs %.1f us a picture.\n",
      100 * static_cast<double>(right) / static_cast<double>(animals.size()), cpu_us);
  return absl::OkStatus();
}

/// A cat and a dog that were recognised, and one that was not.
void PrintSome(const Animals& animals, const Reference& reference, const Answered& answered) {
  const std::vector<int64_t> labels = Labels(answered.probabilities);
  std::vector<std::vector<float>> images;
  std::vector<std::string> captions;
  const auto show = [&](bool cat, bool right) {
    for (int64_t i = 0; i < animals.size(); ++i) {
      const size_t at = static_cast<size_t>(i);
      if (animals.is_cat(i) != cat || (labels[at] == animals.breeds[at]) != right) continue;
      images.push_back(animals.Pixels(i));
      captions.push_back(absl::StrCat(BreedName(animals.breeds[at]), "; ", reference.chosen[at] == 0 ? "cats" : "dogs",
                                      " said ", BreedName(labels[at]), right ? "" : " (!)"));
      return;
    }
  };
  show(true, true);
  show(false, true);
  show(false, false);
  std::printf("\nSome of them, and which expert said what\n\n%s",
              examples::DrawImages(images, kSide, captions).c_str());
}

std::string RequestBody(const Animals& animals) {
  std::string body = "{\"inputs\": [";
  const auto pixels = animals.inputs[0].tensor.data<uint8_t>();
  for (size_t i = 0; i < size_t{kSide} * kSide; ++i) {
    const bool begins = i % kSide == 0;
    absl::StrAppend(&body, begins ? (i == 0 ? "[[" : "],[") : ",", pixels[i]);
  }
  return body + "]]]}";
}

absl::Status Run(const DemoFlags& flags) {
  SignalFd signals({SIGINT, SIGTERM});
  ASSIGN_OR_RETURN(const Animals animals, ReadAnimals(flags.folder));
  ASSIGN_OR_RETURN(const Reference reference, Compute(flags.folder, animals.inputs));
  ASSIGN_OR_RETURN(const DemoFolder folder, DemoFolder::WithMesh(flags));

  Say("Serving a gate and two experts on three nodes");
  ASSIGN_OR_RETURN(const std::unique_ptr<MeshChild> mesh,
                   MeshChild::Start(flags.portico, folder.path() + "/mesh.yaml", folder.path() + "/run", signals));
  ASSIGN_OR_RETURN(const NodeStatus front, mesh->Status("front"));

  Say("\nAsking about every held-out picture");
  const std::vector<Way> ways = {
      {"breed-cats", "cats", 1, &reference.cats},       {"breed-dogs", "dogs", 1, &reference.dogs},
      {"breed-general", "cats", 1, &reference.general}, {"breeds", "front", 1, &reference.best},
      {"breeds-both", "front", 2, &reference.both},     {"breeds-mean", "front", 2, &reference.mean},
  };
  std::vector<Answered> answers;
  for (const Way& way : ways) {
    ASSIGN_OR_RETURN(Answered answered, Ask(*mesh, way, animals));
    answers.push_back(std::move(answered));
  }
  PrintTable(animals, ways, answers);
  RETURN_IF_ERROR(PrintGate(*mesh, front, animals, reference));
  Say("  Every answer of the mesh is that of the same models run by plain code, within 1e-5.");
  PrintSome(animals, reference, answers[3]);
  if (!flags.once) {
    Say(absl::StrCat("\nTo try\n\n  curl -s http://", front.http, "/v1/models/breeds:predict -d '",
                     RequestBody(animals), "'\n  build/portico top --http ", front.http, "\n\nServing until Ctrl-C"));
    RETURN_IF_ERROR(mesh->ServeUntilSignal());
  }
  Say("\nStopping");
  return mesh->Stop();
}

}  // namespace
}  // namespace portico::breeds

int main(int argc, char** argv) {
  const portico::examples::DemoProgram program = {
      .example = "breeds",
      .description =
          "Serves a gate and two image experts as one model on three local nodes and asks it about every "
          "held-out picture."};
  return portico::examples::DemoMain(argc, argv, program, portico::breeds::Run);
}
