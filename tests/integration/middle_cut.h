#pragma once

#include <string>
#include <vector>

#include "models/split/plan.h"

namespace onnx {
class GraphProto;
}

namespace portico {

/// Ways to cut `graph` in two near its middle, nearest first: each makes a part of everything that leads to one
/// node's outputs (so parts are convex), ending at each of its tensors that is used behind the cut. The last ways
/// take the whole graph, for graphs whose middle is no dense tensor. Empty when nothing depends on an input.
std::vector<SplitPlan> MiddleCuts(const onnx::GraphProto& graph, const std::string& product, const std::string& part);

}  // namespace portico
