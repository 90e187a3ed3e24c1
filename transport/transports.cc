#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "transport/transport.h"

namespace portico {
namespace {

/// Hands each endpoint to the transport of its scheme.
class Transports final : public Transport {
 public:
  Transports(const TransportsOptions& options, const Clock& clock) {
    // The table of this folder: a transport is one line here.
    owned_.push_back(NewZmqTransport(options.zmq, clock));
    schemes_.push_back({"zmq+tcp", owned_.back().get()});
    schemes_.push_back({"zmq+ipc", owned_.back().get()});
    owned_.push_back(NewStreamTransport(options.stream, clock));
    schemes_.push_back({"tcp", owned_.back().get()});
    schemes_.push_back({"unix", owned_.back().get()});
    schemes_.push_back({"shm", owned_.back().get()});
    owned_.push_back(NewGrpcTransport(clock));
    schemes_.push_back({"grpc", owned_.back().get()});
    owned_.push_back(NewForeignTransport(clock));
    for (const char* scheme :
         {"tfs+grpc", "tfs+grpcs", "tfs+http", "tfs+https", "v2+grpc", "v2+grpcs", "v2+http", "v2+https"}) {
      schemes_.push_back({scheme, owned_.back().get()});
    }
    owned_.push_back(NewInprocTransport(clock));
    schemes_.push_back({"inproc", owned_.back().get()});
  }

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(Transport * transport, Find(endpoint));
    return transport->Connect(endpoint, std::move(options));
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    ASSIGN_OR_RETURN(Transport * transport, Find(endpoint));
    return transport->Listen(endpoint, handler, std::move(options));
  }

 private:
  struct Scheme {
    absl::string_view name;
    Transport* transport;
  };

  absl::StatusOr<Transport*> Find(absl::string_view endpoint) const {
    const absl::string_view wanted = endpoint.substr(0, endpoint.find("://"));
    for (const Scheme& scheme : schemes_) {
      if (scheme.name == wanted) return scheme.transport;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint '", endpoint, "': got scheme '", wanted, "', want one of ",
                     absl::StrJoin(schemes_, ", ",
                                   [](std::string* out, const Scheme& scheme) { absl::StrAppend(out, scheme.name); })));
  }

  std::vector<std::unique_ptr<Transport>> owned_;
  std::vector<Scheme> schemes_;
};

}  // namespace

std::unique_ptr<Transport> NewTransports(const TransportsOptions& options, const Clock& clock) {
  return std::make_unique<Transports>(options, clock);
}

}  // namespace portico
