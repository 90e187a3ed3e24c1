#pragma once

#include <string>

#include "base/tensor.h"
#include "tests/testing/model_builder.h"

namespace portico {

/// Declares `name` external, as a partitioned segment does.
inline void AddExternal(ModelBuilder& model, const std::string& name, DType dtype, Shape shape) {
  onnx::TensorProto* weight = model.graph().add_initializer();
  weight->set_name(name);
  weight->set_data_type(static_cast<int>(dtype));
  for (const int64_t extent : shape) weight->add_dims(extent);
  weight->set_data_location(onnx::TensorProto::EXTERNAL);
  onnx::StringStringEntryProto* location = weight->add_external_data();
  location->set_key("location");
  location->set_value("weights");
}

}  // namespace portico
