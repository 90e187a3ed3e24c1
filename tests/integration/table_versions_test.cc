// Tables in shards that change while they are asked: `portico up`, `portico table apply`, `compact` and `reshard` as
// processes, over real sockets.

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "deploy/node_status.h"
#include "embedding/group_shards.h"
#include "embedding/group_writer.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "gtest/gtest.h"
#include "tests/cli/npy_bytes.h"
#include "tests/integration/commit_group.h"
#include "tests/integration/node_fixture.h"
#include "tests/integration/portico_command.h"
#include "tests/testing/memory.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/version_model.h"
#include "transport/transport.h"

namespace portico {
namespace {

constexpr int64_t kRows = 20'000;
constexpr int64_t kDim = 4;
/// Calls under way at once over the peer protocol.
constexpr int kInFlight = 32;
/// A reshard, a node that is killed and a way back are among them.
constexpr int kLeastRounds = 12;
/// From then on memory of the nodes is to stay flat.
constexpr int kRoundsThatShowLeaks = 100;
constexpr int64_t kToleranceBytes = int64_t{32} << 20;
/// Versions that are kept, as somebody with little disk would.
constexpr int64_t kKept = 8;

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

/// What `users` has for an id: how often the table was written, twice, the id, and that once more.
std::vector<float> RowOf(int64_t generation, int64_t id) {
  const auto g = static_cast<float>(generation);
  return {g, g, static_cast<float>(id), g};
}

/// Sums of three rows each and rows on their own, of the same table: what a request asks for, and whether an answer is
/// of one generation, and right.
class Question {
 public:
  explicit Question(unsigned seed) : random_(seed) { Next(); }

  /// Another one.
  void Next() {
    const auto rows = static_cast<int64_t>(1 + random_() % 8);
    bags_.resize(static_cast<size_t>(3 * rows));
    singles_.resize(static_cast<size_t>(rows));
    for (int64_t& id : bags_) id = static_cast<int64_t>(random_() % kRows);
    for (int64_t& id : singles_) id = static_cast<int64_t>(random_() % kRows);
    tensors_ = {Tensor::Of<int64_t>({rows, 3}, absl::MakeConstSpan(bags_)),
                Tensor::Of<int64_t>({rows}, absl::MakeConstSpan(singles_))};
  }
  /// "bags" and "singles".
  absl::Span<const Tensor> tensors() const { return tensors_; }

  /// The generation that answered; 0 and why in `wrong` where it is no right answer.
  int64_t GenerationOf(const Tensor& sums, const Tensor& rows, std::string* wrong) const {
    const Shape shape = {static_cast<int64_t>(singles_.size()), kDim};
    if (sums.shape() != shape || rows.shape() != shape) {
      *wrong = absl::StrCat("got shapes ", ShapeString(sums.shape()), ", ", ShapeString(rows.shape()));
      return 0;
    }
    const auto sum = sums.data<float>(), row = rows.data<float>();
    const auto generation = static_cast<int64_t>(row[0]);
    for (size_t i = 0; i < singles_.size(); ++i) {
      const std::vector<float> want_row = RowOf(generation, singles_[i]);
      const std::vector<float> want_sum = RowOf(3 * generation, bags_[3 * i] + bags_[3 * i + 1] + bags_[3 * i + 2]);
      for (size_t k = 0; k < kDim; ++k) {
        const float got_row = row[i * kDim + k], got_sum = sum[i * kDim + k];
        if (got_row == want_row[k] && got_sum == want_sum[k]) continue;
        *wrong = absl::StrCat("row ", i, ", number ", k, ": got ", got_row, " and a sum of ", got_sum, ", want ",
                              want_row[k], " and ", want_sum[k], " of generation ", generation);
        return 0;
      }
    }
    return generation;
  }

 private:
  std::mt19937 random_;
  std::vector<int64_t> bags_, singles_;
  std::vector<Tensor> tensors_;
};

/// Which generations answers may be of: none older than one that had answered when the request was sent, none that is
/// not to be seen (yet). Thread-safe.
class Generations {
 public:
  struct Sent {
    int64_t epoch = 0;
    int64_t floor = 0;
  };
  Sent Now() const {
    const MutexLock lock(&mutex_);
    return {epoch_, floor_};
  }
  /// Nothing, or what is wrong.
  std::string Answered(const Sent& sent, int64_t generation) {
    const MutexLock lock(&mutex_);
    last_ = generation;
    if (generation > highest_) return absl::StrCat("generation ", generation, " of ", highest_, " that there are");
    if (sent.epoch != epoch_ || moving_) return "";
    if (generation < sent.floor) return absl::StrCat("generation ", generation, " after ", sent.floor);
    if (generation > ceiling_) return absl::StrCat("generation ", generation, " while ", ceiling_, " is pinned");
    floor_ = std::max(floor_, generation);
    return "";
  }
  int64_t last() const {
    const MutexLock lock(&mutex_);
    return last_;
  }
  /// Before it is written.
  void Add(int64_t generation) {
    const MutexLock lock(&mutex_);
    highest_ = generation;
  }
  /// An older one is about to be pinned: until EndBack() answers may be of either.
  void BeginBack() {
    const MutexLock lock(&mutex_);
    moving_ = true;
  }
  /// Requests sent from now on are answered by `pinned`.
  void EndBack(int64_t pinned) {
    const MutexLock lock(&mutex_);
    moving_ = false;
    ++epoch_;
    floor_ = ceiling_ = pinned;
  }
  void Unpin() {
    const MutexLock lock(&mutex_);
    ceiling_ = std::numeric_limits<int64_t>::max();
  }

 private:
  mutable Mutex mutex_;
  int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t floor_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t ceiling_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<int64_t>::max();
  int64_t highest_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool moving_ ABSL_GUARDED_BY(mutex_) = false;
};

/// A model over a group of two shards, each served by two replicas, asked without a pause by a client of the gRPC API
/// and by kInFlight calls of the peer protocol, while the group's next versions are written, it is divided anew, a
/// replica and commands are killed, and older versions are pinned. No request fails, none has rows of two versions,
/// versions go back only when told to.
///
/// PORTICO_SOAK_TABLE_REQUESTS (default 100,000) says how many answers at least. The parameter: MiB of rows that
/// `front` keeps, less than the table has.
class TableVersionsSoak : public ::testing::TestWithParam<int> {
 protected:
  TableVersionsSoak() {
    generations_.Add(1);
    WriteFirstVersion();
    ModelBuilder head;
    head.Input("bags", DType::kInt64, {"N", 3}).Input("singles", DType::kInt64, {"N"});
    head.Output("sums", DType::kFloat, {"N", kDim}).Output("rows", DType::kFloat, {"N", kDim});
    head.Portal(
        "EmbeddingBag", "clicks", {"bags", "singles"}, {"raw", "rows"}, {DType::kFloat, DType::kFloat}, {"N,4", "N,4"},
        {Strings("tables", {"users", "users"}), Ints("dims", {kDim, kDim}), Strings("poolings", {"sum", "none"}),
         Strings("forms", {"padded", "padded"}), Strings("id_kinds", {"dense", "dense"})});
    head.Node("Abs", {"raw"}, {"sums"});
    PublishVersion(head, folder_.Folder("head"), 1);
  }
  ~TableVersionsSoak() override { StopClients(); }

  // The group.

  /// Writes the next generation of every row as the next version, by command.
  void Apply() {
    const std::vector<std::string> arguments = NextApply();
    Table(arguments);
    NoteVersions();
  }
  /// Begins to, and is killed at some moment: the version is there, or not, or whoever comes next puts it there.
  void ApplyAndKill() { RunAndKill(NextApply()); }
  /// The arguments of `portico table`.
  std::vector<std::string> NextApply() {
    ++generation_;
    generations_.Add(generation_);
    std::vector<float> values;
    for (int64_t id = 0; id < kRows; ++id) {
      for (const float value : RowOf(generation_, id)) values.push_back(value);
    }
    const std::string rows = folder_.Write("rows.npy", Npy<float>("<f4", absl::StrCat("(", kRows, ", 4)"), values));
    return {"apply", group_, "--upserts", rows, "--ids", ids_file_, "--compact-at", "0"};
  }
  void RunAndKill(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "table");
    PorticoCommand command(std::move(arguments));
    absl::SleepFor(absl::Milliseconds(random_() % 100));
    command.process().Signal(SIGKILL);
    command.process().Wait();
    ++killed_;
  }
  void Compact() {
    Table({"compact", group_});
    NoteVersions();
  }
  /// `portico table ...`, again where another command is at work on the group.
  void Table(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "table");
    CommandResult result;
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end;) {
      result = RunPortico(arguments);
      if (result.end == "exit status 0" || result.output.find("at work, want it to end first") == std::string::npos)
        break;
      ++retried_;
      absl::SleepFor(absl::Milliseconds(20));
    }
    ASSERT_EQ(result.end, "exit status 0") << result.output;
  }
  uint32_t Shards() const { return ServingShards(group_).value_or(0); }
  std::vector<int64_t> Versions() const { return WholeVersions(group_, Shards()).value_or(std::vector<int64_t>()); }
  /// The newest version is of the generation that was written last, another new one of the command before, which was
  /// killed; old ones go.
  void NoteVersions() {
    const std::vector<int64_t> versions = Versions();
    ASSERT_FALSE(versions.empty());
    for (const int64_t version : versions) {
      generation_of_.emplace(version, version == versions.back() ? generation_ : generation_ - 1);
    }
    std::vector<std::filesystem::path> old;
    for (const auto& shard : std::filesystem::directory_iterator(group_)) {
      if (!shard.is_directory() || shard.path().filename().string()[0] == '.') continue;
      for (const auto& version : std::filesystem::directory_iterator(shard)) {
        int64_t number = 0;
        if (absl::SimpleAtoi(version.path().filename().string(), &number) && number + kKept < versions.back()) {
          old.push_back(version.path());
        }
      }
    }
    for (const std::filesystem::path& folder : old) std::filesystem::remove_all(folder);
  }

  // The mesh.

  /// mesh.yaml, replaced at once. 0: the newest version.
  std::string WriteMesh(int64_t version = 0) const {
    const std::string text = absl::StrCat(
        "mesh: tables\nmodels:\n  head: {path: head}\ntables:\n  clicks: {path: clicks, cache_mib: ", GetParam(),
        version == 0 ? "" : absl::StrCat(", versions: [", version, "]"),
        "}\nnodes:\n  back: {serve: [clicks], replicas: 2}\n  front: {serve: [head], grpc: 0, http: 0}\n");
    const std::string path = folder_.Write("mesh.yaml.new", text);
    std::filesystem::rename(path, folder_.path() + "/mesh.yaml");
    return folder_.path() + "/mesh.yaml";
  }
  void StartMesh() {
    up_ = std::make_unique<PorticoCommand>(
        std::vector<std::string>{"up", WriteMesh(), "--run-folder", folder_.path() + "/run"});
    ASSERT_TRUE(up_->WaitForOutput("mesh 'tables' is ready")) << up_->output();
  }
  /// Of no process while the node is not up.
  NodeStatus StatusOf(const std::string& node) const {
    return ReadNodeStatus(absl::StrCat(folder_.path(), "/run/status/", node, ".json")).value_or(NodeStatus());
  }
  /// Of the largest node; of them `front` is never killed.
  int64_t LargestMemory() const {
    int64_t bytes = 0;
    for (const char* const node : {"front-0", "back-0", "back-1"}) {
      const int64_t pid = StatusOf(node).pid;
      if (pid != 0) bytes = std::max(bytes, ResidentBytes(static_cast<pid_t>(pid)));
    }
    return bytes;
  }

  // The clients.

  void StartClients() {
    const NodeStatus front = StatusOf("front-0");
    auto channel = transports_->Connect(front.peer, {});
    ASSERT_TRUE(channel.ok()) << channel.status();
    channel_ = *std::move(channel);
    {
      const MutexLock lock(&mutex_);
      running_ = kInFlight;
    }
    for (unsigned i = 0; i < kInFlight; ++i) slots_.push_back(std::make_unique<Slot>(i));
    for (const std::unique_ptr<Slot>& slot : slots_) Call(*slot);
    grpc_client_ = std::thread([this, address = front.grpc] { CallOverGrpc(address); });
  }
  void StopClients() {
    stop_ = true;
    if (grpc_client_.joinable()) grpc_client_.join();
    const MutexLock lock(&mutex_);
    while (running_ > 0) idle_.Wait(&mutex_);
  }
  /// Waits for it, at most a minute, and reads what `portico up` says meanwhile.
  template <typename Condition>
  void WaitUntil(const char* what, const Condition& condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(60); absl::Now() < end && failures_ == 0;) {
      up_->process().ReadOutput(&log_);
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << what << ": generation " << generations_.last() << " of " << generation_ << "\n" << log_;
  }
  void WaitForGeneration(int64_t generation) {
    WaitUntil("a generation's answer", [&] { return generations_.last() == generation; });
  }
  void WaitForAnswers(int64_t more) {
    WaitUntil("answers", [this, until = answers_ + more] { return answers_ >= until; });
  }

  const TempFolder folder_;
  const std::string group_ = folder_.path() + "/clicks";
  std::string ids_file_;
  int64_t generation_ = 1;
  std::map<int64_t, int64_t> generation_of_;
  int64_t retried_ = 0, killed_ = 0;
  std::mt19937 random_{7};
  std::unique_ptr<PorticoCommand> up_;
  std::string log_;
  Generations generations_;
  std::atomic<int64_t> answers_{0};
  std::atomic<int64_t> failures_{0};

 private:
  struct Slot {
    explicit Slot(unsigned seed) : question(seed) {}
    Question question;
    Generations::Sent sent;
  };

  void WriteFirstVersion() {
    const auto writer = GroupWriter::Create(group_, {.shards = 2});
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<float> values;
    std::vector<int64_t> ids;
    for (int64_t id = 0; id < kRows; ++id) {
      ids.push_back(id);
      for (const float value : RowOf(1, id)) values.push_back(value);
    }
    ASSERT_EQ((*writer)->BeginTable({.name = "users", .dim = kDim}), absl::OkStatus());
    ASSERT_EQ((*writer)->Add({.values = values}), absl::OkStatus());
    ASSERT_EQ((*writer)->EndTable(), absl::OkStatus());
    ASSERT_EQ(CommitGroup(**writer), absl::OkStatus());
    ids_file_ = folder_.Write("ids.npy", Npy<int64_t>("<i8", absl::StrCat("(", kRows, ",)"), ids));
    generation_of_[1] = 1;
  }

  void CallOverGrpc(const std::string& address) {
    PredictClient client(address);
    Slot slot(1000);
    while (!stop_) {
      slot.sent = generations_.Now();
      const absl::StatusOr<Outputs> outputs =
          client.Predict("head", {{"bags", slot.question.tensors()[0]}, {"singles", slot.question.tensors()[1]}});
      if (!outputs.ok()) return Fail(outputs.status().ToString());
      Check(slot, outputs->at("sums"), outputs->at("rows"));
      slot.question.Next();
    }
  }
  void Call(Slot& slot) {
    if (stop_ || failures_ > 0) {
      const MutexLock lock(&mutex_);
      --running_;
      idle_.NotifyAll();
      return;
    }
    PeerHeader header;
    header.servable = "head";
    header.signature = "serving_default";
    header.tensors.resize(2);
    header.tensors[0].name = "bags";
    header.tensors[1].name = "singles";
    slot.sent = generations_.Now();
    channel_->Call(header, slot.question.tensors(), Deadline::In(absl::Seconds(60), Clock::Real()),
                   [this, &slot](const absl::StatusOr<PeerMessage>& answer) { OnAnswer(slot, answer); });
  }
  void OnAnswer(Slot& slot, const absl::StatusOr<PeerMessage>& answer) {
    if (!answer.ok()) {
      Fail(answer.status().ToString());
    } else if (answer->header.code != 0 || answer->tensors.size() != 2) {
      Fail(absl::StrCat("code ", answer->header.code, ": ", answer->header.message));
    } else {
      const size_t sums = answer->header.tensors[0].name == "sums" ? 0 : 1;
      Check(slot, answer->tensors[sums], answer->tensors[1 - sums]);
    }
    slot.question.Next();
    Call(slot);
  }
  void Check(const Slot& slot, const Tensor& sums, const Tensor& rows) {
    std::string wrong;
    const int64_t generation = slot.question.GenerationOf(sums, rows, &wrong);
    if (wrong.empty()) wrong = generations_.Answered(slot.sent, generation);
    if (!wrong.empty()) return Fail(wrong);
    ++answers_;
  }
  void Fail(const std::string& what) {
    if (failures_.fetch_add(1) < 5) ADD_FAILURE() << what;
  }

  std::atomic<bool> stop_{false};
  std::thread grpc_client_;
  std::vector<std::unique_ptr<Slot>> slots_;
  Mutex mutex_;
  CondVar idle_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  const std::unique_ptr<Transport> transports_ = NewTransports({}, Clock::Real());
  std::unique_ptr<Channel> channel_;
};

TEST_P(TableVersionsSoak, UpdatesReshardingAndTheWayBackUnderLoadFailNoRequestAndMixNoVersions) {
  const int64_t requests = FromEnvironment("PORTICO_SOAK_TABLE_REQUESTS", 100'000);
  ASSERT_NO_FATAL_FAILURE(StartMesh());
  ASSERT_NO_FATAL_FAILURE(StartClients());
  WaitForAnswers(200);
  const absl::Time start = absl::Now();
  int rounds = 0, reshards = 0, kills = 0, backs = 0;
  int64_t warm = 0, peak = 0;
  while (!HasFailure() && (rounds < kLeastRounds || answers_ < requests)) {
    ++rounds;
    if (rounds % 12 == 5) {
      // Applied before, while and after it is divided anew.
      const uint32_t shards = Shards() == 2 ? 4 : 2;
      RunAndKill({"reshard", group_, "--shards", absl::StrCat(shards)});
      PorticoCommand reshard({"table", "reshard", group_, "--shards", absl::StrCat(shards)});
      for (int i = 0; i < 2; ++i) ASSERT_NO_FATAL_FAILURE(Apply());
      ASSERT_EQ(reshard.WaitForEnd(), "exit status 0") << reshard.output();
      ASSERT_EQ(Shards(), shards);
      ASSERT_NO_FATAL_FAILURE(NoteVersions());
      ASSERT_NO_FATAL_FAILURE(Apply());
      WaitForGeneration(generation_);
      const std::string last = ShardName("clicks", shards - 1, shards);
      WaitUntil("the new shards", [&] {
        const NodeStatus status = StatusOf("back-0");
        return std::any_of(status.models.begin(), status.models.end(), [&](const auto& m) { return m.name == last; });
      });
      ++reshards;
    } else if (rounds % 12 == 7) {
      // What is applied while it is away it serves when it is back.
      const std::string victim = kills % 2 == 0 ? "back-0" : "back-1";
      const int64_t pid = StatusOf(victim).pid;
      ASSERT_GT(pid, 0);
      ASSERT_EQ(kill(static_cast<pid_t>(pid), SIGKILL), 0);
      ASSERT_NO_FATAL_FAILURE(Apply());
      WaitForGeneration(generation_);
      WaitUntil("the node that was killed", [&] {
        const NodeStatus status = StatusOf(victim);
        return status.pid != pid && status.ready;
      });
      ++kills;
    } else if (rounds % 12 == 9) {
      const std::vector<int64_t> versions = Versions();
      ASSERT_GE(versions.size(), 3u);
      const int64_t back = versions[versions.size() - 3], generation = generation_of_[back];
      ASSERT_LT(generation, generation_);
      generations_.BeginBack();
      WriteMesh(back);
      WaitForGeneration(generation);
      // Those under way when it became current.
      WaitForAnswers(4 * kInFlight);
      generations_.EndBack(generation);
      ASSERT_NO_FATAL_FAILURE(Apply());
      WaitForAnswers(500);
      generations_.Unpin();
      WriteMesh();
      WaitForGeneration(generation_);
      ++backs;
    } else if (rounds % 12 == 0) {
      ASSERT_NO_FATAL_FAILURE(Compact());
      WaitForAnswers(200);
    } else {
      if (rounds % 4 == 3) ApplyAndKill();
      ASSERT_NO_FATAL_FAILURE(Apply());
      // Now and then the next one follows at once.
      if (rounds % 3 != 0) WaitForGeneration(generation_);
    }
    if (rounds % 50 == 0) {
      std::printf("%lld of %lld requests, %zu versions\n", static_cast<long long>(answers_.load()),
                  static_cast<long long>(requests), generation_of_.size());
      std::fflush(stdout);
    }
    int64_t& most = answers_ < requests / 3 ? warm : peak;
    most = std::max(most, LargestMemory());
  }
  WaitForGeneration(generation_);
  WaitForAnswers(100);
  StopClients();
  EXPECT_EQ(failures_, 0);
  EXPECT_EQ(generations_.last(), generation_);
  if (rounds > kRoundsThatShowLeaks) {
    EXPECT_LT(peak - warm, kToleranceBytes);
  }
  std::printf(
      "%lld requests in %.1f s over %lld versions, %d times divided anew, %d nodes killed, %d times back; a node of "
      "shards has %lld MiB "
      "in the first third, %lld MiB at most since; %lld commands waited for "
      "another, %lld were killed\n",
      static_cast<long long>(answers_.load()), absl::ToDoubleSeconds(absl::Now() - start),
      static_cast<long long>(generation_of_.size()), reshards, kills, backs, static_cast<long long>(warm >> 20),
      static_cast<long long>(peak >> 20), static_cast<long long>(retried_), static_cast<long long>(killed_));
}

INSTANTIATE_TEST_SUITE_P(Caches, TableVersionsSoak, ::testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "WithoutCache" : "WithCache"; });

}  // namespace
}  // namespace portico
