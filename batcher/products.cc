#include "batcher/products.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "base/check.h"

namespace portico {
namespace {

/// What a label or a trace may show of a name that somebody else made up.
std::string Printable(absl::string_view name) {
  if (name.empty()) return "(none)";
  std::string printable(name);
  for (char& c : printable) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return printable;
}

}  // namespace

Products::Products(const Shares& shares, MetricLabels labels, MetricRegistry& metrics)
    : labels_(std::move(labels)), metrics_(metrics) {
  SetShares(shares);
}

Product& Products::Find(absl::string_view name, size_t most) {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    if (by_name_.size() >= most) {
      if (other_ == nullptr) other_ = &Add("other");
      return *other_;
    }
    found = by_name_.emplace(name, &Add(Printable(name))).first;
  }
  last_name_ = &found->first;
  return *(last_ = found->second);
}

void Products::SetShares(const Shares& shares) {
  for (const auto& product : products_) product->share = 1;
  for (const auto& [name, share] : shares) {
    PORTICO_CHECK(share >= 1);
    // Places beside those that names of callers have taken.
    Product& product = Find(name, 2 * kMost);
    if (&product != other_) product.share = share;
  }
}

Product& Products::Add(std::string name) {
  MetricLabels labels = labels_;
  labels.emplace_back("product", name);
  const auto counter = [&](absl::string_view metric, absl::string_view help) -> Counter& {
    return metrics_.NewCounter(metric, help, labels);
  };
  products_.push_back(std::make_unique<Product>(Product{
      .name = std::move(name),
      .index = products_.size(),
      .calls = counter("portico_batch_product_calls_total", "Calls that ran, by the product whose requests they were."),
      .rows = counter("portico_batch_product_rows_total", "Their rows."),
      .queue_seconds = counter("portico_batch_product_queue_seconds_total", "Time they waited for their runs, summed."),
      .refused =
          counter("portico_batch_product_refused_total", "Calls refused because the queue was full, by product."),
      .expired = counter("portico_batch_product_expired_total",
                         "Calls dropped from the queue, cancelled or past their deadline, by product.")}));
  return *products_.back();
}

}  // namespace portico
