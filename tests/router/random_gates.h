#pragma once

#include <limits>
#include <random>
#include <vector>

#include "router/expert_choice.h"

namespace portico {

/// A rule and gates of all kinds: ties, −inf, rows with NaN or without any expert, weights.
struct RandomGates {
  RandomGates(std::mt19937& random, int rows, int experts) {
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    rule.experts = experts;
    rule.k = 1 + below(std::min(4, experts));
    rule.weights = static_cast<ExpertWeights>(below(3));
    constexpr float kCapacities[] = {0, 0, 0.3f, 1, 1.25f, 2};
    rule.capacity = kCapacities[below(6)];
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const bool weights = rule.weights == ExpertWeights::kRenormalize;
    const int kinds = 1 + below(3);
    std::normal_distribution<float> normal;
    for (int row = 0; row < rows; ++row) {
      const int oddity = below(20);
      for (int e = 0; e < experts; ++e) {
        // Few values where there are to be ties.
        float gate = kinds == 1 ? normal(random) : static_cast<float>(below(kinds * 2) - (weights ? 0 : kinds));
        if (weights) gate = std::abs(gate);
        if (oddity == 0 || (kinds == 3 && below(4) == 0)) gate = -kInfinity;
        if (oddity == 1 && below(experts) == 0) gate = std::numeric_limits<float>::quiet_NaN();
        if (oddity == 2 && e == experts - 1) gate = kInfinity;
        if (oddity == 3 && weights && e == experts / 2) gate = -0.5f;
        gates.push_back(gate);
      }
    }
  }

  ExpertChoice::Rule rule;
  std::vector<float> gates;
};

}  // namespace portico
