#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/transport.h"

namespace portico {

/// Time that tests set.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Time now = absl::FromUnixSeconds(1'000'000);
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

  void Connected(const std::string& endpoint, std::vector<PeerState::Served> served = {}) {
    PeerState state;
    state.connected = true;
    state.node = absl::StrCat("node-of-", endpoint);
    state.served = std::move(served);
    options_.at(endpoint).on_state(state);
  }
  void Lost(const std::string& endpoint) { options_.at(endpoint).on_state(PeerState()); }

  std::vector<Call> calls;
  std::map<std::string, int> connects;

 private:
  class FakeChannel final : public Channel {
   public:
    FakeChannel(FakeTransport& transport, std::string endpoint)
        : transport_(transport), endpoint_(std::move(endpoint)) {}
    ~FakeChannel() override {
      for (FakeTransport::Call& call : transport_.calls) {
        if (call.endpoint == endpoint_ && call.done) call.Fail(absl::CancelledError("closed"));
      }
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
    void Cancel(uint64_t) override {}

   private:
    FakeTransport& transport_;
    const std::string endpoint_;
  };

  std::map<std::string, ChannelOptions> options_;
};

}  // namespace portico
