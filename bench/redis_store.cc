#include "bench/redis_store.h"

#include "deploy/process.h"

#ifdef PORTICO_BENCH_REDIS
#include <hiredis/hiredis.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "tests/testing/free_port.h"
#endif

namespace portico::bench {

#ifdef PORTICO_BENCH_REDIS
namespace {

using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

Reply Receive(redisContext* context) {
  void* reply = nullptr;
  PORTICO_CHECK(redisGetReply(context, &reply) == REDIS_OK);
  return Reply(static_cast<redisReply*>(reply), freeReplyObject);
}

/// Hands commands to the kernel at once.
void Flush(redisContext* context) {
  int done = 0;
  while (done == 0) PORTICO_CHECK(redisBufferWrite(context, &done) == REDIS_OK);
}

/// One client: its MGETs, pipelined.
class Client {
 public:
  Client(redisContext* context, const RedisStore::Load& load, absl::Span<const int64_t> ids)
      : context_(context), load_(load), ids_(ids), words_(RedisStore::kKeys + 1), sizes_(RedisStore::kKeys + 1) {
    words_[0] = "MGET";
    sizes_[0] = 4;
    std::fill(sizes_.begin() + 1, sizes_.end(), sizeof(int64_t));
    out_.resize(RedisStore::kKeys * load.dim);
  }

  uint64_t Run() {
    for (int i = 0; i < load_.depth; ++i) Ask();
    uint64_t keys = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto until = start + std::chrono::duration<double>(load_.seconds);
    while (std::chrono::steady_clock::now() < until) {
      Take();
      keys += RedisStore::kKeys;
      Ask();
    }
    for (int i = 0; i < load_.depth; ++i) Take();
    return keys + static_cast<uint64_t>(load_.depth) * RedisStore::kKeys;
  }

 private:
  void Ask() {
    for (size_t i = 0; i < RedisStore::kKeys; ++i) {
      words_[i + 1] = reinterpret_cast<const char*>(&ids_[next_]);
      if (++next_ == ids_.size()) next_ = 0;
    }
    PORTICO_CHECK(redisAppendCommandArgv(context_, static_cast<int>(words_.size()), words_.data(), sizes_.data()) ==
                  REDIS_OK);
    Flush(context_);
  }
  void Take() {
    const Reply reply = Receive(context_);
    PORTICO_CHECK(reply->type == REDIS_REPLY_ARRAY && reply->elements == RedisStore::kKeys);
    const size_t bytes = load_.dim * sizeof(float);
    if (load_.pooling > 1) std::fill(out_.begin(), out_.end(), 0.0f);
    for (size_t i = 0; i < RedisStore::kKeys; ++i) {
      const redisReply& row = *reply->element[i];
      PORTICO_CHECK(row.type == REDIS_REPLY_STRING && row.len == bytes);
      float* const out = out_.data() + i / load_.pooling * load_.dim;
      if (load_.pooling == 1) {
        std::memcpy(out, row.str, bytes);
        continue;
      }
      for (size_t d = 0; d < load_.dim; ++d) {
        float value;
        std::memcpy(&value, row.str + d * sizeof(float), sizeof(value));
        out[d] += value;
      }
    }
  }

  redisContext* const context_;
  const RedisStore::Load& load_;
  const absl::Span<const int64_t> ids_;
  size_t next_ = 0;
  std::vector<const char*> words_;
  std::vector<size_t> sizes_;
  std::vector<float> out_;
};

}  // namespace

std::unique_ptr<RedisStore> RedisStore::Start(const std::string& folder) {
  std::unique_ptr<RedisStore> store(new RedisStore());
  store->socket_ = folder + "/redis.sock";
  store->port_ = FreePort();
  auto server =
      Process::Start({PORTICO_BENCH_REDIS, "--port", absl::StrCat(store->port_), "--bind", "127.0.0.1", "--unixsocket",
                      store->socket_, "--save", "", "--appendonly", "no", "--dir", folder, "--loglevel", "warning"});
  PORTICO_CHECK(server.ok());
  store->server_ = *std::move(server);
  for (const absl::Time end = absl::Now() + absl::Seconds(10); store->context_ == nullptr;) {
    PORTICO_CHECK(absl::Now() < end);
    absl::SleepFor(absl::Milliseconds(10));
    store->context_ = store->Connect(false);
  }
  return store;
}

RedisStore::~RedisStore() { redisFree(context_); }

pid_t RedisStore::pid() const { return server_->pid(); }

redisContext* RedisStore::Connect(bool tcp) const {
  redisContext* const context = tcp ? redisConnect("127.0.0.1", port_) : redisConnectUnix(socket_.c_str());
  PORTICO_CHECK(context != nullptr);
  if (context->err == 0) return context;
  redisFree(context);
  return nullptr;
}

void RedisStore::Put(absl::Span<const int64_t> ids, absl::Span<const float> rows) {
  const size_t dim = rows.size() / ids.size();
  std::vector<const char*> words = {"MSET"};
  std::vector<size_t> sizes = {4};
  for (size_t i = 0; i < ids.size(); ++i) {
    words.push_back(reinterpret_cast<const char*>(&ids[i]));
    sizes.push_back(sizeof(int64_t));
    words.push_back(reinterpret_cast<const char*>(rows.data() + i * dim));
    sizes.push_back(dim * sizeof(float));
  }
  PORTICO_CHECK(redisAppendCommandArgv(context_, static_cast<int>(words.size()), words.data(), sizes.data()) ==
                REDIS_OK);
  PORTICO_CHECK(Receive(context_)->type == REDIS_REPLY_STATUS);
}

double RedisStore::Measure(const Load& load, const std::vector<int64_t>& ids) const {
  std::vector<std::thread> threads;
  std::atomic<uint64_t> keys{0};
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < load.clients; ++i) {
    const size_t share = ids.size() / static_cast<size_t>(load.clients);
    threads.emplace_back([&, part = absl::MakeConstSpan(ids).subspan(share * static_cast<size_t>(i), share)] {
      redisContext* const context = Connect(load.tcp);
      PORTICO_CHECK(context != nullptr);
      keys += Client(context, load, part).Run();
      redisFree(context);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(keys.load()) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
#else
std::unique_ptr<RedisStore> RedisStore::Start(const std::string&) { return nullptr; }
RedisStore::~RedisStore() = default;
pid_t RedisStore::pid() const { return 0; }
void RedisStore::Put(absl::Span<const int64_t>, absl::Span<const float>) {}
double RedisStore::Measure(const Load&, const std::vector<int64_t>&) const { return 0; }
#endif

}  // namespace portico::bench
