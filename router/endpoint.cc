#include "router/endpoint.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {

void Endpoint::Connect(Transport& transport, ChannelOptions options) {
  options.on_state = [this](const PeerState& state) { OnState(state); };
  absl::StatusOr<std::unique_ptr<Channel>> channel = transport.Connect(url_, std::move(options));
  if (channel.ok()) {
    channel_ = *std::move(channel);
  } else {
    connect_status_ = channel.status();
  }
}

void Endpoint::OnState(const PeerState& state) {
  MutexLock lock(&mutex_);
  state_ = state;
  heard_ = true;
  was_connected_ |= state.connected;
  version_.fetch_add(1, std::memory_order_release);
}

bool Endpoint::MayHold(const PeerState& state, const ServableRef& wanted) {
  if (state.served.empty()) return !state.lists_all;
  return std::any_of(state.served.begin(), state.served.end(), [&](const PeerState::Served& served) {
    return served.name == wanted.name &&
           (wanted.digest.empty() || served.digest.empty() || served.digest == wanted.digest);
  });
}

Standing Endpoint::StandingFor(const ServableRef& wanted) const {
  if (channel_ == nullptr) return Standing::kAway;
  MutexLock lock(&mutex_);
  if (!heard_) return Standing::kUnknown;
  return state_.connected && MayHold(state_, wanted) ? Standing::kHere : Standing::kAway;
}

std::string Endpoint::node() const {
  MutexLock lock(&mutex_);
  return state_.node;
}

std::string Endpoint::Describe(const ServableRef& wanted) const {
  if (channel_ == nullptr) return absl::StrCat(url_, " (", connect_status_.message(), ")");
  MutexLock lock(&mutex_);
  const std::string node = state_.node.empty() ? "" : absl::StrCat("node '", state_.node, "' ");
  if (!was_connected_) return absl::StrCat(url_, heard_ ? " (no connection)" : " (not connected yet)");
  if (!state_.connected) return absl::StrCat(url_, " (", node, "lost or going away)");
  if (MayHold(state_, wanted)) return absl::StrCat(url_, " (", node, "connected)");
  if (state_.served.empty()) return absl::StrCat(url_, " (", node, "connected, serves nothing yet)");
  return absl::StrCat(url_, " (", node, "serves ",
                      absl::StrJoin(state_.served, ", ",
                                    [](std::string* out, const PeerState::Served& served) {
                                      absl::StrAppend(out, served.name, ":", served.version, "#",
                                                      served.digest.Short());
                                    }),
                      ")");
}

}  // namespace portico
