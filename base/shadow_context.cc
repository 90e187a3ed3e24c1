#include "base/shadow_context.h"

#include <algorithm>
#include <limits>

namespace portico {

Ref<const RequestContext> ShadowContext(const RequestContext& request, absl::Duration timeout, const Clock& clock) {
  constexpr int32_t kLowerPriority = 1'000'000;
  auto context = MakeRef<RequestContext>();
  context->deadline = Deadline::In(timeout, clock);
  context->tenant = request.tenant;
  context->product = request.product;
  context->priority = std::max(request.priority, std::numeric_limits<int32_t>::min() + kLowerPriority);
  context->priority -= kLowerPriority;
  context->revision = request.revision;
  context->revision_hold = request.revision_hold;
  context->key = request.key;
  context->draw = request.draw;
  context->shadow = true;
  context->hop = request.hop;
  return context;
}

}  // namespace portico
