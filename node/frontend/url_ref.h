#pragma once

#include "base/servable_ref.h"
#include "node/servables/servables.h"

namespace portico {

/// `ref` as a URL names it, or where nobody has that name, "publisher/name" for "publisher--name", since a URL's name
/// cannot hold a slash.
ServableRef RefByUrl(const Servables& servables, ServableRef ref);

}  // namespace portico
