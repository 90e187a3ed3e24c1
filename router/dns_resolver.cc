#include "router/dns_resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/log.h"

namespace portico {
namespace {

constexpr absl::string_view kPrefix = "dns+";

absl::StatusOr<std::vector<std::string>> SystemLookup(const std::string& host) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  std::vector<std::string> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text);
    }
  }
  freeaddrinfo(found);
  return addresses;
}

/// "dns+tcp://hub:7000" in parts.
struct DnsUrl {
  std::string scheme;
  std::string host;
  std::string port;
};
std::optional<DnsUrl> SplitDnsUrl(absl::string_view url) {
  if (!absl::StartsWith(url, kPrefix)) return std::nullopt;
  url.remove_prefix(kPrefix.size());
  const size_t slashes = url.find("://"), colon = url.rfind(':');
  if (slashes == absl::string_view::npos || colon <= slashes + 3) return std::nullopt;
  return DnsUrl{std::string(url.substr(0, slashes)), std::string(url.substr(slashes + 3, colon - slashes - 3)),
                std::string(url.substr(colon + 1))};
}

}  // namespace

DnsResolver::DnsResolver(const Resolver& inner, Options options)
    : inner_(inner), period_(options.period), lookup_(options.lookup ? std::move(options.lookup) : SystemLookup) {
  inner_watch_ = inner_.WatchChanges([this] { watches_.TellAll(); });
}

DnsResolver::~DnsResolver() {
  inner_watch_ = nullptr;
  std::thread thread;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  wake_.NotifyAll();
  if (thread.joinable()) thread.join();
}

std::vector<PeerAddress> DnsResolver::Resolve(absl::string_view servable) const {
  std::vector<PeerAddress> peers;
  for (PeerAddress& peer : inner_.Resolve(servable)) {
    const std::optional<DnsUrl> url = SplitDnsUrl(peer.url);
    if (!url.has_value()) {
      peers.push_back(std::move(peer));
      continue;
    }
    MutexLock lock(&mutex_);
    const auto [name, is_new] = names_.try_emplace(url->host);
    if (is_new) {
      any_fresh_ = true;
      if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
      wake_.NotifyAll();
    }
    for (const std::string& address : name->second.addresses) {
      const bool v6 = absl::StrContains(address, ':');
      peers.push_back(peer);
      peers.back().url = absl::StrCat(url->scheme, "://", v6 ? "[" : "", address, v6 ? "]" : "", ":", url->port);
    }
  }
  return peers;
}

std::unique_ptr<Resolver::Watch> DnsResolver::WatchChanges(std::function<void()> changed) const {
  return watches_.Add(std::move(changed));
}

void DnsResolver::Run() const {
  pthread_setname_np(pthread_self(), "dns-names");
  bool all = true;
  while (true) {
    if (LookUp(all)) watches_.TellAll();
    MutexLock lock(&mutex_);
    all = false;
    while (!stopping_ && !any_fresh_ && !all) all = wake_.WaitFor(&mutex_, period_);
    if (stopping_) return;
  }
}

bool DnsResolver::LookUp(bool all) const {
  std::vector<std::string> hosts;
  {
    MutexLock lock(&mutex_);
    any_fresh_ = false;
    for (auto& [host, name] : names_) {
      if (all || name.fresh) hosts.push_back(host);
      name.fresh = false;
    }
  }
  bool changed = false;
  for (const std::string& host : hosts) {
    absl::StatusOr<std::vector<std::string>> addresses = lookup_(host);
    if (addresses.ok()) {
      std::sort(addresses->begin(), addresses->end());
      addresses->erase(std::unique(addresses->begin(), addresses->end()), addresses->end());
    }
    MutexLock lock(&mutex_);
    Name& name = names_[host];
    if (!addresses.ok()) {
      if (!std::exchange(name.failing, true)) {
        LogWarning(absl::StrCat("name '", host, "': ", addresses.status().message(), "; going on with the ",
                                name.addresses.size(), " addresses known"));
      }
      continue;
    }
    name.failing = false;
    if (name.addresses == *addresses) continue;
    name.addresses = *std::move(addresses);
    changed = true;
  }
  return changed;
}

}  // namespace portico
