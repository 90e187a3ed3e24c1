// Lookups over the wire: a node with portals EmbeddingBag in this process, processes `portico serve` with the shards.
// Beside it, for the same rows over the same kind of socket: Redis MGET of 1,000 keys, pipelined. What updates do to
// the tail while a version of 100,000 rows a second is applied and rolled out.
//
// PORTICO_BENCH_WIRE_ROWS: rows of a table (default 1 million).

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/mutex.h"
#include "bench/load_generator.h"
#include "bench/redis_store.h"
#include "bench/scenarios.h"
#include "bench/table_mesh.h"
#include "cli/http_client.h"
#include "cli/metrics_text.h"
#include "embedding/shard_map.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 5;
constexpr absl::Duration kRound = absl::Milliseconds(400);
/// Calls under way in closed loops.
constexpr int kInFlight = 8;

size_t Rows() { return Setting("PORTICO_BENCH_WIRE_ROWS", 1'000'000, 200'000); }

struct Case {
  uint32_t shards;
  /// 1: rows; else sums of so many.
  size_t pooling;
  /// Bags.
  size_t batch;
  /// 0: uniform; else the share of rank r is about r^-alpha.
  double alpha;
  /// Different ones, asked in turn.
  int requests = 32;

  std::string Name() const {
    return absl::StrCat(pooling == 1 ? "rows" : absl::StrCat("sum", pooling), ".batch", batch, ".shards", shards,
                        alpha == 0 ? "" : absl::StrFormat(".zipf%d", static_cast<int>(alpha * 100 + 0.5)));
  }
  size_t ids() const { return pooling * batch; }
};

/// What requests ask for, and the calls: request after request of a case, in turn.
class Caller {
 public:
  Caller(TableMesh& mesh, const Case& what, size_t rows) : mesh_(mesh), inference_(mesh.caller().inference()) {
    auto servable =
        inference_.servables().Resolve({.name = absl::StrCat(what.pooling == 1 ? "one" : "sum", what.shards)});
    PORTICO_CHECK(servable.ok());
    servable_ = *std::move(servable);
    std::mt19937_64 random(11);
    std::uniform_real_distribution<double> uniform(0, 1);
    const auto draw = [&] {
      if (what.alpha == 0) return static_cast<size_t>(uniform(random) * static_cast<double>(rows));
      const double power = 1 - what.alpha;
      const double top = std::pow(static_cast<double>(rows), power) - 1;
      const auto rank = static_cast<size_t>(std::pow(top * uniform(random) + 1, 1 / power)) - 1;
      // Neighbours in rank are none in memory.
      return rank * 7919 % rows;
    };
    for (int i = 0; i < what.requests; ++i) {
      std::vector<int64_t> ids(what.ids());
      firsts_.emplace_back(0);
      for (size_t n = 0; n < ids.size(); ++n) {
        const size_t row = std::min(draw(), rows - 1);
        ids[n] = WireId(row);
        if (n < what.pooling) firsts_.back() += static_cast<float>(row % 65536);
      }
      Shape shape = {static_cast<int64_t>(what.batch)};
      if (what.pooling > 1) shape.push_back(static_cast<int64_t>(what.pooling));
      requests_.push_back(Tensor::Of<int64_t>(std::move(shape), absl::MakeConstSpan(ids)));
    }
  }

  /// From any thread.
  void Send(absl::AnyInvocable<void(const absl::Status&)> done) {
    const size_t which = next_.fetch_add(1, std::memory_order_relaxed) % requests_.size();
    inference_.Run(RequestApi::kPeer, servable_, servable_->signatures()[0], mesh_.NewRequest(), {requests_[which]},
                   [done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable {
                     if (!outputs.ok()) std::fprintf(stderr, "%s\n", outputs.status().ToString().c_str());
                     done(outputs.status());
                   });
  }

  /// Whether the first row of an answer is what the tables were built with.
  void Check() {
    Mutex mutex;
    CondVar came;
    bool done = false;
    inference_.Run(RequestApi::kPeer, servable_, servable_->signatures()[0], mesh_.NewRequest(), {requests_[0]},
                   [&](absl::StatusOr<std::vector<Tensor>> outputs) {
                     if (!outputs.ok()) std::fprintf(stderr, "%s\n", outputs.status().ToString().c_str());
                     PORTICO_CHECK(outputs.ok());
                     const float got = (*outputs)[0].data<float>()[0];
                     PORTICO_CHECK(std::abs(got - firsts_[0]) <= 1e-6f * std::abs(firsts_[0]));
                     MutexLock lock(&mutex);
                     done = true;
                     came.NotifyOne();
                   });
    MutexLock lock(&mutex);
    while (!done) came.Wait(&mutex);
  }

  /// Requests a second with `in_flight` always under way.
  double Rate(absl::Duration length, int in_flight = kInFlight) {
    struct State {
      Mutex mutex;
      CondVar ended;
      int under_way ABSL_GUARDED_BY(mutex) = 0;
      std::atomic<int64_t> answered{0};
    } state;
    const absl::Time start = absl::Now();
    std::function<void()> send = [&] {
      if (absl::Now() - start < length) {
        return Send([&](const absl::Status& status) {
          PORTICO_CHECK(status.ok());
          state.answered.fetch_add(1, std::memory_order_relaxed);
          send();
        });
      }
      MutexLock lock(&state.mutex);
      if (--state.under_way == 0) state.ended.NotifyOne();
    };
    {
      MutexLock lock(&state.mutex);
      state.under_way = in_flight;
    }
    for (int i = 0; i < in_flight; ++i) send();
    MutexLock lock(&state.mutex);
    while (state.under_way > 0) state.ended.Wait(&state.mutex);
    return static_cast<double>(state.answered.load()) / absl::ToDoubleSeconds(absl::Now() - start);
  }

  /// Latencies of an open loop, from when each was meant to leave.
  void Offer(double calls_per_second, absl::Duration length, uint64_t seed, LoadResult* result) {
    OpenLoad load;
    load.calls_per_second = calls_per_second;
    load.duration = length;
    load.seed = seed;
    // Real-time priority is for the clock of it alone: neither for what portals do on the thread that calls them, nor
    // for threads and processes that this one starts later.
    ThreadPool senders({.threads = 1, .name = "sender"});
    std::thread clock([&] {
      GenerateLoad(
          load,
          [&](auto done) { senders.Schedule([this, done = std::move(done)]() mutable { Send(std::move(done)); }); },
          result);
    });
    clock.join();
    PORTICO_CHECK(result->failed == 0);
  }

 private:
  TableMesh& mesh_;
  Inference& inference_;
  std::shared_ptr<const Servable> servable_;
  std::vector<Tensor> requests_;
  /// By request: the first number of its answer.
  std::vector<float> firsts_;
  std::atomic<size_t> next_{0};
};

/// Bytes that have come in over loopback, of all processes here.
double LoopbackBytes() {
  std::ifstream in("/proc/net/dev");
  for (std::string line; std::getline(in, line);) {
    const size_t at = line.find("lo:");
    if (at != std::string::npos) return std::strtod(line.c_str() + at + 3, nullptr);
  }
  return 0;
}

double ResidentBytesOf(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::strtod(line.c_str() + 6, nullptr) * 1024;
  }
  return 0;
}

/// Of the bytes that shards have answered so far, those of sums.
std::pair<double, double> SumsAndRows(Node& node) {
  const auto answer = CallHttp(node.http_address(), {.target = "/metrics"});
  PORTICO_CHECK(answer.ok());
  const auto metrics = MetricsText::Parse(answer->body);
  PORTICO_CHECK(metrics.ok());
  double sums = 0, rows = 0;
  for (const auto& [labels, value] : metrics->Values("portico_embedding_bytes_total")) {
    (labels.at("form") == "sums" ? sums : rows) += value;
  }
  return {sums, rows};
}

void AddLatency(Report& report, const std::string& name, const LoadResult& result) {
  for (const auto& [what, share] : {std::pair("p50", 0.5), {"p99", 0.99}, {"p99.9", 0.999}}) {
    if (result.latency.count() * (1 - share) < 1) continue;  // That would be the slowest one.
    report.Add({.name = absl::StrCat(name, ".", what),
                .value = absl::ToDoubleMicroseconds(result.latency.Percentile(share)),
                .unit = "us"});
  }
}

/// Rows a second, then latencies at a third of that.
void RunCase(Report& report, TableMesh& mesh, const std::string& socket, const Case& what, size_t rows) {
  Caller caller(mesh, what, rows);
  caller.Check();
  caller.Rate(kRound / 4);
  const auto before = SumsAndRows(mesh.caller());
  std::vector<double> rates;
  for (int round = 0; round < 3; ++round) rates.push_back(caller.Rate(kRound));
  const auto after = SumsAndRows(mesh.caller());
  const double rate = Median(rates);
  const std::string name = absl::StrCat("embedding.wire.", socket, ".", what.Name());
  const double sums = after.first - before.first, all = sums + after.second - before.second;
  report.Add({.name = name, .value = rate * static_cast<double>(what.ids()), .unit = "rows/s"});
  std::printf("# answered as %s; latencies at %.0f calls/s of %.0f\n",
              sums == all ? "sums"
              : sums == 0 ? "rows"
                          : "sums and rows",
              rate / 3, rate);
  LoadResult result;
  caller.Offer(rate / 3, absl::Seconds(std::clamp(3000 / rate, 0.8, 3.0)), 1, &result);
  AddLatency(report, name, result);
}

/// The same ids in the same order for both, in turn.
void RunBesideRedis(Report& report, TableMesh& mesh, const RedisStore& redis, const std::string& socket,
                    const Case& what, size_t rows) {
  Caller caller(mesh, what, rows);
  caller.Check();
  std::vector<int64_t> ids;
  std::mt19937_64 random(5);
  for (size_t i = 0; i < 256 * RedisStore::kKeys; ++i) ids.push_back(WireId(random() % rows));
  RedisStore::Load load;
  load.tcp = socket == "tcp";
  load.pooling = what.pooling;
  load.dim = kWireDim;
  load.seconds = absl::ToDoubleSeconds(kRound);
  caller.Rate(kRound / 4);
  // As many under way in all: by one client or by two, whichever is faster.
  std::vector<double> ours, one, two;
  double our_bytes = 0, our_rows = 0, its_bytes = 0, its_rows = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double at = LoopbackBytes();
    ours.push_back(caller.Rate(kRound) * static_cast<double>(what.ids()));
    const double then = LoopbackBytes();
    our_bytes += then - at;
    our_rows += ours.back() * absl::ToDoubleSeconds(kRound);
    load.clients = 1;
    load.depth = kInFlight;
    one.push_back(redis.Measure(load, ids));
    its_bytes += LoopbackBytes() - then;
    its_rows += one.back() * absl::ToDoubleSeconds(kRound);
    load.clients = 2;
    load.depth = kInFlight / 2;
    two.push_back(redis.Measure(load, ids));
  }
  const std::string name = absl::StrCat("embedding.wire.", socket, ".", what.Name());
  report.Add({.name = name + ".of_redis",
              .value = Median(ours),
              .unit = "rows/s",
              .baseline = std::max(Median(one), Median(two)),
              .at_least = 5});
  if (!load.tcp) return;
  report.Add({.name = name + ".bytes_of_redis",
              .value = our_bytes / our_rows,
              .unit = "B/row",
              .baseline = its_bytes / its_rows});
}

std::unique_ptr<RedisStore> StartRedis(const TempFolder& folder) {
  auto redis = RedisStore::Start(folder.path());
  if (redis == nullptr) {
    std::printf("# no Redis beside it: built without hiredis (libhiredis-dev, redis-server); it is left out\n");
  }
  return redis;
}

/// Memory of a shard of all rows, each of which was asked for, and of Redis.
void RunMemory(Report& report, const TempFolder& folder, const RedisStore* redis, size_t rows) {
  TableMesh mesh(folder.path(), {1}, false);
  Caller caller(mesh, {.shards = 1, .pooling = 1, .batch = 8192, .alpha = 0}, rows);
  // Meanwhile the scrubber reads all of the file.
  caller.Rate(absl::Seconds(2));
  report.Add({.name = "embedding.wire.resident_beside_redis",
              .value = ResidentBytesOf(mesh.pids()[0]) / static_cast<double>(rows),
              .unit = "B/row",
              .baseline = redis == nullptr ? 0 : ResidentBytesOf(redis->pid()) / static_cast<double>(rows)});
}

void RunWire(Report& report) {
  const size_t rows = Rows();
  const TempFolder folder;
  const auto redis = StartRedis(folder);
  for (const uint32_t shards : {1u, 2u, 4u}) {
    std::function<void(absl::Span<const int64_t>, absl::Span<const float>)> put;
    if (redis != nullptr && shards == 1) put = [&](auto ids, auto values) { redis->Put(ids, values); };
    BuildWireGroup(folder.path(), absl::StrCat("g", shards), shards, rows, put);
  }
  sync();  // The kernel would write them back while we measure.
  RunMemory(report, folder, redis.get(), rows);
  const Case kRowsOf1000[] = {{1, 1, 1000, 0}, {2, 1, 1000, 0}};
  const Case kSums[] = {{1, 32, 512, 0}, {2, 32, 512, 0}};
  for (const bool tcp : {false, true}) {
    const std::string socket = tcp ? "tcp" : "unix";
    TableMesh mesh(folder.path(), {1, 2, 4}, tcp);
    if (redis != nullptr) {
      for (const Case& what : kRowsOf1000) RunBesideRedis(report, mesh, *redis, socket, what, rows);
      for (const Case& what : kSums) RunBesideRedis(report, mesh, *redis, socket, what, rows);
    }
    std::vector<Case> cases = {{1, 32, 512, 0}, {2, 32, 512, 0}, {4, 32, 512, 0}, {2, 1, 512, 0}};
    if (!tcp) {
      cases.insert(cases.end(), {{2, 32, 512, 0.99},
                                 {2, 32, 512, 1.2},
                                 {2, 32, 64, 0},
                                 {1, 1, 512, 0},
                                 {4, 1, 512, 0},
                                 {2, 1, 512, 0.99},
                                 {2, 1, 512, 1.2},
                                 {2, 1, 64, 0}});
    }
    for (const Case& what : cases) RunCase(report, mesh, socket, what, rows);
  }
}

// --- Rows that the caller keeps ---

/// Rows a second and bytes on the wire without a cache and with one, the same requests in the same order in turn. A
/// million ids go by before one comes again for having been there before.
void RunCache(Report& report) {
  const size_t rows = Rows();
  const TempFolder folder;
  BuildWireGroup(folder.path(), "g2", 2, rows);
  sync();
  const auto kept = [](Node& node) {
    const auto answer = CallHttp(node.http_address(), {.target = "/metrics"});
    PORTICO_CHECK(answer.ok());
    const auto metrics = MetricsText::Parse(answer->body);
    PORTICO_CHECK(metrics.ok());
    double hits = 0, all = 0;
    for (const auto& [labels, value] : metrics->Values("portico_embedding_cache_ids_total")) {
      all += value;
      if (labels.at("came") == "hit") hits += value;
    }
    return std::pair(hits, all);
  };
  for (const uint64_t mib : {16u, 64u}) {
    for (const auto& [alpha, pooling] : {std::pair(0.99, size_t{1}), {1.2, size_t{1}}, {1.2, size_t{32}}}) {
      const Case what{
          .shards = 2, .pooling = pooling, .batch = 512, .alpha = alpha, .requests = pooling == 1 ? 2048 : 64};
      std::vector<double> rates[2], bytes[2];
      double share = 0;
      // Meshes in turn would share two cores with each other.
      for (int with = 0; with < 2; ++with) {
        TableMesh mesh(folder.path(), {2}, true, with == 0 ? 0 : mib);
        Caller caller(mesh, what, rows);
        caller.Check();
        caller.Rate(absl::Seconds(2));
        const auto before = kept(mesh.caller());
        for (int round = 0; round < kRounds; ++round) {
          const double at = LoopbackBytes();
          rates[with].push_back(caller.Rate(kRound) * static_cast<double>(what.ids()));
          bytes[with].push_back((LoopbackBytes() - at) / (rates[with].back() * absl::ToDoubleSeconds(kRound)));
        }
        const auto after = kept(mesh.caller());
        share = (after.first - before.first) / std::max(1.0, after.second - before.second);
      }
      const std::string name = absl::StrCat("embedding.wire.cache", mib, "mib.", what.Name());
      std::printf("# of distinct ids %.0f %% were kept\n", 100 * share);
      report.Add({.name = name, .value = Median(rates[1]), .unit = "rows/s", .baseline = Median(rates[0])});
      report.Add({.name = name + ".bytes", .value = Median(bytes[1]), .unit = "B/row", .baseline = Median(bytes[0])});
    }
  }
}

// --- Updates ---

void WriteNpy(const std::string& path, const std::string& type, const std::string& shape, absl::string_view bytes) {
  std::string header = absl::StrCat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", shape, "), }");
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::ofstream out(path, std::ios::binary);
  out << "\x93NUMPY\x01" << '\0' << static_cast<char>(header.size() % 256) << static_cast<char>(header.size() / 256)
      << header << bytes;
  PORTICO_CHECK(out.good());
}

/// A version of 100,000 rows a second by `portico table apply`, each rolled out as soon as it and the one before are
/// there, until it is stopped.
class Updater {
 public:
  static constexpr size_t kUpdates = 100'000;
  static constexpr int kSets = 4;

  Updater(TableMesh& mesh, const TempFolder& folder, size_t rows) : mesh_(mesh), folder_(folder.path()) {
    std::vector<float> values(kUpdates * kWireDim, 0.5f);
    WriteNpy(folder_ + "/rows.npy", "<f4", absl::StrCat(kUpdates, ", ", kWireDim),
             {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    for (int set = 0; set < kSets; ++set) {
      std::vector<int64_t> ids;
      const size_t step = rows / kUpdates;
      for (size_t i = 0; i < kUpdates; ++i) ids.push_back(WireId(i * step + static_cast<size_t>(set) % step));
      WriteNpy(IdsPath(set), "<i8", absl::StrCat(kUpdates, ","),
               {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int64_t)});
    }
  }

  /// Updates while `work` runs; versions a second that were rolled out.
  double During(const std::function<void()>& work) {
    stop_ = false;
    const absl::Time start = absl::Now();
    const int64_t before = rolled_out_;
    std::thread apply([this] { Apply(); });
    std::thread roll_out([this] { RollOut(); });
    work();
    stop_ = true;
    apply.join();
    roll_out.join();
    return static_cast<double>(rolled_out_ - before) / absl::ToDoubleSeconds(absl::Now() - start);
  }
  double apply_seconds() const { return Median(apply_seconds_); }
  double roll_out_seconds() const { return Median(roll_out_seconds_); }

 private:
  std::string IdsPath(int set) const { return absl::StrCat(folder_, "/ids", set, ".npy"); }

  void Apply() {
    for (absl::Time next = absl::Now(); !stop_; next += absl::Seconds(1)) {
      while (absl::Now() < next && !stop_) absl::SleepFor(absl::Milliseconds(5));
      const absl::Time start = absl::Now();
      auto process = Process::Start({PorticoPath(), "table", "apply", folder_ + "/g2", "--table", kWireTable,
                                     "--upserts", folder_ + "/rows.npy", "--ids",
                                     IdsPath(static_cast<int>(applied_ % kSets)), "--compact-at", "0"});
      PORTICO_CHECK(process.ok());
      (*process)->Wait();
      PORTICO_CHECK((*process)->succeeded());
      apply_seconds_.push_back(absl::ToDoubleSeconds(absl::Now() - start));
      ++applied_;
    }
  }
  void RollOut() {
    while (!stop_ || rolled_out_ < applied_) {
      const int64_t applied = applied_;
      if (rolled_out_ == applied) {
        absl::SleepFor(absl::Milliseconds(5));
        continue;
      }
      const absl::Time start = absl::Now();
      mesh_.RollOut();
      roll_out_seconds_.push_back(absl::ToDoubleSeconds(absl::Now() - start));
      rolled_out_ = applied;
    }
  }

  TableMesh& mesh_;
  const std::string folder_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> applied_{0}, rolled_out_{0};
  std::vector<double> apply_seconds_, roll_out_seconds_;
};

void RunUpdates(Report& report) {
  const size_t rows = Rows();
  const TempFolder folder;
  BuildWireGroup(folder.path(), "g2", 2, rows);
  sync();
  TableMesh mesh(folder.path(), {2}, false);
  Caller caller(mesh, {.shards = 2, .pooling = 32, .batch = 64, .alpha = 0}, rows);
  caller.Check();
  Updater updater(mesh, folder, rows);
  caller.Rate(absl::Seconds(2));
  std::vector<double> rates;
  for (int round = 0; round < 3; ++round) rates.push_back(caller.Rate(kRound));
  const auto p99 = [](const LoadResult& result) { return absl::ToDoubleMicroseconds(result.latency.Percentile(0.99)); };
  std::vector<double> updates;
  for (const double share : {0.1, 0.3}) {
    const double offered = share * Median(rates);
    std::vector<double> idle, beside, ratios;
    for (int round = 0; round < kRounds; ++round) {
      const auto seed = static_cast<uint64_t>(round) + 1;
      LoadResult quiet, busy;
      caller.Offer(offered, absl::Seconds(5), seed, &quiet);
      const double versions = updater.During([&] { caller.Offer(offered, absl::Seconds(5), seed, &busy); });
      idle.push_back(p99(quiet));
      beside.push_back(p99(busy));
      ratios.push_back(beside.back() / idle.back());
      updates.push_back(versions * Updater::kUpdates);
    }
    std::printf("# %.0f calls/s of %.0f; a version applied in %.2f s, rolled out in %.2f s\n", offered, Median(rates),
                updater.apply_seconds(), updater.roll_out_seconds());
    report.Add(
        {.name = absl::StrFormat("embedding.wire.updates.p99_beside_idle.load%d", static_cast<int>(share * 100 + 0.5)),
         .value = Median(beside),
         .unit = "us",
         .baseline = Median(idle),
         .ratio = Median(ratios),
         .at_most = 1.25});
  }
  report.Add({.name = "embedding.wire.updates.rate", .value = Median(updates), .unit = "rows/s"});
}

}  // namespace

std::vector<Scenario> EmbeddingWireScenarios() {
  // Not a line for each model that loads.
  const auto quietly = [](void (*run)(Report&)) {
    return [run](Report& report) {
      PORTICO_CHECK(SetLogLevel("warning"));
      run(report);
    };
  };
  return {{"embedding.wire", "lookups through a portal of tables to shards that are processes, beside Redis MGET",
           quietly(RunWire)},
          {"embedding.wire.cache", "the same with the rows that are asked for most kept by the caller, and without",
           quietly(RunCache)},
          {"embedding.wire.updates", "their tail while a version of 100,000 rows a second is applied and rolled out",
           quietly(RunUpdates)}};
}

}  // namespace portico::bench
