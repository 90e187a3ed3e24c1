#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/metric.h"
#include "base/timer.h"
#include "transport/transport.h"

namespace portico {

/// Time that tests set.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Time now = absl::FromUnixSeconds(1'000'000);
};

/// Runs what is due when the test says so. For one thread.
class ManualTimer final : public Timer {
 public:
  /// `clock` is not owned and must outlive the timer.
  explicit ManualTimer(const Clock& clock) : clock_(clock) {}
  void ScheduleAt(absl::Time at, Executor::Task task) override {
    ++scheduled_;
    tasks_.emplace(at, std::move(task));
  }
  size_t queued() const { return tasks_.size(); }
  /// Tasks so far.
  int scheduled() const { return scheduled_; }
  void RunDue() {
    while (!tasks_.empty() && tasks_.begin()->first <= clock_.Now()) {
      Executor::Task task = std::move(tasks_.extract(tasks_.begin()).mapped());
      task();
    }
  }

 private:
  const Clock& clock_;
  int scheduled_ = 0;
  std::multimap<absl::Time, Executor::Task> tasks_;
};

/// Counters and gauges to be looked at, by name: the sum over all labels. For one thread.
class CountedMetrics final : public MetricRegistry {
 public:
  Counter& NewCounter(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return Find(counters_, name, labels);
  }
  Gauge& NewGauge(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return Find(gauges_, name, labels);
  }
  Histogram& NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                          const std::vector<double>& buckets) override {
    return MetricRegistry::Null().NewHistogram(name, help, labels, buckets);
  }
  double Value(const std::string& name) const {
    double sum = 0;
    for (const auto& [key, counter] : counters_) sum += key.first == name ? counter.value : 0;
    for (const auto& [key, gauge] : gauges_) sum += key.first == name ? gauge.value : 0;
    return sum;
  }

 private:
  struct Count final : Counter {
    void Add(double amount) override { value += amount; }
    double value = 0;
  };
  struct Level final : Gauge {
    void Add(double amount) override { value += amount; }
    void Set(double to) override { value = to; }
    double value = 0;
  };
  template <typename T>
  static T& Find(std::map<std::pair<std::string, MetricLabels>, T>& all, absl::string_view name,
                 const MetricLabels& labels) {
    return all[{std::string(name), labels}];
  }
  std::map<std::pair<std::string, MetricLabels>, Count> counters_;
  std::map<std::pair<std::string, MetricLabels>, Level> gauges_;
};

/// A transport whose peers are the test: it says who is connected and answers the calls. For one thread.
class FakeTransport final : public Transport {
 public:
  /// A call as it came, strings copied.
  struct Call {
    std::string endpoint;
    PeerHeader header;
    std::string servable, signature, tenant, product;
    Digest digest;
    std::vector<std::string> names;
    std::vector<Tensor> tensors;
    Deadline deadline;
    Channel::Done done;

    void Reply(const PeerHeader& reply = {}, std::vector<Tensor> outputs = {}) {
      PeerMessage message;
      message.header = reply;
      message.tensors = std::move(outputs);
      std::exchange(done, nullptr)(std::move(message));
    }
    void Fail(absl::Status status) { std::exchange(done, nullptr)(std::move(status)); }
  };

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    if (!absl::StrContains(endpoint, "://"))
      return absl::InvalidArgumentError(absl::StrCat("endpoint: got '", endpoint, "'"));
    options_[endpoint] = std::move(options);
    ++connects[endpoint];
    return std::make_unique<FakeChannel>(*this, endpoint);
  }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, CallHandler&, ListenOptions) override {
    return absl::UnimplementedError("the test is the peer");
  }

  void Connected(const std::string& endpoint, std::vector<PeerState::Served> served = {}, bool lists_all = false) {
    PeerState state;
    state.lists_all = lists_all;
    state.connected = true;
    state.node = absl::StrCat("node-of-", endpoint);
    state.served = std::move(served);
    options_.at(endpoint).on_state(state);
  }
  void Lost(const std::string& endpoint) { options_.at(endpoint).on_state(PeerState()); }

  std::vector<Call> calls;
  /// Indexes into `calls` of those that were open and cancelled.
  std::vector<size_t> cancelled;
  /// Whether what is cancelled completes at once.
  bool cancel_completes = true;
  std::map<std::string, int> connects;
  /// Channels closed so far. Those that nobody uses any more are closed by another thread: wait for this before the
  /// next look at `calls`.
  std::atomic<int> closed{0};

 private:
  class FakeChannel final : public Channel {
   public:
    FakeChannel(FakeTransport& transport, std::string endpoint)
        : transport_(transport), endpoint_(std::move(endpoint)) {}
    ~FakeChannel() override {
      for (FakeTransport::Call& call : transport_.calls) {
        if (call.endpoint == endpoint_ && call.done) call.Fail(absl::CancelledError("closed"));
      }
      ++transport_.closed;
    }
    uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override {
      FakeTransport::Call call;
      call.endpoint = endpoint_;
      call.header = header;
      call.servable = std::string(header.servable);
      call.signature = std::string(header.signature);
      call.tenant = std::string(header.tenant);
      call.product = std::string(header.product);
      call.digest = *Digest::FromBytes(header.digest);
      for (const TensorMeta& meta : header.tensors) call.names.emplace_back(meta.name);
      call.tensors.assign(tensors.begin(), tensors.end());
      call.deadline = deadline;
      call.done = std::move(done);
      transport_.calls.push_back(std::move(call));
      return transport_.calls.size();
    }
    void Cancel(uint64_t call_id) override {
      const size_t index = call_id - 1;
      if (!transport_.calls[index].done) return;
      transport_.cancelled.push_back(index);
      if (!transport_.cancel_completes) return;
      std::exchange(transport_.calls[index].done, nullptr)(absl::CancelledError("the caller cancelled the call"));
    }

   private:
    FakeTransport& transport_;
    const std::string endpoint_;
  };

  std::map<std::string, ChannelOptions> options_;
};

}  // namespace portico
