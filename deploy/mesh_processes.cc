#include "deploy/mesh_processes.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace portico {

void MeshProcesses::Add(const Revision::Node& node) {
  SupervisedNode::Options options;
  options.node = node;
  options.index = added_++;
  options.status_file = folder_.StatusFile(node);
  options.command = {binary_,         "serve",
                     "--revision",    folder_.current(),
                     "--node",        node.name,
                     "--replica",     absl::StrCat(node.replica),
                     "--status-file", options.status_file};
  nodes_.push_back(std::make_unique<SupervisedNode>(std::move(options), log_));
}

void MeshProcesses::Leave(const std::string& id) {
  for (const auto& node : nodes_) {
    if (node->id() == id) node->Leave();
  }
}

void MeshProcesses::ForgetLeft() {
  const auto left = [](const auto& node) { return node->leaving() && !node->running(); };
  nodes_.erase(std::remove_if(nodes_.begin(), nodes_.end(), left), nodes_.end());
}

const SupervisedNode* MeshProcesses::Find(const std::string& id) const {
  const auto node = absl::c_find_if(nodes_, [&](const auto& one) { return one->id() == id; });
  return node == nodes_.end() ? nullptr : node->get();
}

std::vector<Rollout::Node> MeshProcesses::Reports() const {
  std::vector<Rollout::Node> reports;
  for (const auto& node : nodes_) {
    const NodeStatus::Revisions& said = node->status().revisions;
    reports.push_back({node->id(), node->running(), said.current, said.prepared, said.oldest, said.refused, said.why});
  }
  return reports;
}

std::vector<NodeCounts> MeshProcesses::Counts() const {
  std::vector<NodeCounts> counts;
  for (const auto& node : nodes_) counts.push_back({node->id(), node->status().pid, node->status().traffic});
  return counts;
}

std::string MeshProcesses::NotUp() const {
  std::vector<std::string> reasons;
  for (const auto& node : nodes_) {
    if (std::string reason = node->NotUp(); !reason.empty()) reasons.push_back(std::move(reason));
  }
  return absl::StrJoin(reasons, "; ");
}

absl::Time MeshProcesses::NextStart() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& node : nodes_) next = std::min(next, node->start_at());
  return next;
}

absl::Status MeshProcesses::StartDue(absl::Time now) {
  for (const auto& node : nodes_) {
    if (node->running() || node->start_at() > now) continue;
    RETURN_IF_ERROR(node->Start(now));
  }
  return absl::OkStatus();
}

std::vector<MeshProcesses::Failure> MeshProcesses::Look(bool child_ended, absl::Time now) {
  std::vector<Failure> failures;
  for (const auto& node : nodes_) {
    absl::Status status = node->OnStatusFile(now);
    if (child_ended) status.Update(node->OnChildEnded(now));
    if (!status.ok()) failures.push_back({node->id(), std::move(status)});
  }
  return failures;
}

void MeshProcesses::LookStopping() {
  for (const auto& node : nodes_) node->OnChildEndedStopping();
}

void MeshProcesses::Signal(int number) {
  for (const auto& node : nodes_) node->Signal(number);
}

bool MeshProcesses::AnyRunning() const {
  return absl::c_any_of(nodes_, [](const auto& node) { return node->running(); });
}

}  // namespace portico
