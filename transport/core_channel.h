#pragma once

#include <utility>

#include "base/ref.h"
#include "transport/transport.h"

namespace portico {

/// A channel whose work is done by a core that lives in a loop (a StreamLoop, a ZmqReactor): opens it there, and closes
/// it there before it goes itself. Callbacks may hold the core for longer. Of the loop it needs Post() and
/// RunAndWait(), of the core Open() and Close() on the loop's thread, and Call() and Cancel() on any.
template <typename Loop, typename Core>
class CoreChannel final : public Channel {
 public:
  CoreChannel(Loop& loop, Ref<Core> core) : loop_(loop), core_(std::move(core)) {
    loop_.Post([core = core_] { core->Open(); });
  }
  ~CoreChannel() override {
    loop_.RunAndWait([this] { core_->Close(); });
  }

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override {
    return core_->Call(header, tensors, deadline, std::move(done));
  }
  void Cancel(uint64_t call_id) override { core_->Cancel(call_id); }

 private:
  Loop& loop_;
  const Ref<Core> core_;
};

}  // namespace portico
