#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hub/store.h"

namespace portico {

/// A store that any server of static files serves: `url` http://HOST:PORT/PREFIX or https://. Lists by its index.json.
/// PORTICO_HUB_TOKEN, where it is set, goes to https servers, and to those on this machine, as a bearer token.
absl::StatusOr<std::unique_ptr<Store>> NewHttpStore(const std::string& url, const StoreOptions& store = {});

}  // namespace portico
