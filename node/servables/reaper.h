#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "node/servables/servable.h"

namespace portico {

/// Destroys servables, on a niced thread of its own, whoever drops the last reference: a worker that ends the last
/// request of an unloaded version goes on at once. Then gives the memory back to the system. Thread-safe; servables may
/// outlive it.
class Reaper {
 public:
  /// Called on the reaper's thread when a servable and its memory have gone.
  using Gone = std::function<void(const std::string& name, int64_t version)>;
  explicit Reaper(Gone gone);
  ~Reaper();

  /// The same servable, destroyed by the reaper. REQUIRES: sole reference.
  std::shared_ptr<const Servable> Adopt(std::shared_ptr<const Servable> servable);
  /// Destroys what it was given so far; what is dropped later is destroyed where it is dropped, and `gone` not called.
  void Stop();

 private:
  class Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace portico
