#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace portico {

/// Options that the subcommands of `portico cascade` share: which cascade, which rows, how they are judged.
struct CascadeFlags {
  /// Either a mesh file and one of its cascades, or two models.
  std::string mesh_file;
  std::string model;
  std::string trigger;
  std::string full;

  /// Rows: arrays, or recorded requests.
  std::string data;
  std::vector<std::string> inputs;
  std::vector<std::string> logs;
  std::string log_model;
  /// 0: all.
  int64_t limit = 0;

  std::string labels;
  std::string decide;
  std::vector<std::string> when;
  int64_t batch = 64;
  /// Microseconds of CPU per row; 0: measured.
  double trigger_cost_us = 0;
  double full_cost_us = 0;
  std::string svg;

  void AddTo(CLI::App& command);
};

}  // namespace portico
