#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/request_context.h"
#include "router/traffic.h"

namespace portico {

/// Chooses the arm of each request of a split: what does not change from one request to the next is hashed here, once.
/// Made when a revision is read; Pick() is on the path of every request of the model. Pure, the same at every hop and
/// in every process. Immutable and thread-safe.
class TrafficDraw {
 public:
  /// `model`: that is asked for.
  TrafficDraw(absl::string_view model, const TrafficSplit& split);

  /// The index of the request's arm among the split's. Requests that stick to the same meet the same arm; where the
  /// weight of one arm grows relative to the others', only that arm gains requests, and where it shrinks only that one
  /// loses. REQUIRES: some weight is above 0.
  size_t Pick(const RequestContext& context) const { return PickByHash(HashOf(context)); }

  /// By what requests for the model are told apart.
  uint64_t HashOf(const RequestContext& context) const;
  size_t PickByHash(uint64_t hash) const;

 private:
  /// An arm with a weight.
  struct Arm {
    uint64_t hash;
    double weight;
    size_t index;
  };

  const uint64_t model_hash_;
  const TrafficSplit::By by_;
  std::vector<Arm> arms_;
};

/// Chooses the requests that are copied. As above.
class ShadowDraw {
 public:
  ShadowDraw(absl::string_view model, const TrafficSplit::Shadow& shadow);

  bool Draws(const RequestContext& context) const;

 private:
  const uint64_t model_hash_;
  /// Of kParts.
  const double parts_;
};

}  // namespace portico
