#include "router/static_resolver.h"

#include <iterator>
#include <utility>

namespace portico {

StaticResolver::StaticResolver(std::map<std::string, std::vector<std::string>> table)
    : table_(std::make_move_iterator(table.begin()), std::make_move_iterator(table.end())) {}

std::vector<std::string> StaticResolver::Resolve(absl::string_view servable) const {
  const auto found = table_.find(servable);
  return found == table_.end() ? std::vector<std::string>() : found->second;
}

}  // namespace portico
