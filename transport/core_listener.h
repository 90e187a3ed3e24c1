#pragma once

#include <string>
#include <utility>

#include "base/ref.h"
#include "transport/transport.h"

namespace portico {

/// The serving side's CoreChannel. Of the core it needs Open(), Announce(), GoAway(), Stop() (takes no more calls) and
/// Close() on the loop's thread, and WaitUntilFlushed() (peers have their last answers, or have had time enough).
template <typename Loop, typename Core>
class CoreListener final : public Listener {
 public:
  CoreListener(Loop& loop, Ref<Core> core) : loop_(loop), core_(std::move(core)) {
    loop_.Post([core = core_] { core->Open(); });
  }
  ~CoreListener() override {
    loop_.RunAndWait([this] { core_->Stop(); });
    core_->WaitUntilFlushed();
    loop_.RunAndWait([this] { core_->Close(); });
  }

  const std::string& endpoint() const override { return core_->endpoint(); }
  void Announce(const PeerState& self) override {
    loop_.Post([core = core_, self] { core->Announce(self); });
  }
  void GoAway() override {
    loop_.Post([core = core_] { core->GoAway(); });
  }

 private:
  Loop& loop_;
  const Ref<Core> core_;
};

}  // namespace portico
