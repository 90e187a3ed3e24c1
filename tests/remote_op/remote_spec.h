#pragma once

#include <string>
#include <utility>
#include <vector>

#include "remote_op/portal.h"

namespace portico {

inline TensorSpec SpecOf(std::string name, DType dtype, std::vector<Dim> dims) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.dtype = dtype;
  spec.dims = std::move(dims);
  return spec;
}

/// A `Remote` that was cut from hub/enc.
inline PortalSpec RemoteSpecOf(std::vector<std::string> inputs, std::vector<TensorSpec> outputs) {
  PortalSpec spec;
  spec.op_type = "Remote";
  spec.node_name = "portal_0";
  spec.target = "hub/enc";
  spec.signature = "serving_default";
  spec.digest = Sha256("enc");
  spec.input_names = std::move(inputs);
  spec.outputs = std::move(outputs);
  return spec;
}

}  // namespace portico
