#include "tests/integration/net_namespace.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

bool Run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

}  // namespace

// Of several tests at once each has addresses of its own: 10.213.0.0/16 is cut into networks of four.
NetNamespace::NetNamespace(int number)
    : name_(absl::StrCat("portico-", number)),
      near_(absl::StrCat("ptc", number, "a")),
      far_(absl::StrCat("ptc", number, "b")),
      address_(absl::StrCat("10.213.", number / 64 % 256, ".", number % 64 * 4 + 2)),
      near_address_(absl::StrCat("10.213.", number / 64 % 256, ".", number % 64 * 4 + 1)) {}

absl::StatusOr<std::unique_ptr<NetNamespace>> NetNamespace::Create() {
  static std::atomic<int> next{0};
  std::unique_ptr<NetNamespace> made(new NetNamespace(getpid() % 100'000 + next.fetch_add(1) * 7));
  const std::string& name = made->name_;
  if (!Run("ip -V")) return absl::UnimplementedError("got no 'ip' command; install iproute2");
  for (const std::string& command : {
           absl::StrCat("ip netns add ", name),
           absl::StrCat("ip link add ", made->near_, " type veth peer name ", made->far_),
           absl::StrCat("ip link set ", made->far_, " netns ", name),
           absl::StrCat("ip addr add ", made->near_address_, "/30 dev ", made->near_),
           absl::StrCat("ip link set ", made->near_, " up"),
           absl::StrCat("ip -n ", name, " addr add ", made->address_, "/30 dev ", made->far_),
           absl::StrCat("ip -n ", name, " link set ", made->far_, " up"),
           absl::StrCat("ip -n ", name, " link set lo up"),
       }) {
    if (!Run(command)) return absl::PermissionDeniedError(absl::StrCat("'", command, "' failed; it takes root"));
  }
  return made;
}

NetNamespace::~NetNamespace() {
  Run(absl::StrCat("ip link del ", near_));
  Run(absl::StrCat("ip netns del ", name_));
}

void NetNamespace::Plug(bool in) const { Run(absl::StrCat("ip -n ", name_, " link set ", far_, in ? " up" : " down")); }

absl::Status NetNamespace::Delay(absl::Duration delay) const {
  const std::string time = absl::StrCat(absl::ToInt64Milliseconds(delay), "ms");
  if (Run(absl::StrCat("tc qdisc replace dev ", near_, " root netem delay ", time))) return absl::OkStatus();
  return absl::UnimplementedError("got a kernel without netem (CONFIG_NET_SCH_NETEM), or no 'tc'");
}

}  // namespace portico
