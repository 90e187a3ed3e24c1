#pragma once

#include <memory>
#include <thread>

namespace boost::asio {
class io_context;
}

namespace portico {

/// The thread that carries REST calls to foreign servers: connects, writes, reads, and reads what answers say. Wires
/// must be destroyed before it.
class RestLoop {
 public:
  RestLoop();
  /// Ends what was cancelled, drops what else has not run, and joins.
  ~RestLoop();

  boost::asio::io_context& io() { return *io_; }

 private:
  const std::unique_ptr<boost::asio::io_context> io_;
  std::thread thread_;
};

}  // namespace portico
