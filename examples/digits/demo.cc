// The digits demo: splits both products, serves encoder and heads on three local nodes, asks them about every held-out
// image and compares with the unsplit models (README.md).

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "examples/demo.h"
#include "examples/digits/answers.h"
#include "examples/digits/heldout.h"
#include "examples/mesh_child.h"

namespace portico::digits {
namespace {

using examples::DemoFlags;
using examples::DemoFolder;
using examples::MeshChild;
using examples::RunToEnd;
using examples::Say;
using examples::WriteMesh;

/// One of the two products and all that is said of the images.
struct Product {
  std::string name;
  NodeStatus node;
  Answers unsplit;
  Answers grpc;
  Answers rest;

  /// What would be right.
  int64_t Truth(uint8_t digit) const { return name == "parity" ? digit % 2 : digit; }
  std::string Word(int64_t label) const {
    return name == "parity" ? (label == 1 ? "odd" : "even") : absl::StrCat(label);
  }
  int64_t Right(const Answers& answers, const Heldout& heldout) const {
    int64_t right = 0;
    for (size_t i = 0; i < answers.labels.size(); ++i) right += answers.labels[i] == Truth(heldout.labels[i]);
    return right;
  }
};

/// Asks everywhere, and compares.
absl::StatusOr<Product> Ask(const DemoFlags& flags, const std::string& name, const MeshChild& mesh,
                            const Heldout& heldout) {
  Product product;
  product.name = name;
  ASSIGN_OR_RETURN(product.node, mesh.Status(name));
  ASSIGN_OR_RETURN(product.unsplit, AskUnsplit(absl::StrCat(flags.folder, "/", name, ".onnx"), heldout));
  ASSIGN_OR_RETURN(product.grpc, AskGrpc(product.node.grpc, name, heldout));
  ASSIGN_OR_RETURN(product.rest, AskRest(product.node.http, name, heldout));
  RETURN_IF_ERROR(CompareAnswers(name + " over gRPC", product.grpc, product.unsplit));
  RETURN_IF_ERROR(CompareAnswers(name + " over REST", product.rest, product.unsplit));
  return product;
}

/// Three images that `product` got right and one that it mistook, where there are any.
std::vector<int64_t> ChooseImages(const Heldout& heldout, const Product& product) {
  std::vector<int64_t> right, wrong;
  for (int64_t i = 0; i < heldout.size(); ++i) {
    const size_t at = static_cast<size_t>(i);
    (product.grpc.labels[at] == product.Truth(heldout.labels[at]) ? right : wrong).push_back(i);
  }
  right.resize(std::min<size_t>(right.size(), 3));
  wrong.resize(std::min<size_t>(wrong.size(), 1));
  right.insert(right.end(), wrong.begin(), wrong.end());
  return right;
}

void PrintSome(const Heldout& heldout, const std::vector<Product>& products) {
  const std::vector<int64_t> shown = ChooseImages(heldout, products[0]);
  std::vector<std::string> truths, predictions;
  for (const int64_t i : shown) {
    const size_t at = static_cast<size_t>(i);
    truths.push_back(absl::StrCat("true: ", static_cast<int>(heldout.labels[at])));
    std::string text = "said:";
    for (const Product& product : products) {
      const int64_t label = product.grpc.labels[at];
      absl::StrAppend(&text, " ", product.Word(label), label == product.Truth(heldout.labels[at]) ? "" : "(!)");
    }
    predictions.push_back(std::move(text));
  }
  std::printf("\nSome held-out images, and what the mesh said of them\n\n%s",
              DrawImages(heldout, shown, truths).c_str());
  for (const std::string& prediction : predictions) std::printf("  %-18s", prediction.c_str());
  std::printf("\n");
}

void PrintAccuracy(const Heldout& heldout, const std::vector<Product>& products) {
  std::printf("\nAccuracy on %lld held-out images\n\n  %-10s %10s %10s %10s\n", static_cast<long long>(heldout.size()),
              "product", "unsplit", "mesh, gRPC", "mesh, REST");
  for (const Product& product : products) {
    const auto share = [&](const Answers& answers) {
      return static_cast<double>(product.Right(answers, heldout)) / static_cast<double>(heldout.size());
    };
    std::printf("  %-10s %10.4f %10.4f %10.4f\n", product.name.c_str(), share(product.unsplit), share(product.grpc),
                share(product.rest));
  }
  std::printf("  Every answer of the mesh is the unsplit model's: same labels, probabilities within 1e-5.\n");
}

absl::Status PrintTrace(const Heldout& heldout, const Product& product) {
  ASSIGN_OR_RETURN(const std::string waterfall,
                   TraceOne(product.node.grpc, product.node.http, product.name, heldout, 0));
  std::printf("\nWhere the time of one request to '%s' went, hop by hop\n\n%s", product.name.c_str(),
              waterfall.c_str());
  return absl::OkStatus();
}

void PrintAddresses(const DemoFlags& flags, const Heldout& heldout, const std::vector<Product>& products) {
  std::printf("\nTo try\n\n");
  for (const Product& product : products) {
    std::printf("  curl -s http://%s/v1/models/%s\n", product.node.http.c_str(), product.name.c_str());
    std::printf("  curl -s http://%s/v1/models/%s:predict -d '%s'\n", product.node.http.c_str(), product.name.c_str(),
                RequestBody(heldout, 0, 1).c_str());
  }
  std::printf("  curl -s http://%s/metrics\n", products[0].node.http.c_str());
  std::printf("\n");
}

absl::Status Run(const DemoFlags& flags) {
  SignalFd signals({SIGINT, SIGTERM});
  ASSIGN_OR_RETURN(const Heldout heldout, ReadHeldout(flags.folder));
  ASSIGN_OR_RETURN(const DemoFolder demo_folder, DemoFolder::Create());
  const std::string& folder = demo_folder.path();

  Say("Splitting two products that share an encoder");
  for (const std::string name : {"digit", "parity"}) {
    const std::string stem = absl::StrCat(flags.folder, "/", name);
    RETURN_IF_ERROR(RunToEnd(
        {flags.portico, "split", stem + ".onnx", "--plan", stem + ".plan.yaml", "--out", folder + "/packages"}));
  }

  Say("\nServing encoder and heads on three nodes");
  RETURN_IF_ERROR(WriteMesh(flags, folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<MeshChild> mesh,
                   MeshChild::Start(flags.portico, folder + "/mesh.yaml", folder + "/run", signals));

  Say("\nAsking both products about every held-out image, over gRPC and over REST");
  std::vector<Product> products;
  for (const std::string name : {"digit", "parity"}) {
    ASSIGN_OR_RETURN(Product product, Ask(flags, name, *mesh, heldout));
    products.push_back(std::move(product));
  }
  PrintSome(heldout, products);
  PrintAccuracy(heldout, products);
  RETURN_IF_ERROR(PrintTrace(heldout, products[0]));
  if (!flags.once) {
    PrintAddresses(flags, heldout, products);
    Say("Serving until Ctrl-C");
    RETURN_IF_ERROR(mesh->ServeUntilSignal());
  }
  Say("\nStopping");
  return mesh->Stop();
}

}  // namespace
}  // namespace portico::digits

int main(int argc, char** argv) {
  const portico::examples::DemoProgram program = {
      .example = "digits",
      .description =
          "Splits the two digit models, serves their parts on three local nodes and asks them about every "
          "held-out image."};
  return portico::examples::DemoMain(argc, argv, program, portico::digits::Run);
}
