// The spam demo: serves a cascade of two text models on two local nodes, asks it about every held-out mail and compares
// with both models run by plain code (README.md).

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "examples/demo.h"
#include "examples/mesh_child.h"
#include "examples/mesh_cost.h"
#include "examples/spam/mails.h"
#include "examples/spam/reference.h"

namespace portico::spam {
namespace {

using examples::DemoFlags;
using examples::DemoFolder;
using examples::FindTensor;
using examples::MeshChild;
using examples::Rows;
using examples::Say;

constexpr int64_t kMailsPerRequest = 32;

/// One way to answer, as the mesh served it.
struct Answered {
  std::string model;
  std::vector<float> scores;
  /// Of mails that the full model saw.
  double at_full = 0;
  double cpu_us = 0;
};

/// Asks about all mails, then measures.
absl::StatusOr<Answered> Ask(const MeshChild& mesh, const std::string& address, const std::string& model,
                             const Mails& mails, std::vector<bool>* escalated) {
  Answered answered{.model = model};
  const auto ask = [&] { return examples::AskMesh(address, model, mails.inputs, kMailsPerRequest); };
  ASSIGN_OR_RETURN(const Rows answers, ask());
  ASSIGN_OR_RETURN(const Tensor score, FindTensor(answers, "score", DType::kFloat));
  answered.scores.assign(score.data<float>().begin(), score.data<float>().end());
  if (escalated != nullptr) {
    ASSIGN_OR_RETURN(const Tensor status, FindTensor(answers, "row_status", DType::kInt8));
    for (const int8_t who : status.data<int8_t>()) {
      // 2: a call failed.
      if (who != 0 && who != 1) return absl::InternalError(absl::StrCat("row status: got ", who, ", want 0 or 1"));
      escalated->push_back(who == 1);
      answered.at_full += who == 1 ? 1.0 / static_cast<double>(mails.size()) : 0.0;
    }
  }
  ASSIGN_OR_RETURN(answered.cpu_us, examples::CpuMicrosPerRow(mesh, mails.size(), [&] { return ask().status(); }));
  return answered;
}

void PrintTable(const Mails& mails, const std::vector<Answered>& all) {
  std::printf("\n%lld held-out mails, %lld per request, over gRPC\n\n  %-28s %9s %14s %18s\n",
              static_cast<long long>(mails.size()), static_cast<long long>(kMailsPerRequest), "", "accuracy",
              "at spam-full", "CPU us a mail");
  for (const Answered& one : all) {
    std::printf("  %-28s %9.4f %12.1f %% %18.1f\n", one.model.c_str(), mails.Right(one.scores), one.at_full * 100,
                one.cpu_us);
  }
  std::printf("  %-28s %9.4f\n", "best possible", mails.BestRight());
}

/// A mail that the trigger alone gets wrong and the cascade right, one that stays with the trigger, one of a rule that
/// nobody gets right: whatever there is.
void PrintSome(const Mails& mails, const Reference& reference, const Answered& cascade) {
  std::printf("\nSome of them, and what the mesh said\n");
  const auto show = [&](const char* title, bool escalated, bool trigger_right, bool right) {
    for (int64_t i = 0; i < mails.size(); ++i) {
      const size_t at = static_cast<size_t>(i);
      if (reference.escalated[at] != escalated || ((reference.trigger[at] > 0.5f) == mails.spam[at]) != trigger_right ||
          ((cascade.scores[at] > 0.5f) == mails.spam[at]) != right) {
        continue;
      }
      std::printf("\n  %s\n    from %s: %s\n    trigger %.3f, answer %.3f; people say %s\n", title,
                  std::string(mails.sender(i)).c_str(), std::string(mails.text(i)).c_str(), reference.trigger[at],
                  cascade.scores[at], mails.spam[at] ? "spam" : "not spam");
      return;
    }
  };
  show("Kept by the trigger", false, true, true);
  show("Passed on: the words alone mislead, their order tells", true, false, true);
  show("Wrong: people, or chance, say otherwise", true, true, false);
}

/// That the mesh said what plain code says, of every mail.
absl::Status Compare(const Reference& reference, const std::vector<Answered>& all, const std::vector<bool>& escalated) {
  RETURN_IF_ERROR(examples::CompareNumbers("spam-trigger", all[0].scores, reference.trigger));
  RETURN_IF_ERROR(examples::CompareNumbers("spam-full", all[1].scores, reference.full));
  RETURN_IF_ERROR(examples::CompareNumbers("spam", all[2].scores, reference.cascade));
  if (escalated != reference.escalated) {
    return absl::InternalError("spam: got other mails passed on than by the condition, want the same");
  }
  return absl::OkStatus();
}

absl::Status Run(const DemoFlags& flags) {
  SignalFd signals({SIGINT, SIGTERM});
  ASSIGN_OR_RETURN(const Mails mails, ReadMails(flags.folder));
  ASSIGN_OR_RETURN(const Reference reference, Compute(flags.folder, mails.inputs));
  ASSIGN_OR_RETURN(const DemoFolder folder, DemoFolder::WithMesh(flags));

  Say("Serving a trigger, a full model and the cascade of both on two nodes");
  ASSIGN_OR_RETURN(const std::unique_ptr<MeshChild> mesh,
                   MeshChild::Start(flags.portico, folder.path() + "/mesh.yaml", folder.path() + "/run", signals));
  ASSIGN_OR_RETURN(const NodeStatus front, mesh->Status("front"));
  ASSIGN_OR_RETURN(const NodeStatus full, mesh->Status("full"));

  Say("\nAsking about every held-out mail");
  std::vector<bool> escalated;
  std::vector<Answered> all(4);
  ASSIGN_OR_RETURN(all[0], Ask(*mesh, front.grpc, "spam-trigger", mails, nullptr));
  ASSIGN_OR_RETURN(all[1], Ask(*mesh, full.grpc, "spam-full", mails, nullptr));
  ASSIGN_OR_RETURN(all[2], Ask(*mesh, front.grpc, "spam", mails, &escalated));
  ASSIGN_OR_RETURN(all[3], Ask(*mesh, front.grpc, "spam-mean", mails, nullptr));
  all[1].at_full = all[3].at_full = 1;
  RETURN_IF_ERROR(Compare(reference, all, escalated));
  PrintTable(mails, all);
  Say("\n  Every answer of the mesh is that of the same models run by plain code, and the same mails were passed on.");
  const std::string portal = "portal=\"spam-full\"";
  ASSIGN_OR_RETURN(const double rows, examples::CounterSum(front.http, "portico_cascade_rows_total", portal));
  ASSIGN_OR_RETURN(const double passed,
                   examples::CounterSum(front.http, "portico_cascade_rows_escalated_total", portal));
  ASSIGN_OR_RETURN(const double calls, examples::CounterSum(front.http, "portico_cascade_calls_total", portal));
  Say(absl::StrCat("  Counted by the node, with the rounds that measured: ", rows, " mails at the cascade, ", passed,
                   " passed on in ", calls, " calls."));
  PrintSome(mails, reference, all[2]);
  if (!flags.once) {
    Say(absl::StrCat("\nTo try\n\n  curl -s http://", front.http,
                     "/v1/models/spam:predict -d '{\"inputs\": {\"sender\": ",
                     "[\"desk@post.example\", \"desk@post.example\"], \"text\": [\"You will send the bank the code ",
                     "today.\", \"The bank will send you the code today.\"]}}'\n  build/portico top --http ",
                     front.http, "\n\nServing until Ctrl-C"));
    RETURN_IF_ERROR(mesh->ServeUntilSignal());
  }
  Say("\nStopping");
  return mesh->Stop();
}

}  // namespace
}  // namespace portico::spam

int main(int argc, char** argv) {
  const portico::examples::DemoProgram program = {
      .example = "spam",
      .description =
          "Serves a cheap trigger and a full text model as one cascade on two local nodes and asks them about "
          "every held-out mail."};
  return portico::examples::DemoMain(argc, argv, program, portico::spam::Run);
}
