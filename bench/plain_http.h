#pragma once

#include <string>

#include "bench/h2load.h"

namespace portico::bench {

/// The least that an HTTP server over Boost.Beast does: one I/O thread that reads each request into a string and
/// answers with a constant, written by Beast's serializer. What the REST scenarios are measured against.
///
/// Serves on a port the system chooses until `ready` returns.
void ServePlainHttp(const std::string& content_type, const std::string& body, const ChildServer::Ready& ready);

}  // namespace portico::bench
