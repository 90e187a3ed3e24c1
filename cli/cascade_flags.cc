#include "cli/cascade_flags.h"

#include "CLI/CLI.hpp"

namespace portico {

void CascadeFlags::AddTo(CLI::App& command) {
  command.add_option("mesh", mesh_file, "A mesh file with the cascade; or else --trigger and --full")
      ->type_name("MESH.YAML");
  command.add_option("--model", model, "The cascade's name there; default: the only one")->type_name("NAME");
  command.add_option("--trigger", trigger, "The cheap model: an .onnx file, or a package's folder")->type_name("PATH");
  command.add_option("--full", full, "The full model, likewise")->type_name("PATH");

  command.add_option("--data", data, "Inputs by name, a row each (numpy.savez)")->type_name("FILE.npz");
  command.add_option("--input", inputs, "An input (numpy.save); repeatable")
      ->type_name("NAME=@FILE.npy")
      ->allow_extra_args(false);
  command.add_option("--log", logs, "Recorded requests instead (serve --request-log): files or folders; repeatable")
      ->type_name("LOG")
      ->allow_extra_args(false);
  command
      .add_option("--log-model", log_model,
                  "Only those that were sent to this model; default: the mesh file's cascade, with --trigger any")
      ->type_name("NAME");
  command.add_option("--limit", limit, "Rows at most; 0: all")->check(CLI::NonNegativeNumber)->capture_default_str();

  command
      .add_option(
          "--labels", labels,
          "What is right of each row: an array (numpy.save), or the name of one in --data; no labels: agreement "
          "with the full model alone")
      ->type_name("FILE.npy|NAME");
  command
      .add_option(
          "--decide", decide,
          "What of the answers is compared, one value per row, such as 'score >= 0.5'; default: the label, else "
          "the largest of a row, else whether a probability is 0.5 or more")
      ->type_name("EXPR");
  command.add_option("--batch", batch, "Rows per run of a model")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  command
      .add_option(
          "--trigger-cost", trigger_cost_us,
          "CPU per row of the trigger in microseconds, where it is known from elsewhere; else it is measured here")
      ->check(CLI::PositiveNumber)
      ->type_name("US");
  command.add_option("--full-cost", full_cost_us, "The same of the full model")
      ->check(CLI::PositiveNumber)
      ->type_name("US");
  command.add_option("--svg", svg, "Draws it into this file")->type_name("FILE.svg");
}

}  // namespace portico
