#pragma once

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ref.h"
#include "base/request_context.h"

namespace portico {

/// The context of a copy of `request` whose answer is only compared: with a deadline of its own (`timeout` from now),
/// behind every request that somebody waits for, not recorded, counted with no arm, and without a word to what the
/// router knows of replicas. Of the request it has who asks, the revision and what its draws go by.
Ref<const RequestContext> ShadowContext(const RequestContext& request, absl::Duration timeout, const Clock& clock);

}  // namespace portico
