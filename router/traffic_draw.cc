#include "router/traffic_draw.h"

#include <cmath>
#include <limits>

#include "router/stable_hash.h"

namespace portico {
namespace {

/// Which requests are copied has nothing to do with which arm they have.
constexpr uint64_t kShadowSalt = 0x5368'6164'6f77'2121;
/// Percent are told apart to the thousandth.
constexpr uint64_t kParts = 100'000;

}  // namespace

TrafficDraw::TrafficDraw(absl::string_view model, const TrafficSplit& split)
    : model_hash_(StableHash(model)), by_(split.by) {
  for (size_t i = 0; i < split.arms.size(); ++i) {
    const TrafficSplit::Arm& arm = split.arms[i];
    if (arm.weight > 0) arms_.push_back({StableHash(arm.target.name), arm.weight, i});
  }
}

uint64_t TrafficDraw::HashOf(const RequestContext& context) const {
  uint64_t own = context.draw;
  if (by_ == TrafficSplit::By::kKey && context.key != 0) own = context.key;
  if (by_ == TrafficSplit::By::kTenant && !context.tenant.empty()) own = StableHash(context.tenant);
  // Who is in one model's canary is not for that reason in another's.
  return MixBits(own + model_hash_);
}

size_t TrafficDraw::PickByHash(uint64_t hash) const {
  if (arms_.size() == 1) return arms_.front().index;
  // A race: each arm's time is exponentially distributed with its weight for a rate, by a draw of its own. The first
  // one has the request: with a chance of its weight's share, and another weight changes nobody else's time.
  size_t first = 0;
  double best = std::numeric_limits<double>::infinity();
  for (const Arm& arm : arms_) {
    const uint64_t own = MixBits(hash ^ arm.hash);
    const double uniform = (static_cast<double>(own >> 11) + 0.5) * 0x1p-53;
    const double time = -std::log(uniform) / arm.weight;
    if (time < best) {
      best = time;
      first = arm.index;
    }
  }
  return first;
}

ShadowDraw::ShadowDraw(absl::string_view model, const TrafficSplit::Shadow& shadow)
    : model_hash_(StableHash(model)), parts_(shadow.percent / 100 * static_cast<double>(kParts)) {}

bool ShadowDraw::Draws(const RequestContext& context) const {
  const uint64_t draw = MixBits(context.draw ^ kShadowSalt ^ model_hash_);
  return static_cast<double>(draw % kParts) < parts_;
}

}  // namespace portico
