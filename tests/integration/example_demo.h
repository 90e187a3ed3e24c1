#pragma once

#include <string>
#include <vector>

#include "tests/integration/portico_command.h"

namespace portico {

/// The folder examples/EXAMPLE.
std::string ExampleFolder(const std::string& example);

/// `make demo EXAMPLE=… ONCE=1` with what `folder` holds.
CommandResult RunDemo(const std::string& example, const std::string& folder);

/// A copy of the example, to be damaged.
void CopyExample(const std::string& example, const std::string& folder);

/// The numbers behind `name` in the line of a demo's table that begins with it; none where there is no such line.
std::vector<double> DemoFigures(const std::string& output, const std::string& name);

}  // namespace portico
