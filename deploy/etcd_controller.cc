#include "deploy/etcd_controller.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "deploy/hub_modules.h"
#include "deploy/mesh.h"
#include "deploy/mesh_transition.h"
#include "deploy/rollout.h"
#include "router/etcd/lock.h"
#include "router/etcd/mirror.h"
#include "router/etcd_revision_copy.h"
#include "router/registered_node.h"
#include "router/revision_pointers.h"

namespace portico {
namespace {

/// How often nodes are looked at where none has changed: times pass.
constexpr absl::Duration kPeriod = absl::Milliseconds(200);
/// Documents that are kept to go back to.
constexpr uint64_t kMaxDocuments = 50;
/// etcd takes 1.5 MiB in one request.
constexpr size_t kMaxDocumentBytes = size_t{1} << 20;

std::string Owner() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return absl::StrCat(host, "/", getpid());
}

/// What is below PREFIX/mesh/ at one moment.
struct MeshState {
  RevisionPointers pointers;
  std::map<uint64_t, std::string> documents;
  std::map<uint64_t, std::string> refused;

  uint64_t highest() const {
    return std::max(documents.empty() ? 0 : documents.rbegin()->first, refused.empty() ? 0 : refused.rbegin()->first);
  }
};

absl::StatusOr<MeshState> ReadState(EtcdClient& client, const EtcdRevisionKeys& keys) {
  ASSIGN_OR_RETURN(const EtcdClient::Listing listing, client.List(keys.mesh));
  MeshState state;
  for (const EtcdEntry& entry : listing.entries) {
    absl::string_view name = entry.key;
    name.remove_prefix(keys.mesh.size());
    uint64_t number = 0;
    if (name == "current" || name == "next" || name == "oldest") {
      if (!absl::SimpleAtoi(entry.value, &number)) continue;
      (name == "current" ? state.pointers.current
       : name == "next"  ? state.pointers.next
                         : state.pointers.oldest) = number;
    } else if (absl::ConsumePrefix(&name, "revisions/") && absl::SimpleAtoi(name, &number)) {
      state.documents[number] = entry.value;
    } else if (absl::ConsumePrefix(&name, "refused/") && absl::SimpleAtoi(name, &number)) {
      state.refused[number] = entry.value;
    }
  }
  return state;
}

/// What nodes say of themselves, as it comes.
class Reports {
 public:
  Reports(const std::string& prefix, EtcdClient& client) : mirror_(MirrorOf(prefix), client, MetricRegistry::Null()) {}

  bool WaitForFirst(absl::Duration timeout) { return mirror_.WaitForFirst(timeout); }
  /// Of each node that is registered.
  std::vector<Rollout::Node> Now() {
    MutexLock lock(&mutex_);
    fresh_ = false;
    return nodes_;
  }
  /// Blocks until a node says something else, at most so long.
  void Wait(absl::Duration timeout) {
    const absl::Time until = absl::Now() + timeout;
    MutexLock lock(&mutex_);
    while (!fresh_ && absl::Now() < until) changed_.WaitFor(&mutex_, until - absl::Now());
  }

 private:
  EtcdMirror::Options MirrorOf(const std::string& prefix) {
    EtcdMirror::Options options;
    options.prefix = prefix + "/nodes/";
    options.on_change = [this](const EtcdMirror::Entries& entries) { Update(entries); };
    return options;
  }
  void Update(const EtcdMirror::Entries& entries) {
    std::vector<Rollout::Node> nodes;
    for (const auto& [id, text] : entries) {
      const absl::StatusOr<RegisteredNode> node = ParseRegisteredNode(text);
      if (!node.ok()) continue;
      const RegisteredNode::Revisions& said = node->revisions;
      nodes.push_back({id, true, said.current, said.prepared, said.oldest, said.refused, said.why});
    }
    MutexLock lock(&mutex_);
    nodes_ = std::move(nodes);
    fresh_ = true;
    changed_.NotifyAll();
  }

  Mutex mutex_;
  CondVar changed_;
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Rollout::Node> nodes_ ABSL_GUARDED_BY(mutex_);
  EtcdMirror mirror_;
};

/// One `portico apply`.
class Controller {
 public:
  Controller(const EtcdControllerOptions& options, EtcdClient& client)
      : options_(options), client_(client), keys_(options.prefix) {}

  absl::StatusOr<uint64_t> Run() {
    ASSIGN_OR_RETURN(lock_, EtcdLock::Take(client_, keys_.Lock(), Owner(), options_.lock_ttl));
    ASSIGN_OR_RETURN(state_, ReadState(client_, keys_));
    if (state_.pointers.next != 0) {
      Say(absl::StrCat("revision ", state_.pointers.next, " was left half prepared; it is not rolled out"));
      RETURN_IF_ERROR(Refuse(state_.pointers.next, "who prepared it has gone"));
    }
    ASSIGN_OR_RETURN(Revision next, Wanted());
    Reports reports(options_.prefix, client_);
    if (!reports.WaitForFirst(absl::Seconds(5))) return absl::UnavailableError("etcd: got no list of nodes in time");
    // Above all that a node has ever seen, also where etcd has been emptied.
    uint64_t highest = std::max(state_.highest(), state_.pointers.current);
    for (const Rollout::Node& node : reports.Now()) highest = std::max({highest, node.current, node.prepared});
    next.number = highest + 1;
    const uint64_t current = state_.pointers.current;
    if (current != 0) {
      ASSIGN_OR_RETURN(const Revision before, ParseRevision(state_.documents[current], keys_.Document(current)));
      if (next.SaysTheSameAs(before)) {
        Say(absl::StrCat("revision ", current, " says the same already"));
        return current;
      }
      RETURN_IF_ERROR(CheckTransition(before, next));
    }
    const std::string document = FormatRevision(next);
    if (document.size() > kMaxDocumentBytes) {
      return absl::InvalidArgumentError(absl::StrCat("revision ", next.number, ": got a document of ", document.size(),
                                                     " bytes, want at most ", kMaxDocumentBytes));
    }
    return current == 0 ? Publish(next.number, document) : RollOut(next, document, reports);
  }

 private:
  void Say(const std::string& line) const {
    if (options_.say) options_.say(line);
  }

  absl::StatusOr<Revision> Wanted() {
    if (options_.rollback == 0) {
      ASSIGN_OR_RETURN(MeshFile mesh,
                       ReadMeshFile(options_.mesh_file, nullptr, "", PullModules(options_.say), PulledModule));
      mesh.revision.reason = "the mesh file was applied";
      return std::move(mesh.revision);
    }
    const auto found = state_.documents.find(options_.rollback);
    if (found == state_.documents.end()) {
      return absl::NotFoundError(absl::StrCat("revision ", options_.rollback, ": got none below '", keys_.mesh,
                                              "', want one of ", absl::StrJoin(Numbers(), ", ")));
    }
    ASSIGN_OR_RETURN(Revision old, ParseRevision(found->second, keys_.Document(found->first)));
    old.reason = absl::StrCat("back to revision ", options_.rollback);
    return old;
  }
  std::vector<uint64_t> Numbers() const {
    std::vector<uint64_t> numbers;
    for (const auto& [number, text] : state_.documents) numbers.push_back(number);
    return numbers;
  }

  /// Of a mesh that starts.
  absl::StatusOr<uint64_t> Publish(uint64_t number, const std::string& document) {
    EtcdTransaction publish;
    const std::string text = absl::StrCat(number);
    publish.puts = {
        {keys_.Document(number), document}, {keys_.Pointer("current"), text}, {keys_.Pointer("oldest"), text}};
    RETURN_IF_ERROR(lock_->Commit(std::move(publish)));
    Say(absl::StrCat("revision ", number, " is current: the mesh's first; start its nodes"));
    return number;
  }

  absl::StatusOr<uint64_t> RollOut(const Revision& next, const std::string& document, Reports& reports) {
    const absl::Time began = absl::Now();
    EtcdTransaction prepare;
    prepare.puts = {{keys_.Document(next.number), document}, {keys_.Pointer("next"), absl::StrCat(next.number)}};
    RETURN_IF_ERROR(lock_->Commit(std::move(prepare)));
    Say(absl::StrCat("preparing revision ", next.number, ": ", next.reason));
    Rollout::Options rollout_options;
    rollout_options.number = next.number;
    rollout_options.prepare_by = began + options_.prepare_timeout;
    rollout_options.drain_timeout = options_.drain_timeout;
    for (const Revision::Node& node : next.nodes) rollout_options.nodes.insert(node.id());
    Rollout rollout(std::move(rollout_options));
    for (;;) {
      RETURN_IF_ERROR(lock_->Keep(absl::Now()));
      switch (rollout.Next(reports.Now(), absl::Now())) {
        case Rollout::Step::kWait:
          reports.Wait(kPeriod);
          break;
        case Rollout::Step::kFlip:
          RETURN_IF_ERROR(Flip(next.number));
          Say(absl::StrFormat("revision %d is current, prepared in %.2f s", next.number,
                              absl::ToDoubleSeconds(absl::Now() - began)));
          break;
        case Rollout::Step::kRefuse:
          RETURN_IF_ERROR(Refuse(next.number, rollout.why()));
          return absl::FailedPreconditionError(absl::StrCat("revision ", next.number, " cannot be prepared, revision ",
                                                            state_.pointers.current, " goes on: ", rollout.why()));
        case Rollout::Step::kStopLeaving:
          if (rollout.why().empty()) break;
          Say(absl::StrCat("requests of earlier revisions are left in ", rollout.why()));
          break;
        case Rollout::Step::kRetire:
          RETURN_IF_ERROR(Retire(next.number));
          Say(absl::StrCat("revision ", next.number, ": what was before it is let go of"));
          return next.number;
      }
    }
  }

  absl::Status Flip(uint64_t number) {
    EtcdTransaction flip;
    flip.puts = {{keys_.Pointer("current"), absl::StrCat(number)}};
    flip.deletes = {keys_.Pointer("next")};
    return lock_->Commit(std::move(flip));
  }

  absl::Status Refuse(uint64_t number, absl::string_view why) {
    EtcdTransaction refuse;
    refuse.puts = {{keys_.Refused(number), std::string(why)}};
    refuse.deletes = {keys_.Pointer("next"), keys_.Document(number)};
    state_.documents.erase(number);
    state_.refused[number] = std::string(why);
    return lock_->Commit(std::move(refuse));
  }

  absl::Status Retire(uint64_t number) {
    EtcdTransaction retire;
    retire.puts = {{keys_.Pointer("oldest"), absl::StrCat(number)}};
    for (const auto* known : {&state_.documents, &state_.refused}) {
      for (const auto& [old, text] : *known) {
        // etcd takes 128 operations at once.
        if (old + kMaxDocuments > number || retire.deletes.size() == 100) break;
        retire.deletes.push_back(known == &state_.documents ? keys_.Document(old) : keys_.Refused(old));
      }
    }
    return lock_->Commit(std::move(retire));
  }

  const EtcdControllerOptions& options_;
  EtcdClient& client_;
  const EtcdRevisionKeys keys_;
  std::unique_ptr<EtcdLock> lock_;
  MeshState state_;
};

}  // namespace

absl::StatusOr<uint64_t> ApplyRevision(const EtcdControllerOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<EtcdClient> client, EtcdClient::Create(options.etcd));
  return Controller(options, *client).Run();
}

absl::StatusOr<std::string> ListRevisions(const EtcdControllerOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<EtcdClient> client, EtcdClient::Create(options.etcd));
  const EtcdRevisionKeys keys(options.prefix);
  ASSIGN_OR_RETURN(const MeshState state, ReadState(*client, keys));
  std::map<uint64_t, std::string> lines;
  for (const auto& [number, why] : state.refused) lines[number] = absl::StrCat("refused   ", why);
  for (const auto& [number, text] : state.documents) {
    ASSIGN_OR_RETURN(const Revision revision, ParseRevision(text, keys.Document(number)));
    const char* mark = number == state.pointers.current                                     ? "current"
                       : number == state.pointers.next                                      ? "next"
                       : number >= state.pointers.oldest && number < state.pointers.current ? "draining"
                                                                                            : "";
    const std::string models = absl::StrJoin(revision.models, " ", [](std::string* out, const Revision::Model& model) {
      absl::StrAppend(out, model.name, ":",
                      absl::StrJoin(model.pins, "+", [](std::string* pins, const Revision::Pin& pin) {
                        absl::StrAppend(pins, pin.version);
                      }));
    });
    lines[number] = absl::StrFormat("%-8s  %s  (%s)", mark, models, revision.reason);
  }
  std::string all;
  for (const auto& [number, line] : lines) absl::StrAppendFormat(&all, "%6d  %s\n", number, line);
  return all;
}

}  // namespace portico
