#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// The flags of TensorFlow Serving's tensorflow_model_server, so that its start scripts carry over.
/// docs/compatibility.md has the table.

/// Which models: --model_name, --model_base_path, --model_config_file, --enable_batching, --batching_parameters_file, …
std::unique_ptr<ServeFlags> NewTfsModelFlags();
/// Where and how it listens: --port, --rest_api_port, --grpc_socket_path, --ssl_config_file, …; and --host, which is
/// Portico's own.
std::unique_ptr<ServeFlags> NewTfsServerFlags();
/// What makes no sense here: accepted with a warning that says why, or refused.
std::unique_ptr<ServeFlags> NewTfsForeignFlags();

}  // namespace portico
