#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "models/graph/op.h"
#include "models/runtime/session.h"

namespace portico {

/// A segment run by the calling thread.
class InlineSegment final : public AsyncOp {
 public:
  explicit InlineSegment(std::unique_ptr<Session> session) : session_(std::move(session)) {}

  void Run(const Ref<const RequestContext>&, std::vector<Tensor> inputs, OpDone done) override {
    done(session_->Run(inputs));
  }

 private:
  const std::unique_ptr<Session> session_;
};

}  // namespace portico
