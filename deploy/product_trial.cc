#include "deploy/product_trial.h"

#include <filesystem>
#include <future>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/claimed_folder.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "deploy/package_reader.h"
#include "embedding/shard_map.h"
#include "models/graph/portal_spec.h"
#include "node/node.h"
#include "node/order_inputs.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr char kNode[] = "trial";
/// Of its folder among temporary files.
constexpr char kTrialPrefix[] = "portico-trial-";

/// Version folders under names and numbers of the trial's own, by symbolic links; gone with the object.
class LinkedModels {
 public:
  explicit LinkedModels(ClaimedFolder folder) : claim_(std::move(folder)), folder_(claim_.path()) {}
  ~LinkedModels() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  LinkedModels(const LinkedModels&) = delete;
  LinkedModels& operator=(const LinkedModels&) = delete;

  /// The next version of `name`, which is what lies in `folder`.
  absl::StatusOr<VersionFolder> Add(const std::string& name, const std::string& folder) {
    const size_t place = numbers_.try_emplace(name, numbers_.size()).first->second;
    const auto version = static_cast<int64_t>(++versions_[name]);
    const fs::path base = folder_ / absl::StrCat(place);
    std::error_code error;
    fs::create_directories(base, error);
    if (!error) fs::create_directory_symlink(fs::absolute(folder), base / absl::StrCat(version), error);
    if (error) return ErrnoStatus(error.value(), "link", folder);
    return VersionFolder{version, (base / absl::StrCat(version)).string()};
  }
  std::string Base(const std::string& name) const { return (folder_ / absl::StrCat(numbers_.at(name))).string(); }

 private:
  /// Goes last: until then nobody else has it.
  const ClaimedFolder claim_;
  const fs::path folder_;
  std::map<std::string, size_t> numbers_;
  std::map<std::string, int64_t> versions_;
};

class ProductTrialImpl final : public ProductTrial {
 public:
  ProductTrialImpl(std::string product, ClaimedFolder folder)
      : product_(std::move(product)), links_(std::move(folder)) {}

  absl::Status Begin(const std::vector<std::string>& folders, const Finder& find) {
    for (const std::string& folder : folders) {
      ASSIGN_OR_RETURN(const Digest digest, Add(product_, folder, find));
      digests_.push_back(digest);
    }
    Revision revision;
    revision.mesh = kNode;
    Revision::Node& own = revision.nodes.emplace_back();
    own.name = kNode;
    for (auto& [name, pins] : pins_) {
      Revision::Model& model = revision.models.emplace_back();
      model.name = name;
      model.path = links_.Base(name);
      model.pins = pins;
      own.serve.push_back(name);
    }
    for (const std::string& group : groups_) RETURN_IF_ERROR(AddTables(group, find, &revision));
    ASSIGN_OR_RETURN(Node::Options options, Node::OptionsFor(revision, kNode, 0));
    options.servables.poll_period = absl::ZeroDuration();
    options.servables.load_retries = 0;
    ASSIGN_OR_RETURN(node_, Node::Start(std::move(options)));
    return node_->Ready();
  }

  absl::StatusOr<Answer> Run(size_t version, const std::string& name, std::vector<NamedTensor> inputs) override {
    ServableRef ref;
    ref.name = product_;
    ref.version = static_cast<int64_t>(version) + 1;
    ASSIGN_OR_RETURN(std::shared_ptr<const Servable> servable, node_->inference().servables().Resolve(ref));
    const Signature* const signature = servable->FindSignature(name);
    if (signature == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("signature '", name, "': got one that '", product_, "' has not"));
    }
    ASSIGN_OR_RETURN(std::vector<Tensor> ordered, OrderInputs(*signature, std::move(inputs)));
    std::promise<absl::StatusOr<std::vector<Tensor>>> promise;
    node_->inference().Run(
        Inference::Api::kTfsGrpc, std::move(servable), *signature, MakeRef<RequestContext>(), std::move(ordered),
        [&promise](absl::StatusOr<std::vector<Tensor>> outputs) { promise.set_value(std::move(outputs)); });
    Answer answer;
    answer.signature = signature;
    ASSIGN_OR_RETURN(answer.outputs, promise.get_future().get());
    return answer;
  }

  const Digest& digest(size_t version) const override { return digests_[version]; }

 private:
  /// The version in `folder`, and all that it calls; its digest.
  absl::StatusOr<Digest> Add(const std::string& name, const std::string& folder, const Finder& find) {
    ASSIGN_OR_RETURN(const VersionFolder link, links_.Add(name, folder));
    const absl::StatusOr<std::shared_ptr<const PackageFacts>> facts = packages_.Read(name, link);
    if (!facts.ok()) return WithContext(absl::StrCat("folder '", folder, "'"), facts.status());
    pins_[name].push_back({link.version, (*facts)->digest});
    for (const PortalSpec& portal : (*facts)->portals) {
      if (portal.embedding.has_value()) {
        groups_.insert(portal.target);
        continue;
      }
      for (const PortalTarget& target : PortalTargets(portal)) {
        if (Has(target)) continue;
        absl::StatusOr<std::string> found = find.target(target);
        if (!found.ok()) return WithContext(absl::StrCat("model '", name, "'"), found.status());
        RETURN_IF_ERROR(Add(target.name, *found, find).status());
      }
    }
    return (*facts)->digest;
  }

  /// The group as its mesh has it, all shards on this node. No rows are kept: both versions add up the same way.
  static absl::Status AddTables(const std::string& group, const Finder& find, Revision* revision) {
    ASSIGN_OR_RETURN(const Revision* const mesh, find.tables(group));
    Revision::Table table = *mesh->FindTable(group);
    table.cache_bytes = 0;
    for (uint32_t shard = 0; shard < table.shards; ++shard) {
      const std::string name = ShardName(group, shard, table.shards);
      revision->models.push_back(*mesh->FindModel(name));
      revision->nodes.front().serve.push_back(name);
    }
    revision->tables.push_back(std::move(table));
    return absl::OkStatus();
  }

  bool Has(const PortalTarget& target) const {
    const auto pins = pins_.find(target.name);
    if (pins == pins_.end()) return false;
    for (const Revision::Pin& pin : pins->second) {
      if (target.digest.empty() || pin.digest == target.digest) return true;
    }
    return false;
  }

  const std::string product_;
  LinkedModels links_;
  PackageReader packages_;
  std::map<std::string, std::vector<Revision::Pin>> pins_;
  /// Of tables.
  std::set<std::string> groups_;
  std::vector<Digest> digests_;
  std::unique_ptr<Node> node_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProductTrial>> ProductTrial::Start(const std::string& product,
                                                                  const std::vector<std::string>& folders,
                                                                  const Finder& find) {
  std::error_code error;
  const fs::path temporary = fs::temp_directory_path(error);
  if (error) return ErrnoStatus(error.value(), "find", "the folder for temporary files (TMPDIR)");
  ClaimedFolder::RemoveAbandoned(temporary, kTrialPrefix);
  ASSIGN_OR_RETURN(ClaimedFolder folder, ClaimedFolder::Create((temporary / kTrialPrefix).string()));
  auto trial = std::make_unique<ProductTrialImpl>(product, std::move(folder));
  RETURN_IF_ERROR(trial->Begin(folders, find));
  return trial;
}

}  // namespace portico
