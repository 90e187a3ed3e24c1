#pragma once

#include <map>
#include <string>
#include <vector>

#include "router/resolver.h"

namespace portico {

/// Answers from a table given at construction: what a node was told in its revision. Immutable.
class StaticResolver final : public Resolver {
 public:
  /// Target → endpoints.
  explicit StaticResolver(std::map<std::string, std::vector<std::string>> table);
  std::vector<std::string> Resolve(absl::string_view servable) const override;

 private:
  const std::map<std::string, std::vector<std::string>, std::less<>> table_;
};

}  // namespace portico
