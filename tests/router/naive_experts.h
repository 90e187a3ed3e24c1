#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "router/expert_choice.h"

namespace portico {

/// What `Experts` is to do, said as plainly as can be: every row sorts all of its experts.
class NaiveExperts {
 public:
  using Rows = std::vector<std::vector<int>>;

  NaiveExperts(const ExpertChoice::Rule& rule, std::vector<float> gates)
      : rule_(rule), gates_(std::move(gates)), rows_(static_cast<int>(gates_.size()) / rule.experts) {}

  int rows() const { return rows_; }
  float gate(int row, int expert) const { return gates_[static_cast<size_t>(row * rule_.experts + expert)]; }

  bool Faulty(int row) const {
    const bool weights = rule_.weights == ExpertWeights::kRenormalize;
    for (int e = 0; e < rule_.experts; ++e) {
      const float g = gate(row, e);
      if (std::isnan(g) || g == kInfinity || (weights && g < 0 && g != -kInfinity)) return true;
    }
    return Ranking(row).empty();
  }

  /// All experts that may answer the row, best first.
  std::vector<int> Ranking(int row) const {
    std::vector<int> all(static_cast<size_t>(rule_.experts));
    std::iota(all.begin(), all.end(), 0);
    std::stable_sort(all.begin(), all.end(), [&](int a, int b) { return gate(row, a) > gate(row, b); });
    std::vector<int> ranking;
    for (const int e : all) {
      if (gate(row, e) == -kInfinity || (rule_.weights == ExpertWeights::kRenormalize && gate(row, e) == 0)) continue;
      ranking.push_back(e);
    }
    return ranking;
  }

  /// Who is asked first, best first.
  Rows Chosen() const {
    Rows chosen(static_cast<size_t>(rows_));
    const double most = std::max(1.0, std::ceil(double{rule_.capacity} * rows_ * rule_.k / rule_.experts));
    std::vector<int> taken(static_cast<size_t>(rule_.experts));
    for (int i = 0; i < rule_.k; ++i) {
      for (int row = 0; row < rows_; ++row) {
        if (Faulty(row)) continue;
        std::vector<int>& own = chosen[static_cast<size_t>(row)];
        for (const int e : Ranking(row)) {
          if (std::find(own.begin(), own.end(), e) != own.end()) continue;
          if (rule_.capacity > 0 && taken[static_cast<size_t>(e)] >= most) continue;
          own.push_back(e);
          ++taken[static_cast<size_t>(e)];
          break;
        }
      }
    }
    return chosen;
  }

  /// Who has answered when all is done, best first, where those of `failed` do not.
  Rows Answered(const std::set<int>& failed, bool refill) const {
    Rows rows = Chosen();
    for (int row = 0; row < rows_; ++row) {
      std::vector<int>& own = rows[static_cast<size_t>(row)];
      const std::vector<int> before = own;
      own.erase(std::remove_if(own.begin(), own.end(), [&](int e) { return failed.contains(e); }), own.end());
      if (!refill) continue;
      for (const int e : Ranking(row)) {
        if (own.size() == before.size()) break;
        if (failed.contains(e) || std::find(before.begin(), before.end(), e) != before.end()) continue;
        own.push_back(e);
      }
      std::stable_sort(own.begin(), own.end(), [&](int a, int b) {
        return gate(row, a) > gate(row, b) || (gate(row, a) == gate(row, b) && a < b);
      });
    }
    return rows;
  }

  /// What the answers of `experts`, best first, count for.
  std::vector<float> Weights(int row, const std::vector<int>& experts) const {
    std::vector<float> weights;
    std::vector<double> shares;
    double sum = 0;
    for (const int e : experts) {
      const double g = gate(row, e);
      shares.push_back(rule_.weights == ExpertWeights::kSoftmax ? std::exp(g - gate(row, experts[0])) : g);
      sum += shares.back();
    }
    for (const double share : shares) {
      weights.push_back(static_cast<float>(rule_.weights == ExpertWeights::kNone ? share : share / sum));
    }
    return weights;
  }

 private:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const ExpertChoice::Rule rule_;
  const std::vector<float> gates_;
  const int rows_;
};

}  // namespace portico
