#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/metric.h"

namespace portico {

/// A product whose calls a batcher has met (RequestContext::product).
struct Product {
  /// For metrics and traces: printable.
  const std::string name;
  /// Its place among the batcher's products, from 0 on.
  const size_t index;
  /// What its rows get of the runs beside those of others, relative to theirs. The batcher's lock guards it.
  int64_t share = 1;
  // Of calls that ran.
  Counter& calls;
  Counter& rows;
  Counter& queue_seconds;
  Counter& refused;
  Counter& expired;
};

/// The products of one batcher. The first kMost names have a product of their own, and those that have a share set have
/// one also after them, while there are less than twice as many; whatever else comes is "other" together, so that names
/// that callers make up take no memory. Not thread-safe: the batcher locks.
class Products {
 public:
  static constexpr size_t kMost = 64;
  /// Name → share, at least 1. At most kMost.
  using Shares = std::map<std::string, int64_t>;

  /// `labels` are those of the batcher's metrics. `metrics` is not owned and must outlive it.
  Products(const Shares& shares, MetricLabels labels, MetricRegistry& metrics);

  /// The product of that name; it stays where it is.
  Product& Of(absl::string_view name) {
    if (last_ != nullptr && *last_name_ == name) return *last_;
    return Find(name, kMost);
  }
  /// Products that `shares` does not name have 1.
  void SetShares(const Shares& shares);

 private:
  /// `most`: names that may have a product for this one to get one.
  Product& Find(absl::string_view name, size_t most);
  Product& Add(std::string name);

  const MetricLabels labels_;
  MetricRegistry& metrics_;
  std::vector<std::unique_ptr<Product>> products_;
  absl::node_hash_map<std::string, Product*> by_name_;
  Product* other_ = nullptr;
  /// Whom Of() found last: calls of one product often come together.
  const std::string* last_name_ = nullptr;
  Product* last_ = nullptr;
};

}  // namespace portico
